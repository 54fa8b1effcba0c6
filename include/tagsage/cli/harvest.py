"""Commands of the harvest: ``harvest`` and ``export``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.common import (
    DebugOption,
    SetOption,
    WorkspaceOption,
    failures_told,
    overrides_of,
    print_table,
)
from tagsage.settings import Settings

if TYPE_CHECKING:
    from tagsage.harvest.library import HarvestStatus

app = typer.Typer()

CONTACT = "a web page or mail address where a host's owner can ask about this harvest"


@app.command()
def harvest(
    urls: Annotated[
        list[str] | None,
        typer.Argument(metavar="[URL]...", help="Lists and feeds; default: `harvest_seeds`."),
    ] = None,
    seeds: Annotated[
        Path | None,
        typer.Option(help="File of lists and feeds, one address a line; comments begin with #."),
    ] = None,
    consent: Annotated[
        bool, typer.Option("--consent", help="You may fetch pages of lists and articles.")
    ] = False,
    contact: Annotated[str | None, typer.Option(help=f"{CONTACT.capitalize()}.")] = None,
    delay: Annotated[
        float | None, typer.Option(help="Seconds between two requests to one host (10).")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Only read the kept pages again; fetch nothing.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Only tell what there is, and what is left.")
    ] = False,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Fetch reading lists, feeds and the articles in them: slowly, and where it was left."""
    overrides = overrides_of(
        set_,
        workspace=workspace,
        harvest_consent=True if consent else None,
        harvest_contact=contact,
        harvest_delay_s=delay,
    )
    with failures_told(debug=debug):
        if status + replay > 1 or ((status or replay) and (urls or seeds)):
            raise typer.BadParameter("--status and --replay go alone, without addresses")
        settings = Settings.resolve(overrides)
        if status:
            _tell_status(settings)
        elif replay:
            _replay(settings)
        else:
            _harvest(settings, _seeds(settings, urls or [], seeds))


@app.command()
def export(
    articles: Annotated[Path, typer.Option(help="CSV to write: story, title, …, tags.")],
    lists: Annotated[Path, typer.Option(help="CSV to write: list, article.")],
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Write what was harvested as the two CSV files that `tagsage run` reads."""
    with failures_told(debug=debug):
        from tagsage.stages.harvest import export_harvest

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        done = export_harvest(settings, articles.absolute(), lists.absolute())
        typer.echo(
            f"{done.articles:,} articles in {articles}; {done.memberships:,} memberships of "
            f"{done.lists:,} lists in {lists}."
        )


def _seeds(settings: Settings, urls: list[str], file: Path | None) -> list[str]:
    from tagsage.stages.harvest import harvest_folder, read_seeds, seeds_of

    named = [*urls, *(read_seeds(file) if file else [])]
    if not named and file:
        raise typer.BadParameter(f"{file} names no list or feed", param_hint="--seeds")
    if not named:
        named = seeds_of(settings)
    if not named and not harvest_folder(settings).exists():
        raise typer.BadParameter("name a list or a feed, or a file of them", param_hint="URL")
    return named


def _harvest(settings: Settings, seeds: list[str]) -> None:
    from tagsage.errors import TagsageError
    from tagsage.harvest.config import OUTCOME_INTERRUPTED
    from tagsage.harvest.seeds import check
    from tagsage.stages.harvest import harvest_config, in_words, run_harvest

    try:
        check(seeds, settings.harvest_hosts.split(), harvest_config(settings))
    except TagsageError as error:
        raise typer.BadParameter(str(error)) from None
    report = run_harvest(settings, seeds)
    typer.echo(f"Harvest {in_words(report)}")
    for host, why in report.stopped.items():
        typer.echo(f"{host} is left alone for now: {why}")
    if report.problems:
        typer.echo("`tagsage harvest --status` tells what the problems are.")
    if report.waiting:
        typer.echo("The same command goes on where this one ended.")
    if report.outcome == OUTCOME_INTERRUPTED:
        raise typer.Exit(1)


def _replay(settings: Settings) -> None:
    from tagsage.harvest.database import HarvestDatabase, alone
    from tagsage.harvest.replay import replay
    from tagsage.stages.harvest import existing_harvest, harvest_config

    folder = existing_harvest(settings)
    with alone(folder), HarvestDatabase(folder) as database:
        done = replay(database, harvest_config(settings))
    typer.echo(
        f"Kept pages read again: {done.pages:,}, of these unreadable: {done.unreadable:,}; rows of "
        f"the export that differ by it: {done.changed:,}. Nothing was fetched."
    )


def _tell_status(settings: Settings) -> None:
    from tagsage.harvest.database import HarvestDatabase
    from tagsage.harvest.library import status
    from tagsage.stages.harvest import existing_harvest

    with HarvestDatabase(existing_harvest(settings)) as database:
        _print_status(status(database))


def _print_status(now: HarvestStatus) -> None:
    table = Table("what", "how many")
    table.columns[1].justify = "right"
    for name, count in now.counts.items():
        table.add_row(escape(name), f"{count:,}")
    print_table(table)
    if now.closed or now.ailing:
        hosts = Table("host", "not before", "why")
        for host, until, why in [*now.closed, *now.ailing]:
            hosts.add_row(
                escape(host),
                f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC",
                escape(why),
            )
        print_table(hosts)
    if now.problems:
        problems = Table("how many", "problem", "for example")
        problems.columns[0].justify = "right"
        for reason, count, url in now.problems:
            problems.add_row(f"{count:,}", escape(reason), escape(url))
        print_table(problems)
