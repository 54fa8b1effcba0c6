"""From the texts of the snapshot to one vector an article."""

from __future__ import annotations

import hashlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from tagsage.errors import TagsageError
from tagsage.night import Night, Token
from tagsage.stages.common import (
    MODEL_FOLDER,
    VECTORS_CODE,
    Ref,
    keep_vectors,
    load_snapshot,
    vectors_folder,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from tagsage.store.snapshot import Snapshot
    from tagsage.vectors.given import GivenVectors

logger = logging.getLogger(__name__)

# The property of an article in a store that keeps vectors, by the embedder that made them.
VECTOR_PROPERTIES = {"lsa": "lsaEmbedding", "none": "givenEmbedding"}


def plan_vectors(token: Token, corpus: Ref) -> Ref:
    """Decide on the model and find the texts that have no vector yet.

    Returns
    -------
    str
        Ref of the plan; of the given vectors themselves when the embedder is ``none``.
    """
    night = Night.of(token)
    settings = night.settings
    snapshot = load_snapshot(night, corpus)
    if settings.embedder == "none":
        return _import_vectors(night, corpus, snapshot)
    from tagsage.vectors.plan import plan_lsa
    from tagsage.vectors.text import article_texts, text_hashes

    texts = article_texts(snapshot.articles)
    plan = plan_lsa(
        texts,
        text_hashes(texts),
        folder=vectors_folder(night),
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
    return night.artifact("plan", inputs, build, code=VECTORS_CODE).ref


def _import_vectors(night: Night, corpus: Ref, snapshot: Snapshot) -> Ref:
    from tagsage.vectors.given import import_vectors

    source = UPath(night.settings.vectors)
    if not source.is_file():
        msg = f"There is no file {night.settings.vectors}; name a CSV of vectors with --vectors."
        raise TagsageError(msg)
    sha256 = hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    digest = sha256.hexdigest()

    def build(folder: Path) -> dict[str, Any]:
        given = import_vectors(
            night.settings.vectors, snapshot.articles, out=folder / "vectors.npy"
        )
        _check_share(night, given)
        given.quarantine.to_csv(folder / "vectors.csv", index=False)
        return {
            "model_id": f"given-{digest[:12]}",
            "batches": 0,
            "rows": given.rows,
            "without_vector": int((~given.found).sum()),
            "quarantined": len(given.quarantine),
        }

    artifact = night.artifact("given", {"corpus": corpus, "file": digest}, build, code=VECTORS_CODE)
    night.workspace.publish(artifact.path / "vectors.csv", "quarantine/vectors.csv")
    return artifact.ref


def _check_share(night: Night, given: GivenVectors) -> None:
    """Refuse a file of which too many rows are no good; rows of other articles do no harm."""
    from tagsage.corpus.quarantine import REJECTED
    from tagsage.vectors.given import UNKNOWN_URL

    rejected = given.quarantine[
        (given.quarantine["kind"] == REJECTED) & (given.quarantine["reason"] != UNKNOWN_URL)
    ]
    if len(rejected) > night.settings.max_rejected_share * given.rows:
        first = rejected.iloc[0]
        msg = (
            f"{night.settings.vectors}: {len(rejected):,} of {given.rows:,} rows were rejected, "
            f"more than max_rejected_share={night.settings.max_rejected_share:g} allows; the first "
            f"is line {first['line']}: {first['reason']}."
        )
        raise TagsageError(msg)
    without = int((~given.found).sum())
    if without:
        logger.warning("%d articles have no given vector: theirs is zero.", without)


def vector_batches(token: Token, plan: Ref) -> list[int]:
    """Return the numbers of the plan's batches, to map over; empty on a night without new texts."""
    return list(range(Night.of(token).workspace.open(plan).summary["batches"]))


def embed_batch(token: Token, corpus: Ref, plan: Ref, batch: int) -> dict[str, int]:
    """Embed one batch of the plan into the cache."""
    from tagsage.vectors import plan as planning

    night = Night.of(token)
    texts, hashes = _texts(night, corpus)
    todo = planning.Plan.load(night.workspace.open(plan).path)
    return planning.embed_batch(
        todo,
        batch,
        texts,
        hashes,
        embedder=todo.embedder(),
        folder=vectors_folder(night),
    )


def collect_vectors(token: Token, corpus: Ref, plan: Ref) -> Ref:
    """Gather the vectors of all articles in the snapshot's order; returns the ref."""
    from tagsage.vectors import plan as planning

    night = Night.of(token)
    planned = night.workspace.open(plan)
    if plan.startswith("given-"):
        return plan
    todo = planning.Plan.load(planned.path)

    def build(folder: Path) -> dict[str, Any]:
        texts, hashes = _texts(night, corpus)
        if todo.model_folder is not None:
            # The served model embeds new titles with it.
            shutil.copytree(todo.model_folder, folder / MODEL_FOLDER)
        return planning.collect(
            todo,
            texts,
            hashes,
            embedder=todo.embedder(),
            folder=vectors_folder(night),
            out=folder,
        )

    inputs = {"corpus": corpus, "model_id": todo.model_id}
    return night.artifact("vectors", inputs, build, code=VECTORS_CODE).ref


def store_vectors(token: Token, corpus: Ref, vectors: Ref) -> str:
    """Write the vectors into the store, where it has a place for them.

    Returns
    -------
    str
        The property that holds them, named after the embedder; empty when the store keeps none.
    """
    night = Night.of(token)
    name = VECTOR_PROPERTIES[night.settings.embedder]
    return name if keep_vectors(night, corpus, name, vectors, "vectors.npy") else ""


def _texts(night: Night, corpus: Ref) -> tuple[list[str], npt.NDArray[Any]]:
    """Return the text of every article of the snapshot, and the texts' hashes."""
    from tagsage.vectors.text import article_texts, text_hashes

    texts = article_texts(load_snapshot(night, corpus).articles)
    return texts, text_hashes(texts)
