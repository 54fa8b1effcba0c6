"""Commands of the store: ``store counts``, ``store copy``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tagsage.cli.common import (
    DebugOption,
    SetOption,
    StoreName,
    WorkspaceOption,
    exit_on_error,
    open_named_store,
    overrides_of,
    store_place,
)
from tagsage.settings import Settings

app = typer.Typer(help="Look into the store of articles, or move it.", no_args_is_help=True)


@app.command("counts")
def store_counts(
    store: Annotated[str | None, typer.Option(help=StoreName)] = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Print how many articles, lists, memberships and predictions a store holds."""
    with exit_on_error(debug=debug):
        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        with open_named_store(store or settings.store, settings, must_exist=True) as opened:
            table = Table("", "")
            table.columns[1].justify = "right"
            for name, count in opened.counts().items():
                table.add_row(name, f"{count:,}")
            Console().print(table)


@app.command("copy")
def store_copy(
    source: Annotated[str, typer.Option("--from", help=StoreName)],
    target: Annotated[str, typer.Option("--to", help=StoreName)],
    replace: Annotated[
        bool, typer.Option("--replace", help="The target may hold something else, which is lost.")
    ] = False,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Copy articles, lists, predictions and suggestions from one store to another."""
    with exit_on_error(debug=debug):
        from tagsage.store.copy import copy_store

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        if store_place(source, settings) == store_place(target, settings):
            raise typer.BadParameter("is the store to copy from", param_hint="--to")
        with (
            open_named_store(source, settings, must_exist=True) as one,
            open_named_store(target, settings) as other,
        ):
            report = copy_store(one, other, replace=replace)
            predictions = other.counts()["predictions"]
        typer.echo(
            f"{report.articles:,} articles, {report.memberships:,} memberships and "
            f"{predictions:,} predictions are in {target} now ({report.added:,} articles added, "
            f"{report.updated:,} updated, {report.removed:,} removed)."
        )
