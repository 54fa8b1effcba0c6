"""The command line: ``tagsage run``, ``show``, ``tag``, ``settings``, ``store``.

Exit status: 0 done, 1 a failure told in one sentence, 2 wrong usage.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tagsage.errors import TagsageError
from tagsage.settings import ENV_PREFIX, Settings

if TYPE_CHECKING:
    from tagsage.store.base import ArticleStore

app = typer.Typer(
    name="tagsage",
    help="Retrain a model that tags articles from their text and their reading lists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)

WorkspaceOption = Annotated[
    str | None, typer.Option("--workspace", help="Folder (or fsspec URL) of the run's files.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting; see `tagsage settings`."),
]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the trace of a failure.")]


def _overrides(pairs: list[str] | None, **options: object) -> dict[str, Any]:
    """Join the named options and the ``key=value`` pairs; naming a setting twice is wrong usage."""
    overrides = {name: value for name, value in options.items() if value is not None}
    for pair in pairs or []:
        key, separator, value = pair.partition("=")
        key = key.strip().removeprefix(ENV_PREFIX).lower()
        if not separator or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--set")
        if key in overrides:
            raise typer.BadParameter(f"{key} is given twice", param_hint="--set")
        overrides[key] = value
    return overrides


@app.command()
def run(
    articles: Annotated[str | None, typer.Option(help="CSV of articles; .gz accepted.")] = None,
    lists: Annotated[str | None, typer.Option(help="CSV of memberships; .gz accepted.")] = None,
    workspace: WorkspaceOption = None,
    store: Annotated[
        str | None, typer.Option(help="Where articles are kept: sqlite, neo4j.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="What computes the graph: local, gds.")] = None,
    embedder: Annotated[str | None, typer.Option(help="lsa, or none with --vectors.")] = None,
    vectors: Annotated[str | None, typer.Option(help="CSV of URL, JSON list.")] = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Run the whole night in one process: the same stages as the DAG."""
    overrides = _overrides(
        set_,
        articles=articles,
        lists=lists,
        workspace=workspace,
        store=store,
        engine=engine,
        embedder=embedder,
        vectors=vectors,
    )
    with failures_told(debug=debug):
        from tagsage.pipeline import run_night

        token = run_night(overrides)
        _print_results(Settings.model_validate(token["settings"]))


@app.command()
def show(workspace: WorkspaceOption = None, debug: DebugOption = False) -> None:
    """Print the leaderboard of the last run, and where its files are."""
    with failures_told(debug=debug):
        _print_results(Settings.resolve(_overrides(None, workspace=workspace)))


@app.command()
def tag(
    title: Annotated[str, typer.Argument(help="The title of an article.")],
    subtitle: Annotated[str, typer.Option(help="Its subtitle.")] = "",
    in_list: Annotated[
        list[str] | None, typer.Option("--list", help="A list that holds it; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many tags to print.")] = 5,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Tag one title with the champion."""
    with failures_told(debug=debug):
        import pandas as pd

        from tagsage.stages import tracking_of
        from tagsage.tracking.registry import load_champion

        settings = Settings.resolve(_overrides(set_, workspace=workspace))
        champion = load_champion(tracking_of(settings), settings.registered_model)
        signature = champion.metadata.signature
        if signature is not None and "vector" in signature.inputs.required_input_names():
            msg = (
                "The champion was trained on given vectors, so a title alone is not enough; "
                "call its predict with a column vector, or train with the embedder lsa."
            )
            raise TagsageError(msg)
        row = {"title": title, "subtitle": subtitle, "lists": in_list or []}
        table = Table("tag", "probability", "assigned")
        tagged = champion.predict(pd.DataFrame([row]), params={"top_k": top})
        for item in cast("pd.DataFrame", tagged)["top"].iloc[0]:
            table.add_row(
                escape(item["tag"]), f"{item['score']:.3f}", "yes" if item["assigned"] else ""
            )
        Console().print(table)


@app.command()
def settings() -> None:
    """List every setting: name, default, what it is."""
    table = Table("setting", "default", "meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(name, str(field.default), field.description)
    Console().print(table)
    typer.echo(f"Set one with --set name=value or in the environment as {ENV_PREFIX}NAME.")


store_app = typer.Typer(help="Look into the store of articles, or move it.", no_args_is_help=True)
app.add_typer(store_app, name="store")

StoreName = "sqlite, sqlite:PATH or neo4j"


@store_app.command("counts")
def store_counts(
    store: Annotated[str | None, typer.Option(help=StoreName)] = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Print how many articles, lists, memberships and predictions a store holds."""
    with failures_told(debug=debug):
        settings = Settings.resolve(_overrides(set_, workspace=workspace))
        with _open_named_store(store or settings.store, settings, must_exist=True) as opened:
            table = Table("", "")
            table.columns[1].justify = "right"
            for name, count in opened.counts().items():
                table.add_row(name, f"{count:,}")
            Console().print(table)


@store_app.command("copy")
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
    """Copy articles, lists and predictions from one store to another."""
    with failures_told(debug=debug):
        from tagsage.store.copy import copy_store

        settings = Settings.resolve(_overrides(set_, workspace=workspace))
        if _store_place(source, settings) == _store_place(target, settings):
            raise typer.BadParameter("is the store to copy from", param_hint="--to")
        with (
            _open_named_store(source, settings, must_exist=True) as one,
            _open_named_store(target, settings) as other,
        ):
            report = copy_store(one, other, replace=replace)
            predictions = other.counts()["predictions"]
        typer.echo(
            f"{report.articles:,} articles, {report.memberships:,} memberships and "
            f"{predictions:,} predictions are in {target} now ({report.added:,} articles added, "
            f"{report.updated:,} updated, {report.removed:,} removed)."
        )


def _store_place(name: str, settings: Settings) -> tuple[str, Path]:
    """Return kind and file of a store named on the command line."""
    from tagsage.stages.common import sqlite_file
    from tagsage.store.open import KINDS

    kind, colon, path = name.partition(":")
    if kind not in KINDS or (colon and (kind != "sqlite" or not path)):
        raise typer.BadParameter(f"{name!r} is not {StoreName}", param_hint="store")
    if kind != "sqlite":
        return kind, Path()
    file = Path(path) if path else sqlite_file(settings)
    return kind, file.absolute()


def _open_named_store(name: str, settings: Settings, *, must_exist: bool = False) -> ArticleStore:
    from tagsage.store.open import open_store

    kind, file = _store_place(name, settings)
    if must_exist and kind == "sqlite" and not file.is_file():
        raise TagsageError(f"There is no SQLite store {file}; name it as sqlite:PATH.")
    return open_store(kind, sqlite_path=file)


def _print_results(settings: Settings) -> None:
    """Print the published leaderboard and the paths of the results."""
    import pandas as pd

    from tagsage.workspace import Workspace

    root = Workspace(settings.workspace).root
    board = root / "leaderboard.csv"
    if not board.exists():
        raise TagsageError(f"There is no run in {root} yet; start one with `tagsage run`.")
    columns = {
        "candidate": "candidate",
        "micro_f1": "micro-F1",
        "macro_f1": "macro-F1",
        "p_at_5": "P@5",
        "lrap": "LRAP",
        "accuracy": "accuracy",
        "fit_seconds": "fit s",
    }
    with board.open("r", encoding="utf-8") as file:
        frame = pd.read_csv(file)
    table = Table(title="Leaderboard (test articles)")
    for heading in columns.values():
        table.add_column(
            heading, justify="left" if heading == "candidate" else "right", overflow="fold"
        )
    for row in frame.to_dict("records"):
        cells = [row[column] for column in columns]
        table.add_row(
            escape(str(cells[0])), *(f"{cell:.3f}" for cell in cells[1:-1]), f"{cells[-1]:.1f}"
        )
    console = Console()
    console.print(table)
    for name in ("report.html", "predictions.csv", "leaderboard.csv", "metrics.json"):
        where = escape(str(root / name))
        console.print(f"{name:16} {where}", soft_wrap=True, highlight=False)


@contextmanager
def failures_told(*, debug: bool) -> Generator[None, None, None]:
    """Turn a failure into one sentence and exit status 1; with `debug`, let the trace through."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format=logging.BASIC_FORMAT if debug else "%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    for noisy in ("alembic", "mlflow", "jax", "matplotlib", "httpx", "fsspec"):
        logging.getLogger(noisy).setLevel(logging.INFO if debug else logging.WARNING)
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("Stopped; the next run takes up what is done.", err=True)
        raise typer.Exit(1) from None
    except Exception as error:
        if debug or isinstance(error, typer.Exit | typer.BadParameter):
            raise
        typer.echo(_sentence(error), err=True)
        raise typer.Exit(1) from error


def _sentence(error: Exception) -> str:
    """Word a failure for the user: ours say it themselves, the others need help."""
    if isinstance(error, TagsageError):
        return str(error)
    if isinstance(error, MemoryError):
        return "The machine ran out of memory; compare fewer candidates or lower lsa_dimensions."
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        return f"{error.strerror}{where}; make room or permit it, then run again."
    return f"Unexpected {type(error).__name__}: {error}; run again with --debug to see where."


def main() -> None:
    """Run the command line; the console script `tagsage`."""
    app()


if __name__ == "__main__":
    main()
