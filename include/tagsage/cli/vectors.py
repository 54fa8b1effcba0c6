"""Commands of ``vectors``: what is paid for, what is new, and batches under way."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.common import (
    DebugOption,
    SetOption,
    StoreName,
    WorkspaceOption,
    exit_on_error,
    open_named_store,
    overrides_of,
    print_table,
)
from tagsage.errors import TagsageError
from tagsage.settings import Settings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.embed.cache import VectorCache

app = typer.Typer(
    help="Look into the vectors that were paid for, and make them.", no_args_is_help=True
)

StoreOption = Annotated[str | None, typer.Option("--store", help=StoreName)]


@app.command("list")
def list_models(
    workspace: WorkspaceOption = None, set_: SetOption = None, debug: DebugOption = False
) -> None:
    """List the models of which vectors are kept, and how many."""
    with _cache(workspace, set_, debug=debug) as (cache, _):
        table = Table("model", "numbers", "texts")
        for model, dimensions, texts in cache.models():
            table.add_row(escape(model), f"{dimensions:,}", f"{texts:,}")
        print_table(table)
        typer.echo(f"They are in {cache.file}: copy this file to take them elsewhere.")


@app.command("plan")
def plan(
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Tell how many texts of a store are new, and what they will cost; nothing is sent."""
    with _cache(workspace, set_, debug=debug) as (cache, settings):
        from tagsage.embed.openai.embedder import plan_texts

        batch = settings.openai_mode == "batch"
        todo = plan_texts(cache, settings, *_texts(settings, store), batch=batch)
        typer.echo(f"{todo.sentence(settings)}.\nNothing was sent, and no server was asked.")


@app.command("embed")
def embed(
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Get the vectors that the articles of a store lack, outside of a run."""
    with _cache(workspace, set_, debug=debug) as (cache, settings):
        from tagsage.embed.openai import batch
        from tagsage.embed.openai.embedder import embed_missing

        texts, hashes = _texts(settings, store)
        payer = f"embed-{datetime.now(UTC):%Y-%m-%d}"
        jobs = batch.submit_jobs(cache, settings, texts, hashes, run_id=payer)
        while jobs:
            for job in [job for job in jobs if batch.has_ended(settings, job)]:
                batch.ingest_results(cache, settings, job)
                jobs.remove(job)
            time.sleep(settings.openai_poll_s if jobs else 0)
        rejected = embed_missing(cache, settings, texts, hashes, run_id=payer)
        spent = cache.spent(payer)
        typer.echo(
            f"{payer} has sent {spent.texts:,} texts, {spent.tokens:,} tokens, "
            f"${spent.dollars:.4f}; the server does not take {len(rejected):,} texts."
        )


@app.command("spent")
def spent(
    workspace: WorkspaceOption = None, set_: SetOption = None, debug: DebugOption = False
) -> None:
    """Print what every run has spent, the latest first."""
    with _cache(workspace, set_, debug=debug) as (cache, _):
        table = Table("run", "model", "texts", "tokens", "dollars")
        for one in cache.usage():
            cells = (f"{one.texts:,}", f"{one.tokens:,}", f"{one.dollars:.4f}")
            table.add_row(escape(one.run_id), escape(one.model), *cells)
        print_table(table)


@app.command("jobs")
def jobs(
    workspace: WorkspaceOption = None, set_: SetOption = None, debug: DebugOption = False
) -> None:
    """List the batches of the Batch API that are under way."""
    with _cache(workspace, set_, debug=debug) as (cache, _):
        table = Table("job", "model", "texts", "run", "since")
        for job in cache.jobs():
            since = f"{datetime.fromtimestamp(job.submitted_at, UTC):%Y-%m-%d %H:%M} UTC"
            table.add_row(job.id, escape(job.model), f"{job.texts:,}", escape(job.run_id), since)
        print_table(table)


@app.command("cancel")
def cancel(
    job: Annotated[str, typer.Argument(help="As `vectors jobs` names it.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="Its server is gone: only stop waiting for it.")
    ] = False,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Cancel a batch; what it brings until then is kept by the next run."""
    with _cache(workspace, set_, debug=debug) as (cache, settings):
        from tagsage.embed.openai.batch import cancel_job

        if job not in {one.id for one in cache.jobs()}:
            raise TagsageError(f"No batch {job} is under way; `tagsage vectors jobs` lists them.")
        if forget:
            cache.forget_job(job)
        else:
            cancel_job(settings, job)
        typer.echo(f"{job} is {'forgotten' if forget else 'being cancelled'}.")


@app.command("prune")
def prune(
    model: Annotated[str, typer.Argument(help="As `vectors list` names it.")],
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Remove the vectors of a model; to have them again is to pay for them again."""
    with _cache(workspace, set_, debug=debug) as (cache, _):
        typer.echo(f"{cache.remove(model):,} vectors of {model} were removed.")


@contextmanager
def _cache(
    workspace: str | None, pairs: list[str] | None, *, debug: bool
) -> Generator[tuple[VectorCache, Settings], None, None]:
    """Open the cache that the settings name; a failure becomes one sentence."""
    with exit_on_error(debug=debug):
        from tagsage.embed.cache import VectorCache, cache_file
        from tagsage.workspace import Workspace

        settings = Settings.resolve(overrides_of(pairs, workspace=workspace))
        if not settings.vector_cache:
            Workspace(settings.workspace).claim()
        with VectorCache(cache_file(settings)) as cache:
            yield cache, settings


def _texts(settings: Settings, store: str | None) -> tuple[list[str], npt.NDArray[np.bytes_]]:
    from tagsage.embed.text import article_texts, text_hashes

    with open_named_store(store or settings.store, settings, must_exist=True) as opened:
        texts = article_texts(opened.snapshot().articles)
    if not texts:
        raise TagsageError("The store holds no article; name another one with --store.")
    return texts, text_hashes(texts)
