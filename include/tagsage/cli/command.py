"""What every command has: --workspace, --set and --debug, and its failure as one sentence."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from tagsage.errors import TagsageError
from tagsage.settings import ENV_PREFIX, Settings

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

CommandFunction = Callable[..., None]


def command(
    app: typer.Typer, name: str | None = None
) -> Callable[[CommandFunction], CommandFunction]:
    """Make a function a command that also has the options of every command.

    The function takes the ``settings`` that these options make first, and then its own options.
    """

    def register(function: CommandFunction) -> CommandFunction:
        def run(
            workspace: WorkspaceOption = None,
            set_: SetOption = None,
            debug: DebugOption = False,
            **own: Any,
        ) -> None:
            with exit_on_error(debug=debug):
                function(Settings.resolve(overrides_of(set_, workspace=workspace)), **own)

        # Typer reads the options from the signature.
        _settings, *own = inspect.signature(function, eval_str=True).parameters.values()
        *shared, _own = inspect.signature(run, eval_str=True).parameters.values()
        options = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*own, *shared)]
        run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        run.__doc__ = function.__doc__
        app.command(name or function.__name__)(run)
        return function

    return register


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
