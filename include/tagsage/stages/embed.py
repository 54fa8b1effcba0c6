"""From the texts of the snapshot to one vector an article."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.common import (
    MODEL_FOLDER,
    VECTORS_CODE,
    Ref,
    load_snapshot,
    load_texts,
    tracking_of,
    vectors_folder,
    vectors_of_run,
)
from tagsage.stages.embed_given import import_given
from tagsage.stages.embed_openai import collect_openai, embed_openai, plan_openai

logger = logging.getLogger(__name__)

# The ref of its vectors, as a run notes it.
VECTORS = "vectors"
# What is counted of them in MLflow.
COUNTED = ("articles_without_text", "rejected_texts", "cut_articles")


def plan_vectors(token: Token, corpus: Ref) -> Ref:
    """Decide on the model and find the texts that have no vector yet.

    With the embedder ``none`` there is nothing to plan.

    Returns
    -------
    str
        Ref of the plan.
    """
    run = RunContext.of(token)
    settings = run.settings
    if settings.embedder == "openai":
        return plan_openai(run, corpus)
    from tagsage.embed.lsa_plan import plan_lsa

    texts, hashes = load_texts(run, corpus)
    plan = plan_lsa(
        texts,
        hashes,
        folder=vectors_folder(run),
        dimensions=settings.lsa_dimensions,
        max_terms=settings.lsa_max_terms,
        refit_share=settings.lsa_refit_share,
        seed=settings.seed,
    )

    def build(folder: Path) -> dict[str, Any]:
        plan.save(folder)
        return {"model_id": plan.model_id, "batches": len(plan.batches), **plan.summary}

    inputs = {
        "corpus": corpus,
        "model_id": plan.model_id,
        # A plan says what is missing: one made earlier may ask for too much or too little.
        "missing": [len(plan.missing), int(plan.missing.sum())],
    }
    return run.artifact("plan", inputs, build, code=VECTORS_CODE).ref


def vector_batches(token: Token, plan: Ref) -> list[int]:
    """Return the numbers of the batches to embed, one per task.

    There are none without new texts, and none when they go to OpenAI's Batch API.
    """
    run = RunContext.of(token)
    if run.settings.embedder == "openai" and run.settings.openai_mode == "batch":
        return []
    return list(range(run.workspace.open(plan).summary["batches"]))


def embed_batch(token: Token, corpus: Ref, plan: Ref, batch: int) -> dict[str, int]:
    """Embed one batch of the plan into the cache, here or by requests to OpenAI."""
    from tagsage.embed import plan as planning

    run = RunContext.of(token)
    if run.settings.embedder == "openai":
        return embed_openai(run, corpus, plan, batch)
    texts, hashes = load_texts(run, corpus)
    todo = planning.Plan.load(run.workspace.open(plan).path)
    return planning.embed_batch(
        todo,
        batch,
        texts,
        hashes,
        embedder=todo.embedder(),
        folder=vectors_folder(run),
    )


def collect_vectors(token: Token, corpus: Ref, plan: Ref = "") -> Ref:
    """Gather the vectors of all articles in the snapshot's order; returns the ref.

    With the embedder ``none`` they are read from the file of vectors, without a plan.
    """
    from tagsage.registry.runs import log_results

    run = RunContext.of(token)
    if run.settings.embedder == "openai":
        vectors = collect_openai(run, corpus, plan)
    elif run.settings.embedder == "none":
        vectors = import_given(run, corpus, load_snapshot(run, corpus))
    else:
        vectors = _collect_lsa(run, corpus, plan)
    summary = run.workspace.open(vectors).summary
    run.record(VECTORS, vectors)
    log_results(
        tracking_of(run.settings),
        run.run_id,
        # What tells runs with different embedders apart, side by side.
        params=vectors_of_run(run, vectors),
        metrics={name: summary[name] for name in COUNTED if name in summary},
    )
    return vectors


def _collect_lsa(run: RunContext, corpus: Ref, plan: Ref) -> Ref:
    from tagsage.embed import plan as planning

    todo = planning.Plan.load(run.workspace.open(plan).path)

    def build(folder: Path) -> dict[str, Any]:
        texts, hashes = load_texts(run, corpus)
        if todo.model_folder is not None:
            # The served model embeds new titles with it.
            shutil.copytree(todo.model_folder, folder / MODEL_FOLDER)
        return planning.collect(
            todo,
            texts,
            hashes,
            embedder=todo.embedder(),
            folder=vectors_folder(run),
            out=folder,
        )

    inputs = {"corpus": corpus, "model_id": todo.model_id}
    return run.artifact("vectors", inputs, build, code=VECTORS_CODE).ref
