"""Commands of the harvest: ``harvest`` and ``export``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.command import (
    DebugOption,
    SetOption,
    WorkspaceOption,
    command,
    exit_on_error,
    overrides_of,
    print_table,
)
from tagsage.errors import TagsageError
from tagsage.harvest.csv_export import export_csv
from tagsage.harvest.folder import existing_collection, harvest_folder, make_folder
from tagsage.harvest.seeds import read_seeds, seeds_of
from tagsage.settings import Settings

if TYPE_CHECKING:
    from tagsage.harvest.collection import Status

app = typer.Typer()

CONTACT = "A web page or mail address where a host's owner can ask about this harvest."


@app.command()
def harvest(
    urls: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[URL]...",
            help="Lists and feeds, or Medium's account export (a .zip file); "
            "default: `harvest_seeds`, then those of earlier harvests.",
        ),
    ] = None,
    seeds: Annotated[
        Path | None,
        typer.Option(help="File of lists and feeds, one address per line; # begins a comment."),
    ] = None,
    consent: Annotated[
        bool, typer.Option("--consent", help="You may fetch pages of lists and articles.")
    ] = False,
    contact: Annotated[str | None, typer.Option(help=CONTACT)] = None,
    delay: Annotated[
        float | None, typer.Option(help="Seconds between two requests to one host (10).")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Only read the kept pages again; fetch nothing.")
    ] = False,
    status: Annotated[
        bool, typer.Option("--status", help="Only show what there is, and what is missing.")
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
    with exit_on_error(debug=debug):
        if status + replay > 1 or ((status or replay) and (urls or seeds)):
            raise typer.BadParameter("--status and --replay go without addresses and each other")
        settings = Settings.resolve(overrides)
        if status:
            with existing_collection(settings) as collection:
                _print_status(collection.status())
        elif urls and urls[0].lower().endswith(".zip"):
            _take_exports(settings, urls, seeds)
        else:
            _harvest(settings, [] if replay else _seeds(settings, urls or [], seeds), replay)


@command(app)
def export(
    settings: Settings,
    articles: Annotated[Path, typer.Option(help="CSV to write: story, title, …, tags.")],
    lists: Annotated[Path, typer.Option(help="CSV to write: list, article.")],
) -> None:
    """Write what was harvested as the two CSV files that `tagsage run` reads."""
    with existing_collection(settings) as collection:
        done = export_csv(collection, articles.absolute(), lists.absolute())
    typer.echo(
        f"{done.articles:,} articles in {articles}; {done.memberships:,} memberships of "
        f"{done.lists:,} lists in {lists}."
    )


def _seeds(settings: Settings, urls: list[str], file: Path | None) -> list[str]:
    named = [*urls, *(read_seeds(file) if file else [])]
    if not named and file:
        raise typer.BadParameter(f"{file} names no list or feed", param_hint="--seeds")
    if not named:
        named = seeds_of(settings)
    if not named and not harvest_folder(settings).exists():
        raise typer.BadParameter("name a list or a feed, or a file of them", param_hint="URL")
    return named


def _take_exports(settings: Settings, files: list[str], seeds: Path | None) -> None:
    from tagsage.harvest.process import take_account_export
    from tagsage.stages.harvest import in_words

    if seeds or not all(file.lower().endswith(".zip") for file in files):
        raise typer.BadParameter("account exports and addresses go in separate commands")
    for file in files:
        if not Path(file).is_file():
            raise typer.BadParameter(f"there is no file {file}", param_hint="URL")
        report = take_account_export(make_folder(settings), Path(file))
        typer.echo(f"{file} {in_words(report)}")


def _harvest(settings: Settings, seeds: list[str], replay: bool) -> None:
    from tagsage.harvest.process import check_seeds
    from tagsage.stages.harvest import in_words, run_harvest, stopped_sites

    if replay:
        existing_collection(settings).close()
    elif seeds:
        try:
            check_seeds(seeds, settings)
        except TagsageError as error:
            raise typer.BadParameter(str(error)) from None
    try:
        report = run_harvest(settings, seeds, replay=replay)
    except KeyboardInterrupt:
        typer.echo("The harvest was interrupted; the same command goes on where it ended.")
        raise typer.Exit(1) from None
    typer.echo(f"Harvest {in_words(report)}")
    for line in stopped_sites(report):
        typer.echo(line)
    if report.problems:
        typer.echo("`tagsage harvest --status` shows what the problems are.")
    if report.waiting:
        typer.echo("The same command goes on where this one ended.")


def _print_status(now: Status) -> None:
    table = Table("what", "how many")
    table.columns[1].justify = "right"
    for name, count in now.counts.items():
        table.add_row(escape(name), f"{count:,}")
    print_table(table)
    if now.stops:
        hosts = Table("host", "what", "not before", "why")
        for site, scope, until, why in now.stops:
            moment = f"{datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M} UTC"
            hosts.add_row(escape(site), scope, moment, escape(why))
        print_table(hosts)
    if now.incomplete:
        lists = Table("list that is not complete", "why")
        for url, why in now.incomplete:
            lists.add_row(escape(url), escape(why))
        print_table(lists)
    if now.problems:
        problems = Table("how many", "what", "why", "for example")
        problems.columns[0].justify = "right"
        for kind, reason, count, url in now.problems:
            problems.add_row(f"{count:,}", kind, escape(reason), escape(url))
        print_table(problems)
