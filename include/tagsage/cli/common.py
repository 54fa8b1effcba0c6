"""What every command shares: options, settings, stores by name, failures in one sentence."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tagsage.errors import TagsageError
from tagsage.settings import ENV_PREFIX, Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from tagsage.store.base import ArticleStore

# Columns of a table that goes to a file.
WIDE = 250

WorkspaceOption = Annotated[
    str | None, typer.Option("--workspace", help="Folder (or fsspec URL) of the run's files.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; see `tagsage settings`."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the trace of a failure.")]


def overrides_of(pairs: list[str] | None, **options: object) -> dict[str, Any]:
    """Join the named options and the ``key=value`` pairs; naming a setting twice is wrong usage.

    A workspace named here comes with the MLflow in it, so the variable MLFLOW_TRACKING_URI is
    dropped; the setting mlflow_tracking_uri is not.
    """
    overrides = {name: value for name, value in options.items() if value is not None}
    for pair in pairs or []:
        key, separator, value = pair.partition("=")
        key = key.strip().removeprefix(ENV_PREFIX).lower()
        if not separator or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
        if key in overrides:
            raise typer.BadParameter(f"{key} is given twice", param_hint="--set")
        overrides[key] = value
    if "workspace" in overrides:
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    return overrides


StoreName = "sqlite, sqlite:PATH, postgres or neo4j"


def store_place(name: str, settings: Settings) -> tuple[str, Path]:
    """Return kind and file of a store named on the command line."""
    from tagsage.store.database import sqlite_file
    from tagsage.store.open import KINDS

    kind, colon, path = name.partition(":")
    if kind not in KINDS or (colon and (kind != "sqlite" or not path)):
        raise typer.BadParameter(f"{name!r} is not {StoreName}", param_hint="store")
    if kind != "sqlite":
        return kind, Path()
    file = Path(path) if path else sqlite_file(settings)
    return kind, file.absolute()


def open_named_store(name: str, settings: Settings, *, must_exist: bool = False) -> ArticleStore:
    """Open a store named on the command line.

    Raises
    ------
    TagsageError
        When it must exist and does not, or cannot be opened.
    """
    from tagsage.store.open import open_store

    kind, file = store_place(name, settings)
    if must_exist and kind == "sqlite" and not file.is_file():
        raise TagsageError(f"There is no SQLite store {file}; name it as sqlite:PATH.")
    if not must_exist and name == "sqlite":
        Workspace(settings.workspace).claim()
    return open_store(kind, sqlite_path=file)


@contextmanager
def exit_on_error(*, debug: bool) -> Generator[None, None, None]:
    """Turn a failure into one sentence and exit status 1; with `debug`, let the trace through."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format=logging.BASIC_FORMAT if debug else "%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    for noisy in ("alembic", "mlflow", "jax", "matplotlib", "httpx", "httpx2", "openai", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.INFO if debug else logging.WARNING)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped; the next run continues.", err=True)
        raise typer.Exit(1) from None
    except Exception as error:
        if debug or isinstance(error, typer.Exit | typer.BadParameter):
            raise
        typer.echo(_sentence(error), err=True)
        raise typer.Exit(1) from error


def _sentence(error: Exception) -> str:
    """Return a failure as a sentence that says what to do."""
    if isinstance(error, TagsageError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The machine ran out of memory; compare fewer candidates or lower lsa_dimensions."
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}; make room or permit it, then run again."
    return f"Unexpected {type(error).__name__}: {error}; run again with --debug to see where."


def print_table(table: Table) -> None:
    """Print a table; its first column is never wrapped, because other commands take it whole."""
    table.columns[0].no_wrap = True
    for column in table.columns:
        column.overflow = "fold"
    console = Console()
    # A file or a pipe has room.
    (console if console.is_terminal else Console(width=WIDE)).print(table)
