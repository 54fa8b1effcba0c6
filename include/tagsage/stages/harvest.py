"""Harvest lists and feeds: before the corpus is read, or on a schedule of its own."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.progress import Pulse
from tagsage.run_context import RunContext, Token
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from tagsage.harvest.collection import Collection, Counts
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
    if settings.harvest_seeds != Settings.resolve().harvest_seeds and not _are_addresses(settings):
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
            counts = ", ".join(f"{name} {number:,}" for name, number in numbers.items())
            pulse("ending" if "ended" in numbers else counts)

        return run(make_folder(settings), seeds, settings, replay=replay, on_progress=show)


def export_harvest(settings: Settings, articles: Path, lists: Path) -> Counts:
    """Write what was harvested as the study's two CSV files."""
    from tagsage.harvest.csv_export import export_csv

    with existing_collection(settings) as collection:
        return export_csv(collection, articles, lists)


def existing_collection(settings: Settings) -> Collection:
    """Open what was harvested; raises `TagsageError` when nothing was yet."""
    from tagsage.harvest.collection import FILE, Collection

    folder = harvest_folder(settings)
    if not (folder / FILE).exists():
        msg = f"Nothing was harvested in {folder} yet; start with `tagsage harvest`."
        raise TagsageError(msg)
    return Collection(folder)


def harvest_folder(settings: Settings) -> Path:
    """Return the folder of what was harvested; it has to be the same for every worker."""
    if settings.harvest_folder:
        return Path(settings.harvest_folder).expanduser()
    return Workspace(settings.workspace).local_path / "harvest"


def make_folder(settings: Settings) -> Path:
    """Return the folder to harvest into; the workspace that it lies in is made."""
    if not settings.harvest_folder:
        Workspace(settings.workspace).claim()
    return harvest_folder(settings)


def seeds_of(settings: Settings) -> list[str]:
    """Return the addresses in the setting `harvest_seeds`, or in the file that it names."""
    named = settings.harvest_seeds.strip()
    return named.split() if _are_addresses(settings) else read_seeds(Path(named).expanduser())


def read_seeds(file: Path) -> list[str]:
    """Return the addresses in a file, one per line; a comment begins with # after a blank."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        msg = f"The file of seeds {file} cannot be read: {why}; name a text file, one URL per line."
        raise TagsageError(msg) from error
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line]


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


def _are_addresses(settings: Settings) -> bool:
    """Tell whether the seeds are addresses, and not a file of them; none are, too."""
    named = settings.harvest_seeds.strip().lower()
    return not named or named.startswith(("http://", "https://"))


def _has_articles(settings: Settings) -> bool:
    try:
        with existing_collection(settings) as collection:
            return collection.counts().articles > 0
    except TagsageError:
        return False
