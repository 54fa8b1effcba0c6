"""From the texts of the snapshot to one vector per article."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import (
    MODEL_FOLDER,
    VECTORS,
    VECTORS_CODE,
    VECTORS_FILE,
    Ref,
    load_snapshot,
)
from tagsage.stages.backends import log_results
from tagsage.stages.earlier_run import earlier_artifact
from tagsage.stages.spending import log_spending
from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

QUARANTINE_FILE = "vectors.csv"
# The artifact of an embedder that is fitted on texts.
FITTED = "embedder"


def embed_texts(token: Token, corpus: Ref) -> Ref:
    """Make the vectors of all articles with the embedder in use, in the snapshot's order.

    Texts and rows that were not taken as they came are in ``quarantine/vectors.csv``. The artifact
    has the embedder itself where later texts need it.
    """
    from tagsage.embed.embedders import embedder_module

    run = RunContext.of(token)
    settings = run.settings
    module = embedder_module(settings.embedder)
    inputs = {"corpus": corpus, "embedder": settings.embedder, **module.depends_on(settings)}
    fitted = _fitted_embedder(run, corpus, inputs) if settings.embedder == "lsa" else None
    given: dict[str, Any] = {"model": fitted.path / MODEL_FOLDER} if fitted else {}

    def build(folder: Path) -> dict[str, Any]:
        articles, out = load_snapshot(run, corpus).articles, folder / VECTORS_FILE
        made = module.embed_corpus(articles, settings, out=out, run_id=run.run_id, **given)
        if made.embedder is not None:
            made.embedder.save(folder / MODEL_FOLDER)
        counts = []
        if made.quarantine is not None:
            made.quarantine.to_csv(folder / QUARANTINE_FILE, index=False)
            by = made.quarantine.groupby(["file", "kind", "reason"]).size()
            counts = by.reset_index(name="rows").to_dict("records")
        return {
            "embedder": settings.embedder,
            "model_id": made.model_id,
            "dimensions": made.dimensions,
            "quarantine": counts,
            "counts": made.counts,
        }

    inputs |= {"fitted": fitted.ref} if fitted else {}
    try:
        artifact = run.artifact("vectors", inputs, build, code=VECTORS_CODE)
    finally:
        # A run that fails has spent, too.
        log_spending(run)
    if (artifact.path / QUARANTINE_FILE).exists():
        run.workspace.publish(artifact.path / QUARANTINE_FILE, f"quarantine/{QUARANTINE_FILE}")
    run.record(VECTORS, artifact.ref)
    # The parameters tell runs with different embedders apart, side by side.
    log_results(run, params=vectors_of_run(run, artifact.ref), metrics=artifact.summary["counts"])
    return artifact.ref


def _fitted_embedder(run: RunContext, corpus: Ref, inputs: dict[str, Any]) -> Artifact:
    """Return the last run's LSA while few texts are new, so that the others keep their vectors."""
    from tagsage.embed import lsa

    articles, settings = load_snapshot(run, corpus).articles, run.settings
    if kept := earlier_artifact(run, FITTED):
        new = lsa.share_new(articles, settings, run.workspace.open(kept).path / MODEL_FOLDER)
        if new <= settings.lsa_refit_share:
            logger.info("lsa: the last run's, because %.1f%% of the texts are new", 100 * new)
            return run.reuse(kept, FITTED)

    def build(folder: Path) -> dict[str, Any]:
        return {"model_id": lsa.fit_corpus(articles, settings, folder / MODEL_FOLDER).model_id}

    return run.artifact(FITTED, inputs, build, code=VECTORS_CODE)


def vectors_of_run(run: RunContext, vectors: Ref) -> dict[str, Any]:
    """Return which model made the vectors of an artifact, as parameters for MLflow."""
    summary = run.workspace.open(vectors).summary
    return {"vectors_model": summary["model_id"], "vectors_dimensions": summary["dimensions"]}


def submit_jobs(token: Token, corpus: Ref) -> list[str]:
    """Submit new texts as batches of OpenAI's Batch API, with ``openai_mode=batch``.

    Returns the batches to wait for: in either mode also those of earlier runs that hold missing
    texts.
    """
    from tagsage.embed.cache import VectorCache, cache_file
    from tagsage.embed.openai import batch
    from tagsage.embed.text import article_texts, text_hashes

    run = RunContext.of(token)
    texts = article_texts(load_snapshot(run, corpus).articles)
    hashes = text_hashes(texts)
    with VectorCache(cache_file(run.settings)) as cache:
        return batch.submit_jobs(cache, run.settings, texts, hashes, run_id=run.run_id)


def await_job(token: Token, job: str) -> bool:
    """Look after a batch, and take its results once it has ended; tells whether it has."""
    from tagsage.embed.cache import VectorCache, cache_file
    from tagsage.embed.openai import batch

    settings = RunContext.of(token).settings
    if not batch.has_ended(settings, job):
        return False
    with VectorCache(cache_file(settings)) as cache:
        batch.ingest_results(cache, settings, job)
    return True
