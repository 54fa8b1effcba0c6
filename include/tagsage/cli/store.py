"""Commands of the store: ``store counts``, ``store copy``; stores named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from tagsage.cli.command import command
from tagsage.errors import TagsageError
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from tagsage.store.base import ArticleStore

app = typer.Typer(help="Look into the store of articles, or move it.", no_args_is_help=True)

NAME = "sqlite, sqlite:PATH, postgres or neo4j"
StoreOption = Annotated[str | None, typer.Option("--store", help=NAME)]


@command(app, "counts")
def print_counts(settings: Settings, store: StoreOption = None) -> None:
    """Print how many articles, lists, memberships and predictions a store holds."""
    with open_named_store(store or settings.store, settings, must_exist=True) as opened:
        table = Table("", "")
        table.columns[1].justify = "right"
        for name, count in opened.counts().items():
            table.add_row(name, f"{count:,}")
        Console().print(table)


@command(app, "copy")
def copy(
    settings: Settings,
    source: Annotated[str, typer.Option("--from", help=NAME)],
    target: Annotated[str, typer.Option("--to", help=NAME)],
    replace: Annotated[
        bool, typer.Option("--replace", help="The target may hold something else, which is lost.")
    ] = False,
) -> None:
    """Copy articles, lists, predictions and suggestions from one store to another."""
    from tagsage.store.copy import copy_store

    if _kind_and_file(source, settings) == _kind_and_file(target, settings):
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


def open_named_store(name: str, settings: Settings, *, must_exist: bool = False) -> ArticleStore:
    """Open a store named on the command line; `TagsageError` when it must exist and does not."""
    from tagsage.store.open import open_store

    kind, file = _kind_and_file(name, settings)
    if must_exist and kind == "sqlite" and not file.is_file():
        raise TagsageError(f"There is no SQLite store {file}; name it as sqlite:PATH.")
    if not must_exist and name == "sqlite":
        Workspace(settings.workspace).claim()
    return open_store(kind, sqlite_path=file)


def _kind_and_file(name: str, settings: Settings) -> tuple[str, Path]:
    from tagsage.store.database import sqlite_file
    from tagsage.store.open import KINDS

    kind, colon, path = name.partition(":")
    if kind not in KINDS or (colon and (kind != "sqlite" or not path)):
        raise typer.BadParameter(f"{name!r} is not {NAME}", param_hint="store")
    if kind != "sqlite":
        return kind, Path()
    file = Path(path) if path else sqlite_file(settings)
    return kind, file.absolute()
