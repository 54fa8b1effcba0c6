"""Commands of ``vectors``: what is kept and paid for, what is new, and batches under way."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.command import command, print_table
from tagsage.cli.store import StoreOption, open_named_store
from tagsage.errors import TagsageError
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.embed.cache import VectorCache

app = typer.Typer(
    help="Look into the vectors that are kept, and get OpenAI's.", no_args_is_help=True
)


@command(app, "list")
def list_models(settings: Settings) -> None:
    """List the models of which vectors are kept, and how many."""
    table = Table("model", "numbers", "texts")
    with _open_cache(settings) as cache:
        for model, dimensions, texts in cache.models():
            table.add_row(escape(model), f"{dimensions:,}", f"{texts:,}")
    print_table(table)
    typer.echo(f"They are in {cache.file}: copy this file to take them elsewhere.")


@command(app)
def plan(settings: Settings, store: StoreOption = None) -> None:
    """Tell how many texts of a store are new, and what they will cost; nothing is sent."""
    from tagsage.embed.openai.embedder import plan_texts

    batch = settings.openai_mode == "batch"
    with _open_cache(settings) as cache:
        todo = plan_texts(cache, settings, *_texts(settings, store), batch=batch)
    typer.echo(f"{todo.sentence(settings)}.\nNothing was sent, and no server was asked.")


@command(app)
def embed(settings: Settings, store: StoreOption = None) -> None:
    """Get the vectors that the articles of a store lack, outside of a run."""
    from tagsage.embed.openai import batch
    from tagsage.embed.openai.embedder import embed_missing

    payer = f"embed-{datetime.now(UTC):%Y-%m-%d}"
    with _open_cache(settings) as cache:
        texts, hashes = _texts(settings, store)
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


@command(app)
def spent(settings: Settings) -> None:
    """Print what every run has spent, the latest first."""
    table = Table("run", "model", "texts", "tokens", "dollars")
    with _open_cache(settings) as cache:
        for one in cache.usage():
            cells = (f"{one.texts:,}", f"{one.tokens:,}", f"{one.dollars:.4f}")
            table.add_row(escape(one.run_id), escape(one.model), *cells)
    print_table(table)


@command(app)
def jobs(settings: Settings) -> None:
    """List the batches of the Batch API that are under way."""
    table = Table("job", "model", "texts", "run", "since")
    with _open_cache(settings) as cache:
        for job in cache.jobs():
            since = f"{datetime.fromtimestamp(job.submitted_at, UTC):%Y-%m-%d %H:%M} UTC"
            table.add_row(job.id, escape(job.model), f"{job.texts:,}", escape(job.run_id), since)
    print_table(table)


@command(app)
def cancel(
    settings: Settings,
    job: Annotated[str, typer.Argument(help="As `vectors jobs` names it.")],
    forget: Annotated[
        bool, typer.Option("--forget", help="Its server is gone: only stop waiting for it.")
    ] = False,
) -> None:
    """Cancel a batch; what it brings until then is kept by the next run."""
    from tagsage.embed.openai.batch import cancel_job

    with _open_cache(settings) as cache:
        if job not in {one.id for one in cache.jobs()}:
            raise TagsageError(f"No batch {job} is under way; `tagsage vectors jobs` lists them.")
        if forget:
            cache.forget_job(job)
        else:
            cancel_job(settings, job)
    typer.echo(f"{job} is {'forgotten' if forget else 'being cancelled'}.")


@command(app)
def prune(
    settings: Settings,
    model: Annotated[str, typer.Argument(help="As `vectors list` names it.")],
) -> None:
    """Remove the vectors of a model; the next run that needs them makes or pays for them again."""
    with _open_cache(settings) as cache:
        removed = cache.remove(model)
    typer.echo(f"{removed:,} vectors of {model} were removed.")


def _open_cache(settings: Settings) -> VectorCache:
    from tagsage.embed.cache import VectorCache, cache_file

    if not settings.vector_cache:
        Workspace(settings.workspace).claim()
    return VectorCache(cache_file(settings))


def _texts(settings: Settings, store: str | None) -> tuple[list[str], npt.NDArray[np.bytes_]]:
    from tagsage.embed.text import article_texts, text_hashes

    with open_named_store(store or settings.store, settings, must_exist=True) as opened:
        texts = article_texts(opened.snapshot().articles)
    if not texts:
        raise TagsageError("The store holds no article; name another one with --store.")
    return texts, text_hashes(texts)
