"""A harvest: checked, run in its own process, and reported."""

from __future__ import annotations

import json
import subprocess  # ruff: ignore[suspicious-subprocess-import] - our own program, no shell
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.harvest.account_export import read_account_export
from tagsage.harvest.addresses import AddressError, asked_url, check_contact, is_private, kind_of
from tagsage.harvest.collection import Collection
from tagsage.harvest.items import Problem
from tagsage.redact import redact
from tagsage.settings.harvest import HarvestSettings

LOG: Final = "harvest.log"
LEAST_DELAY_S: Final = 1.0  # for other people's hosts

OUTCOME_DONE: Final = "done"
OUTCOME_BUDGET: Final = "budget spent"
OUTCOME_STOPPED: Final = "stopped by the host"
_OUTCOMES = {"finished": OUTCOME_DONE, "closespider_timeout": OUTCOME_BUDGET}


@dataclass(frozen=True)
class HarvestReport:
    """How a run of the harvest ended, and what the collection holds now.

    `stopped` has the sites that are no longer requested, with the reason.
    """

    outcome: str
    stopped: Mapping[str, str] = field(default_factory=dict)
    requests: int = 0
    bytes: int = 0
    lists: int = 0
    articles: int = 0
    memberships: int = 0
    waiting: int = 0  # known requests left for later
    problems: int = 0
    digest: str = ""  # of articles and memberships
    changed: bool = False  # since `digest` was last announced


def harvest(
    folder: Path,
    seeds: Sequence[str],
    settings: HarvestSettings,
    *,
    replay: bool = False,
    on_progress: Callable[[Mapping[str, int]], None] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> HarvestReport:
    """Harvest lists, articles and feeds (no `seeds`: those of before) into a folder.

    It may be killed at any moment and run again: only pages in flight are fetched twice. With
    `replay`, it only reads again what was fetched. `on_progress` gets the numbers of requests,
    bytes, waiting requests and items, about once per second; `overrides` are Scrapy settings.
    Raises `NonRetryableError` as :func:`check_seeds`, and `TagsageError` when another harvest runs
    in the folder, or the crawl failed.
    """
    with Collection(folder) as collection:
        named = list(seeds) or collection.seeds
    if not (seeds or replay or settings.harvest_consent):
        named = [seed for seed in named if kind_of(seed) == "feed"]
    if not replay:
        check_seeds(named, settings)
    job = {
        "folder": str(folder),
        "seeds": list(dict.fromkeys(map(asked_url, _without_bad(named)))),
        "settings": settings.model_dump(include=set(HarvestSettings.model_fields)),
        "replay": replay,
        "overrides": dict(overrides or {}),
    }
    last = _run(job, folder / LOG, on_progress)
    ended = last.get("ended")
    if ended == "memusage_exceeded":
        msg = "The harvest took too much memory and stopped; run it again, what it fetched is kept."
        raise TagsageError(msg)
    outcome = _OUTCOMES.get(str(ended), OUTCOME_BUDGET)
    if outcome == OUTCOME_DONE and (last["waiting"] or last["stopped"]):
        outcome = OUTCOME_STOPPED if last["stopped"] else OUTCOME_BUDGET
    with Collection(folder) as collection:
        for seed in named:
            if why := _reason_against(seed):
                collection.add_problem(
                    Problem(redact(seed), "refused", f"the seed is not asked: {why}")
                )
        return _report(collection, outcome, last)


def take_account_export(folder: Path, file: Path) -> HarvestReport:
    """Add an account export to the collection, offline; raises `NonRetryableError`."""
    with Collection(folder) as collection:
        with collection.transaction():
            for item in read_account_export(file):
                collection.add(item)
        return _report(collection, OUTCOME_DONE, {})


def check_seeds(seeds: Sequence[str], settings: HarvestSettings) -> None:
    """Check that a harvest may begin.

    Raises `NonRetryableError` for a lacking or impossible contact, pages without consent, too many
    requests to other people's hosts, or seeds that are no web addresses.
    """
    if not settings.harvest_contact.strip():
        msg = (
            "A harvest tells every host whom to ask, and no contact is set; "
            "give a mail address or the URL of a page (--contact, harvest_contact)."
        )
        raise NonRetryableError(msg)
    check_contact(settings.harvest_contact)
    good = _without_bad(seeds)
    if not good:
        # Not the seed itself: the file may not be one of seeds.
        why = _reason_against(seeds[0]) if seeds else "none is given"
        raise NonRetryableError(f"No seed can be harvested: {why}; give http(s) URLs.")
    pages = [seed for seed in good if kind_of(seed) != "feed"]
    if pages and not settings.harvest_consent:
        msg = (
            f"Pages are among the seeds ({len(pages):,}): fetching lists and articles needs your "
            "consent (--consent, harvest_consent), feeds need none."
        )
        raise NonRetryableError(msg)
    is_public = any(not is_private(urlsplit(asked_url(seed)).hostname or "") for seed in good)
    if is_public and settings.harvest_delay_s < LEAST_DELAY_S:
        msg = (
            f"A delay of {settings.harvest_delay_s:g} s is too short; "
            f"hosts of others are asked {LEAST_DELAY_S:g} s apart at least."
        )
        raise NonRetryableError(msg)


def _without_bad(seeds: Iterable[str]) -> list[str]:
    return [seed for seed in seeds if not _reason_against(seed)]


def _reason_against(seed: str) -> str:
    """Return why a seed cannot be harvested; empty when it can."""
    try:
        asked_url(seed)
    except AddressError as error:
        return str(error)
    return ""


def _run(
    job: Mapping[str, Any], log: Path, on_progress: Callable[[Mapping[str, int]], None] | None
) -> dict[str, Any]:
    command = [sys.executable, "-m", "tagsage.harvest.crawl"]
    last: dict[str, Any] = {}
    with (
        log.open("wb") as errors,
        subprocess.Popen(  # ruff: ignore[subprocess-without-shell-equals-true]
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            # Ctrl-C is ours to handle: it ends the crawl by closing its input.
            start_new_session=True,
        ) as child,
    ):
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(job) + "\n")
            child.stdin.flush()
            for line in child.stdout:
                last = json.loads(line)
                if on_progress and not last.keys() & {"ended", "error"}:
                    on_progress(last)
        except BrokenPipeError:
            pass  # it ended before it read the job; its output is in the log
        finally:
            child.kill()
    if "error" in last:
        raise TagsageError(last["error"])
    if "ended" not in last:
        msg = f"The harvest ended early, see {log}; run it again, what was fetched is kept."
        raise TagsageError(msg)
    return last


def _report(collection: Collection, outcome: str, last: Mapping[str, Any]) -> HarvestReport:
    counts = collection.counts()
    digest = collection.digest()
    return HarvestReport(
        outcome=outcome,
        stopped=last.get("stopped", {}),
        requests=last.get("requests", 0),
        bytes=last.get("bytes", 0),
        lists=counts.lists,
        articles=counts.articles,
        memberships=counts.memberships,
        waiting=last.get("waiting", 0),
        problems=sum(count for _, _, count, _ in collection.status().problems),
        digest=digest,
        changed=digest != collection.announced,
    )
