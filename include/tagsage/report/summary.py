"""A run in one sentence, and the few that follow it, for notifications."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tagsage.redact import redact
from tagsage.report.formatting import counted, duration

SENTENCE_LIMIT = 500
DETAILS = 12


@dataclass(frozen=True)
class Summary:
    """A run in one sentence, and further ones: why, what changed, failed checks, cost, time."""

    sentence: str
    details: Sequence[str]


def summarise(metrics: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> Summary:
    """Summarise a finished run from its ``metrics.json`` in plain, harmless text."""
    details = [f"{metrics['promotion_reason'].strip().rstrip('.')}."]
    if earlier is not None:
        details += _changes(metrics, earlier)
    checks = metrics.get("checks") or {}
    details += [f"Check of the corpus failed: {check}." for check in checks.get("failed", [])]
    if metrics["quarantine"]["rows"]:
        details.append(f"{counted(metrics['quarantine']['rows'], 'row')} in quarantine.")
    if "Dollars" in metrics["cost"]:
        details.append(f"The vectors cost {metrics['cost']['Dollars']}.")
    details.append(f"{duration(sum(metrics['seconds'].values()))} of work.")
    return Summary(harmless(_result(metrics)), [harmless(detail) for detail in details[:DETAILS]])


def _result(metrics: Mapping[str, Any]) -> str:
    winner, scores = metrics["winner"], metrics["candidates"]
    rank = f"the best of {len(scores)} candidates" if len(scores) > 1 else "the only candidate"
    champion = "is the new champion" if metrics["promoted"] else "did not become champion"
    predictions = metrics["predictions"]
    tagged = "every article had tags already"
    if predictions["articles"]:
        tagged = (
            f"{predictions['assigned']:,} of {counted(predictions['articles'], 'article')} "
            f"without tags got {counted(predictions['tags'], 'tag')} "
            f"from {predictions['candidate']} (version {predictions['version']})"
        )
    trial = "A trial: " if metrics["trial"] else ""
    return (
        f"{trial}{winner}, {rank}, reaches micro-F1 {scores[winner]['micro_f1']:.3f} "
        f"and {champion} (version {metrics['model_version']}); {tagged}."
    )


def _changes(metrics: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[str]:
    """Say what is new since the run before, and nothing about what stayed the same."""
    parts = []
    if metrics["winner"] != earlier["winner"]:
        parts.append(f"the best was {earlier['winner']}")
    best, before = (
        f"{run['candidates'][run['winner']]['micro_f1']:.3f}" for run in (metrics, earlier)
    )
    if best != before:
        parts.append(f"micro-F1 was {before}")
    differences = {
        "articles in the corpus": metrics["corpus"]["articles"] - earlier["corpus"]["articles"],
        "lists": metrics["corpus"]["lists"] - earlier["corpus"]["lists"],
        "articles with predicted tags": metrics["predictions"]["assigned"]
        - earlier["predictions"]["assigned"],
    }
    parts += [f"{difference:+,} {what}" for what, difference in differences.items() if difference]
    changes = metrics.get("changes") or {}
    for name, what, verb in (
        ("articles_newly_tagged", "article", "newly tagged"),
        ("tags_gained", "predicted tag", "gained"),
        ("tags_lost", "predicted tag", "lost"),
    ):
        if changes.get(name):
            parts.append(f"{counted(changes[name], what)} {verb}")
    return [f"Since the run before: {', '.join(parts)}."] if parts else []


def summarise_failure(
    tasks: Sequence[Mapping[str, str]], *, dag_id: str, reason: str = ""
) -> Summary:
    """Summarise a run that failed, in harmless text without secrets.

    `tasks` has the ``task`` and ``error`` of each that failed, the first one first; `reason` is why
    Airflow calls the run failed, said when no task left an error.
    """
    if not tasks:
        why = f": {reason}" if reason else ""
        return Summary(harmless(f"{dag_id} failed{why}; no task has left a message."), [])
    first, *others = ((task["task"], redact(task["error"])) for task in tasks)
    return Summary(
        harmless(f"{dag_id} failed in {first[0]}: {first[1]}"),
        [harmless(f"{task} failed too: {error}") for task, error in others[:DETAILS]],
    )


def harmless(text: str) -> str:
    """Return one line that no page, chat or mail takes for anything but text.

    Without control characters, changes of direction, < and >; cut at 500 characters.
    """
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text[: 4 * SENTENCE_LIMIT])
    text = re.sub(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]", "", text)
    text = text.replace("<", "‹").replace(">", "›")
    text = re.sub(r"@(everyone|here|channel|all)\b", r"@ \1", text)
    text = " ".join(text.split())
    return text if len(text) <= SENTENCE_LIMIT else f"{text[: SENTENCE_LIMIT - 1].rstrip()}…"
