"""Harvest lists and feeds: before the corpus is read, or on a schedule of its own."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.harvest.folder import existing_collection, make_folder
from tagsage.harvest.seeds import are_addresses, seeds_of
from tagsage.progress import Pulse
from tagsage.run_context import RunContext, Token
from tagsage.settings import Settings

if TYPE_CHECKING:
    from tagsage.harvest.process import HarvestReport

logger = logging.getLogger(__name__)

HARVEST = "harvest"
FAILED = "failed"


def prepare_harvest(run_id: str, overrides: Mapping[str, Any]) -> Token:
    """Resolve the settings of a harvest that is no part of a run.

    The form may name addresses to harvest, but no file of them: whoever fills it in is not to read
    files of this machine.
    """
    settings = Settings.resolve(overrides)
    seeds = settings.harvest_seeds
    if seeds != Settings.resolve().harvest_seeds and not are_addresses(seeds):
        msg = (
            "harvest_seeds in the form takes http and https addresses; name a file of them in the "
            "environment variable TAGSAGE_HARVEST_SEEDS."
        )
        raise NonRetryableError(msg)
    return RunContext(run_id, settings).token()


def harvest(token: Token) -> dict[str, Any]:
    """Harvest before the corpus is read, when the run reads what was harvested and has seeds.

    A harvest that fails does not end the run as long as there is something to read: the corpus is
    then what earlier harvests brought, and the report says so. Returns what :func:`harvest_seeds`
    returns; nothing when nothing was to be done.
    """
    run = RunContext.of(token)
    settings = run.settings
    report: dict[str, Any] = {}
    if settings.corpus == "harvest" and settings.harvest_seeds.strip():
        try:
            report = harvest_seeds(token)
        except TagsageError as error:
            if not _has_articles(settings):
                raise
            logger.warning("harvest: %s The run goes on with what was harvested before.", error)
            report = {"outcome": FAILED, "reason": str(error)}
    elif settings.corpus == "harvest":
        logger.info("harvest: no harvest_seeds are set; what was harvested before is read")
    run.record(HARVEST, report)
    return report


def harvest_seeds(token: Token) -> dict[str, Any]:
    """Harvest the lists and feeds that the settings name, within the budget of a run.

    Returns a :class:`tagsage.harvest.process.HarvestReport`. Raises `TagsageError` when it cannot
    begin (no seeds, no contact, pages without consent), or crashed.
    """
    settings = Settings.model_validate(token["settings"])
    seeds = seeds_of(settings)
    if not seeds:
        msg = "There is nothing to harvest; name lists and feeds in harvest_seeds."
        raise NonRetryableError(msg)
    report = run_harvest(settings, seeds)
    logger.info("harvest: %s", in_words(report))
    for line in stopped_sites(report):
        logger.warning("harvest: %s", line)
    return asdict(report)


def harvest_of(run: RunContext) -> str:
    """Return how the harvest of a run ended, for its report; empty when there was none."""
    from tagsage.harvest.process import HarvestReport

    recorded = run.recorded(HARVEST)
    if not recorded:
        return ""
    if recorded["outcome"] == FAILED:
        return f"failed, so the corpus is what earlier ones brought. {recorded['reason']}"
    report = HarvestReport(**recorded)
    return " ".join([in_words(report), *stopped_sites(report)])


def announce(token: Token, report: Mapping[str, Any]) -> bool:
    """Tell whether the nightly run is to read what a harvest brought, and remember that it was.

    It is not when nothing has changed since the last time, or the run reads another corpus.
    """
    settings = Settings.model_validate(token["settings"])
    if settings.corpus != "harvest":
        logger.info("harvest: the nightly run reads corpus=%s, not this", settings.corpus)
        return False
    if not report["changed"]:
        return False
    with existing_collection(settings) as collection:
        collection.announce(report["digest"])
    return True


def run_harvest(settings: Settings, seeds: list[str], *, replay: bool = False) -> HarvestReport:
    """Harvest `seeds`, and show how far it is."""
    from tagsage.harvest.process import harvest as run

    with Pulse("harvest") as pulse:

        def show(numbers: Mapping[str, int]) -> None:
            pulse(", ".join(f"{name} {number:,}" for name, number in numbers.items()))

        return run(make_folder(settings), seeds, settings, replay=replay, on_progress=show)


def in_words(report: HarvestReport) -> str:
    """Say in one sentence how a harvest ended."""
    return (
        f"{report.outcome}: requests {report.requests:,} ({report.bytes / 1e6:,.1f} MB), left for "
        f"later {report.waiting:,}, problems {report.problems:,}; to be exported: lists "
        f"{report.lists:,}, articles {report.articles:,}, memberships {report.memberships:,}."
    )


def stopped_sites(report: HarvestReport) -> list[str]:
    """Say which sites are left alone, and why."""
    return [f"{site} is left alone for now: {why}" for site, why in report.stopped.items()]


def _has_articles(settings: Settings) -> bool:
    try:
        with existing_collection(settings) as collection:
            return collection.counts().articles > 0
    except TagsageError:
        return False
