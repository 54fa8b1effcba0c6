"""Harvest lists and feeds: before the corpus is read, or on a schedule of its own."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.progress import Pulse
from tagsage.run_context import RunContext, Token
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from tagsage.harvest.config import HarvestConfig, HarvestReport
    from tagsage.harvest.export import ExportReport
    from tagsage.harvest.process import Progress

logger = logging.getLogger(__name__)

HARVEST = "harvest"
ENOUGH_TO_ESTIMATE = 10  # requests
FAILED = "failed"


def prepare_harvest(run_id: str, overrides: Mapping[str, Any]) -> Token:
    """Resolve the settings of a harvest that is no part of a run.

    Parameters
    ----------
    run_id : str
        Names the run.
    overrides : mapping
        Settings by name, from the form. It may name addresses to harvest, but no file of them:
        whoever fills it in is not to read files of this machine.

    Returns
    -------
    dict
        The token for :func:`harvest_seeds` and :func:`announce`.

    Raises
    ------
    TagsageError
        When a setting is unknown or impossible.
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
    then what earlier harvests brought, and the report says so.

    Returns
    -------
    dict
        As of :func:`harvest_seeds`; empty when nothing was to be done.

    Raises
    ------
    TagsageError
        When the harvest failed and there is none from before.
    """
    run = RunContext.of(token)
    settings = run.settings
    if settings.corpus != "harvest" or not settings.harvest_seeds.strip():
        if settings.corpus == "harvest":
            logger.info("harvest: no harvest_seeds are set; what was harvested before is read")
        run.record(HARVEST, None)
        return {}
    try:
        told = harvest_seeds(token)
    except TagsageError as error:
        if not _has_articles(harvest_folder(settings)):
            raise
        logger.warning("harvest: %s The run goes on with what was harvested before.", error)
        told = {"outcome": FAILED, "reason": str(error)}
    run.record(HARVEST, told)
    return told


def harvest_seeds(token: Token) -> dict[str, Any]:
    """Harvest the lists and feeds that the settings name, within the budget of a run.

    Returns
    -------
    dict
        How it ended and what there is: :class:`tagsage.harvest.config.HarvestReport`.

    Raises
    ------
    TagsageError
        When it cannot begin (no seeds, no contact, pages without consent), crashed, or was
        interrupted.
    """
    from tagsage.harvest.config import OUTCOME_INTERRUPTED

    settings = Settings.model_validate(token["settings"])
    seeds = seeds_of(settings)
    if not seeds:
        msg = "There is nothing to harvest; name lists and feeds in harvest_seeds."
        raise NonRetryableError(msg)
    report = run_harvest(settings, seeds)
    logger.info("harvest: %s", in_words(report))
    for host, why in report.stopped.items():
        logger.warning("harvest: %s is left alone for now: %s", host, why)
    if report.outcome == OUTCOME_INTERRUPTED:
        msg = "The harvest was interrupted; run it again to go on, what was fetched is kept."
        raise TagsageError(msg)
    return asdict(report)


def harvest_of(run: RunContext) -> str:
    """Return how the harvest of a run ended, for its report; empty when there was none."""
    from tagsage.harvest.config import HarvestReport

    told = run.recorded(HARVEST)
    if not told:
        return ""
    if told["outcome"] == FAILED:
        return f"failed, so the corpus is what earlier ones brought. {told['reason']}"
    report = HarvestReport(**told)
    hosts = [f"{host} is left alone for now: {why}" for host, why in report.stopped.items()]
    return " ".join([in_words(report), *hosts])


def announce(token: Token, told: Mapping[str, Any]) -> bool:
    """Tell whether the nightly run is to take up what a harvest brought; it is told once.

    Parameters
    ----------
    token : dict
        The harvest's.
    told : mapping
        What :func:`harvest_seeds` returned.

    Returns
    -------
    bool
        False when nothing has changed since the last time, or the run reads another corpus.
    """
    settings = Settings.model_validate(token["settings"])
    if settings.corpus != "harvest":
        logger.info("harvest: the nightly run reads corpus=%s, not this", settings.corpus)
        return False
    if not told["changed"]:
        return False
    taken_up(settings, told["revision"])
    return True


def run_harvest(settings: Settings, seeds: list[str]) -> HarvestReport:
    """Harvest `seeds`, and what earlier harvests left, telling how far it is.

    Returns
    -------
    HarvestReport
        How it ended; of hosts that are left alone also until when.
    """
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.process import harvest as run
    from tagsage.harvest.status import closed

    folder = harvest_folder(settings)
    if not settings.harvest_folder:
        Workspace(settings.workspace).claim()
    with Pulse("harvest") as tell:
        report = run(
            folder,
            seeds,
            harvest_config(settings),
            asked_hosts=settings.harvest_hosts.split(),
            on_progress=lambda progress: tell(_how_far(progress)),
        )
    with HarvestDatabase(folder) as database:
        until = {host: moment for host, moment, _ in closed(database, time.time())}
    stopped = {
        host: f"{why} Not before {datetime.fromtimestamp(until[host], UTC):%Y-%m-%d %H:%M} UTC."
        for host, why in report.stopped.items()
        if host in until
    }
    return replace(report, stopped={**report.stopped, **stopped})


def export_harvest(settings: Settings, articles: Path, lists: Path) -> ExportReport:
    """Write what was harvested as the study's two CSV files.

    Raises
    ------
    TagsageError
        When nothing was harvested yet.
    """
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.export import export_csv

    with HarvestDatabase(existing_harvest(settings)) as database:
        return export_csv(database, articles, lists)


def revision_of(settings: Settings) -> int:
    """Return which state of the harvest an export that begins now has at least.

    Raises
    ------
    TagsageError
        When nothing was harvested yet.
    """
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.library import counts

    with HarvestDatabase(existing_harvest(settings)) as database:
        return counts(database).revision


def taken_up(settings: Settings, revision: int) -> None:
    """Note that the nightly run has read this state of the harvest: it need not be announced."""
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.library import mark_announced

    with HarvestDatabase(existing_harvest(settings)) as database:
        mark_announced(database, revision)


def existing_harvest(settings: Settings) -> Path:
    """Return the folder of what was harvested.

    Raises
    ------
    TagsageError
        When nothing was harvested yet.
    """
    from tagsage.harvest.database import FILE

    folder = harvest_folder(settings)
    if not (folder / FILE).exists():
        msg = f"Nothing was harvested in {folder} yet; start with `tagsage harvest`."
        raise TagsageError(msg)
    return folder


def harvest_folder(settings: Settings) -> Path:
    """Return the folder of what was harvested; it has to be the same for every worker."""
    if settings.harvest_folder:
        return Path(settings.harvest_folder).expanduser()
    return Workspace(settings.workspace).local_path / "harvest"


def harvest_config(settings: Settings) -> HarvestConfig:
    """Return the settings ``harvest_*`` as the room takes them."""
    from dataclasses import fields

    from tagsage.harvest.config import HarvestConfig

    values = {
        field.name: getattr(settings, f"harvest_{field.name}") for field in fields(HarvestConfig)
    }
    return HarvestConfig(**values)


def seeds_of(settings: Settings) -> list[str]:
    """Return the addresses in the setting `harvest_seeds`, or in the file that it names.

    Raises
    ------
    TagsageError
        When there is no such file.
    """
    named = settings.harvest_seeds.strip()
    return named.split() if _are_addresses(settings) else read_seeds(Path(named).expanduser())


def _are_addresses(settings: Settings) -> bool:
    """Tell whether the seeds are addresses, and not a file of them; none are, too."""
    named = settings.harvest_seeds.strip().lower()
    return not named or named.startswith(("http://", "https://"))


def read_seeds(file: Path) -> list[str]:
    """Return the addresses in a file: one a line; blank lines and what follows a # are left out.

    A # within an address is part of it; one that begins a comment stands first or after a blank.

    Raises
    ------
    TagsageError
        When there is no such file, or it is no text.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        msg = (
            f"The file of seeds {file} cannot be read: {why}; name a text file, one address a line."
        )
        raise TagsageError(msg) from error
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line]


def in_words(told: HarvestReport) -> str:
    """Say in one sentence how a harvest ended."""
    return (
        f"{told.outcome}: requests {told.requests:,} ({told.bytes / 1e6:,.1f} MB), left for later "
        f"{told.waiting:,}, problems {told.problems:,}; to be exported: lists {told.lists:,}, "
        f"articles {told.articles:,}, memberships {told.memberships:,}."
    )


def _how_far(progress: Progress) -> str:
    told = [
        f"requests {progress.requests:,}",
        f"lists {progress.lists:,}",
        f"articles {progress.articles:,}",
        f"waiting {progress.waiting:,}",
    ]
    due_in_s = progress.due_in_s or 0.0
    if due_in_s >= 1:
        told.append(f"next in {due_in_s:.0f} s")
    if progress.eta_s and progress.requests >= ENOUGH_TO_ESTIMATE:
        told.append(f"about {max(1, round(max(progress.eta_s, due_in_s) / 60)):,} min")
    if progress.trouble:
        told.append(progress.trouble)
    return ", ".join(told)


def _has_articles(folder: Path) -> bool:
    from tagsage.harvest.database import FILE, HarvestDatabase

    if not (folder / FILE).exists():
        return False
    with HarvestDatabase(folder) as database:
        return database.execute("SELECT 1 FROM articles LIMIT 1").fetchone() is not None
