"""Commands of vectors that were paid for: ``vectors list``, ``export``, ``import``, ``prune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.common import (
    DebugOption,
    SetOption,
    StoreName,
    WorkspaceOption,
    failures_told,
    open_named_store,
    overrides_of,
    print_table,
)
from tagsage.errors import TagsageError
from tagsage.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from tagsage.embed.cache import VectorCache
    from tagsage.embed.importing import ImportReport

app = typer.Typer(
    help="Look into the vectors that were paid for, move them, make them.", no_args_is_help=True
)

StoreOption = Annotated[str | None, typer.Option("--store", help=StoreName)]
ModelOption = Annotated[
    str | None, typer.Option("--model", help="As `vectors list` names it; default: openai_model.")
]
DimensionsOption = Annotated[
    int | None,
    typer.Option("--dimensions", min=1, help="Where a model has vectors of several lengths."),
]

QUARANTINE = "quarantine/imported-vectors.csv"


@app.command("list")
def list_caches(
    workspace: WorkspaceOption = None, set_: SetOption = None, debug: DebugOption = False
) -> None:
    """List models, texts and size of what is kept, and what of it was damaged."""
    with failures_told(debug=debug):
        from tagsage.embed.caches import survey
        from tagsage.workspace import Workspace

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        lsa = (Workspace(settings.workspace).local_path / "vectors").glob("lsa-*/cache")
        paid = cache_folder(settings)
        folders = [("openai", paid), *(("lsa", place) for place in sorted(lsa))]
        table = Table("embedder", "model")
        for heading in ("numbers", "texts", "MB", "segments", "damaged"):
            table.add_column(heading, justify="right")
        for embedder, folder in folders:
            for held in survey(folder):
                counts = (held.segments, held.damaged)
                table.add_row(
                    embedder,
                    escape(held.model_id),
                    f"{held.dimensions:,}",
                    f"{held.texts:,}",
                    f"{held.size / 1e6:,.1f}",
                    *(f"{count:,}" for count in counts),
                )
        print_table(table)
        typer.echo(f"What was paid for lies in {paid.parent}.")


@app.command("export")
def export(
    file: Annotated[
        Path, typer.Argument(help="*.parquet: everything, lossless; *.csv[.gz]: URL, JSON list.")
    ],
    model: ModelOption = None,
    dimensions: DimensionsOption = None,
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Write the vectors of a model into a file, for another machine or team."""
    if not file.name.endswith((".parquet", ".csv", ".csv.gz")):
        raise typer.BadParameter("ends neither in .parquet nor in .csv or .csv.gz")
    with failures_told(debug=debug):
        from tagsage.embed.exporting import export_csv, export_parquet

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        cache = cache_of(settings, model, dimensions)
        if not file.absolute().parent.is_dir():
            raise TagsageError(f"There is no folder {file.parent}; make it, or name another file.")
        if file.suffix == ".parquet":
            count = export_parquet(cache, file)
            typer.echo(f"{count:,} texts of {cache.model_id} are in {file}.")
            return
        written, without = export_csv(cache, articles_of(settings, store), file)
        typer.echo(
            f"{written:,} articles with their vector of {cache.model_id} are in {file}; "
            f"{without:,} have none."
        )


@app.command("import")
def import_file(
    file: Annotated[
        str, typer.Argument(help="What export wrote, or a CSV of URL, JSON list as the study's.")
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="Which model made a CSV; default: openai_model.")
    ] = None,
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Take vectors over, so that they need not be paid for; what is there already stays."""
    with failures_told(debug=debug):
        from tagsage.embed.importing import import_csv, import_parquet, is_parquet
        from tagsage.workspace import Workspace

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        Workspace(settings.workspace).claim()
        folder = cache_folder(settings)
        if is_parquet(file):
            report = import_parquet(file, folder, model_id=model)
        else:
            from tagsage.embed.openai.config import OpenAiConfig

            # The file does not say which model it was.
            made = OpenAiConfig(
                model or settings.openai_model, 0 if model else settings.openai_dimensions
            )
            report = import_csv(
                file,
                articles_of(settings, store),
                folder,
                model_id=made.model_id,
                dimensions=made.known_dimensions,
            )
        _tell_import(report, settings)


def _tell_import(report: ImportReport, settings: Settings) -> None:
    from tagsage.workspace import Workspace

    typer.echo(
        f"{report.added:,} texts were added to {report.model_id} ({report.dimensions:,} numbers); "
        f"of {report.rows:,} rows {report.known:,} were there already, {report.differing:,} with "
        f"other numbers, which stay as they were, and {len(report.quarantine):,} were rejected."
    )
    if len(report.quarantine):
        workspace = Workspace(settings.workspace)
        with workspace.scratch() as folder:
            report.quarantine.to_csv(folder / "rows.csv", index=False)
            typer.echo(f"The rejected rows: {workspace.publish(folder / 'rows.csv', QUARANTINE)}")
        for reason, count in report.quarantine["reason"].value_counts().items():
            typer.echo(f"  {count:,}: {reason}")


@app.command("prune")
def prune(
    model: Annotated[
        str | None, typer.Option("--model", help="Only this one; by default every model.")
    ] = None,
    whole: Annotated[
        bool, typer.Option("--all", help="Everything of --model, the store's texts too.")
    ] = False,
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Also what was set aside as damaged.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, it is only told what would go.")
    ] = False,
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Drop vectors of texts that this workspace's store does not have, or a whole model.

    Those that other workspaces sharing openai_cache use go too.
    """
    if whole and model is None:
        raise typer.BadParameter("needs --model", param_hint="--all")
    with failures_told(debug=debug):
        import numpy as np

        from tagsage.embed.caches import caches
        from tagsage.embed.files import damaged_folders, remove_folder, remove_stale

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        found = caches(cache_folder(settings))
        if model is not None:
            found = [cache for cache in found if cache.model_id == model]
            if not found:
                raise TagsageError(_unknown(model, settings))
        kept = np.zeros(0, "S32") if whole else _hashes_of(settings, store)
        for cache in found:
            hashes = cache.hashes()
            unwanted = hashes[~np.isin(hashes, kept)]
            aside = damaged_folders(cache.folder) if damaged else []
            if yes:
                cache.remove(unwanted)
                remove_stale(cache.folder)
                for folder in aside:
                    remove_folder(folder)
            typer.echo(
                f"{cache.model_id} ({cache.dimensions:,} numbers): {len(unwanted):,} of "
                f"{len(hashes):,} texts {'were' if yes else 'would be'} dropped"
                + (f", and {len(aside):,} damaged segments." if damaged else ".")
            )
        if settings.openai_cache:
            typer.echo(
                f"{settings.openai_cache} may be shared: what only other workspaces use "
                f"{'was' if yes else 'would be'} dropped too, and is paid for again there."
            )
        if not yes:
            typer.echo("Nothing was dropped: it was paid for. Add --yes to do it.")


def cache_folder(settings: Settings) -> Path:
    """Return the folder of the caches of vectors that were paid for."""
    from tagsage.embed.openai.spool import CACHE
    from tagsage.stages.common import openai_folder

    return openai_folder(settings) / CACHE


def cache_of(settings: Settings, model: str | None, dimensions: int | None) -> VectorCache:
    """Find a model's vectors.

    Raises
    ------
    TagsageError
        When there are none, or of several lengths.
    """
    from tagsage.embed.caches import caches
    from tagsage.stages.embed_openai import config_of

    name = model or config_of(settings).model_id
    found = [
        cache
        for cache in caches(cache_folder(settings))
        if cache.model_id == name and dimensions in {None, cache.dimensions}
    ]
    if not found:
        raise TagsageError(_unknown(name, settings))
    if len(found) > 1:
        lengths = ", ".join(f"{cache.dimensions}" for cache in found)
        msg = f"{name} has vectors of {lengths} numbers; name one length with --dimensions."
        raise TagsageError(msg)
    return found[0]


def _unknown(name: str, settings: Settings) -> str:
    from tagsage.embed.caches import caches

    folder = cache_folder(settings)
    known = ", ".join(sorted({cache.model_id for cache in caches(folder)}))
    there = f"there are those of {known}" if known else "it is empty"
    return f"{folder} holds no vectors of {name}: {there}; name a model with --model."


def articles_of(settings: Settings, store: str | None) -> pd.DataFrame:
    """Read the articles of a store named on the command line.

    Raises
    ------
    TagsageError
        When it holds none.
    """
    with open_named_store(store or settings.store, settings, must_exist=True) as opened:
        articles = opened.snapshot().articles
    if articles.empty:
        raise TagsageError("The store holds no article; name another one with --store.")
    return articles


def _hashes_of(settings: Settings, store: str | None) -> npt.NDArray[np.bytes_]:
    from tagsage.embed.text import article_texts, text_hashes

    return text_hashes(article_texts(articles_of(settings, store)))
