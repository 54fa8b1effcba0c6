"""The run in one sentence, and the few that follow it: for messages and the head of pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

SENTENCE_LIMIT = 500
DETAILS = 12

# A user alone has no slash: addresses of articles have an @ further on. A password may have one.
# With limits, since hostile text would take a time that grows with the square of its length.
ADDRESS_SECRET = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)(?:[^/\s:]{0,200}:[^\s\"']{0,400}|[^/\s]{0,400})@"
)
NAMED_SECRET = re.compile(
    r"((?:passw(?:or)?d|passphrase|secret|credential|token|authorization|signature"
    r"|(?:api|access|private)[_-]?key)[\w-]{0,64}[\\\"']*\s*[=:]\s*)"
    r"(?!\*\*\*)(\\?\"[^\"]*\"|\\?'[^']*'|[^\s,;&)}\]]+)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Summary:
    """What people are told of a run.

    Attributes
    ----------
    sentence : str
        The run in one sentence.
    details : sequence of str
        What else is worth a message: the decision, what changed, failed checks, cost and time.
    """

    sentence: str
    details: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Return the summary as JSON-able values."""
        return asdict(self)


def summarise(metrics: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> Summary:
    """Tell a finished run.

    Parameters
    ----------
    metrics : mapping
        The content of ``metrics.json``.
    earlier : mapping, optional
        That of the finished run before; None: nothing is said of changes.

    Returns
    -------
    Summary
        Plain text, made harmless (see :func:`harmless`).
    """
    details = [_sentence(metrics["promotion_reason"])]
    if earlier is not None:
        details += _changes(metrics, earlier)
    checks = metrics.get("checks") or {}
    details += [f"Check of the corpus failed: {told}." for told in checks.get("failed", [])]
    if metrics["quarantine"]["rows"]:
        details.append(f"{_many(metrics['quarantine']['rows'], 'row')} in quarantine.")
    if "Dollars" in metrics["cost"]:
        details.append(f"The vectors cost {metrics['cost']['Dollars']}.")
    details.append(f"{_duration(sum(metrics['seconds'].values()))} of work.")
    return Summary(
        harmless(_run(metrics)), [harmless(detail) for detail in details if detail][:DETAILS]
    )


def _run(metrics: Mapping[str, Any]) -> str:
    winner, scores = metrics["winner"], metrics["candidates"]
    among = f"the best of {len(scores)} candidates" if len(scores) > 1 else "the only candidate"
    version = metrics["model_version"]
    champion = (
        f"is the new champion (version {version})"
        if metrics["promoted"]
        else f"did not become champion (version {version})"
    )
    predictions = metrics["predictions"]
    if predictions["articles"]:
        tagged = (
            f"{predictions['assigned']:,} of {_many(predictions['articles'], 'article')} "
            f"without tags got {_many(predictions['tags'], 'tag')}"
        )
        tagged += f" from {predictions['candidate']} (version {predictions['version']})"
    else:
        tagged = "no article was without tags"
    score = f"micro-F1 {scores[winner]['micro_f1']:.3f}"
    trial = "A trial: " if metrics["trial"] else ""
    return f"{trial}{winner}, {among}, reaches {score} and {champion}; {tagged}."


def _changes(metrics: Mapping[str, Any], earlier: Mapping[str, Any]) -> list[str]:
    """Say what is new since the run before; nothing of what stayed as it was."""
    told = []
    if metrics["winner"] != earlier["winner"]:
        told.append(f"the best was {earlier['winner']}")
    best, best_before = (run["candidates"][run["winner"]]["micro_f1"] for run in (metrics, earlier))
    if f"{best:.3f}" != f"{best_before:.3f}":
        told.append(f"micro-F1 was {best_before:.3f}")
    for name, words in (("articles", "articles in the corpus"), ("lists", "lists")):
        difference = metrics["corpus"][name] - earlier["corpus"][name]
        if difference:
            told.append(f"{difference:+,} {words}")
    difference = metrics["predictions"]["assigned"] - earlier["predictions"]["assigned"]
    if difference:
        told.append(f"{difference:+,} articles with predicted tags")
    changes = metrics.get("changes") or {}
    for name, what, became in (
        ("articles_newly_tagged", "article", "newly tagged"),
        ("tags_gained", "predicted tag", "gained"),
        ("tags_lost", "predicted tag", "lost"),
    ):
        if changes.get(name):
            told.append(f"{_many(changes[name], what)} {became}")
    return [f"Since the run before: {', '.join(told)}."] if told else []


def failure(tasks: Sequence[Mapping[str, Any]], *, dag_id: str, reason: str = "") -> Summary:
    """Tell a run that failed.

    Parameters
    ----------
    tasks : sequence of mapping
        ``task`` and ``says`` (the last words of its exception) of each task that failed, the first
        first.
    dag_id : str
        The DAG.
    reason : str
        Why Airflow calls the run failed; told when no task has said anything.

    Returns
    -------
    Summary
        Plain text, made harmless and without secrets.
    """
    if not tasks:
        why = f": {reason}" if reason else ""
        return Summary(harmless(f"{dag_id} failed{why}; no task has left a message."), [])
    first, *others = tasks
    says = hidden(str(first["says"])).strip() or "it left no message"
    return Summary(
        harmless(f"{dag_id} failed in {first['task']}: {says}"),
        [
            harmless(f"{other['task']} failed too: {hidden(str(other['says']))}")
            for other in others[:DETAILS]
        ],
    )


def harmless(text: str) -> str:
    """Return one line that no page, chat or mail takes for anything but text.

    Without control characters and those that turn the direction of text, without < and > (tags in
    HTML, links and calls to everybody in chats), cut at 500 characters.

    Examples
    --------
    >>> harmless("<script>alert(1)</script>")
    '‹script›alert(1)‹/script›'
    """
    text = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text[: 4 * SENTENCE_LIMIT])
    text = re.sub(r"[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]", "", text)
    text = text.translate({ord("<"): "‹", ord(">"): "›"})
    text = re.sub(r"@(everyone|here|channel|all)\b", r"@ \1", text)
    text = " ".join(text.split())
    return text if len(text) <= SENTENCE_LIMIT else f"{text[: SENTENCE_LIMIT - 1].rstrip()}…"


def hidden(text: str) -> str:
    """Return a text with ``***`` in place of what looks like a secret.

    Passwords in addresses, values after names such as ``password`` or ``client_secret_value``, and
    keys that are known by their beginning.

    Examples
    --------
    >>> hidden("no answer from neo4j://ann:hush@db:7687, api_key=abc")
    'no answer from neo4j://***@db:7687, api_key=***'
    """
    text = ADDRESS_SECRET.sub(r"\1***@", text)
    text = re.sub(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+", r"\1 ***", text)
    text = NAMED_SECRET.sub(r"\1***", text)
    return re.sub(r"\b(?:sk|xox[a-z]|gh[pousr])[-_][\w-]{8,}|\bAKIA[A-Z0-9]{12,}", "***", text)


def _sentence(text: str) -> str:
    text = str(text).strip()
    return text if not text or text.endswith((".", "!", "?")) else f"{text}."


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
