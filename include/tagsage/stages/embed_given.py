"""The embedder ``none``: vectors that came with the corpus."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from upath import UPath

from tagsage.errors import TagsageError
from tagsage.run_context import RunContext
from tagsage.stages.common import VECTORS_CODE, Ref

if TYPE_CHECKING:
    from tagsage.embed.given import GivenVectors
    from tagsage.store.snapshot import Snapshot

logger = logging.getLogger(__name__)


def import_given(run: RunContext, corpus: Ref, snapshot: Snapshot) -> Ref:
    """Read the file of vectors; returns the ref of the vectors themselves.

    Raises
    ------
    TagsageError
        When there is no such file, or too many of its rows are no good.
    """
    from tagsage.embed.given import import_vectors

    source = UPath(run.settings.vectors)
    if not source.is_file():
        msg = f"There is no file {run.settings.vectors}; name a CSV of vectors with --vectors."
        raise TagsageError(msg)
    sha256 = hashlib.sha256()
    with source.open("rb") as file:
        while chunk := file.read(1 << 20):
            sha256.update(chunk)
    digest = sha256.hexdigest()

    def build(folder: Path) -> dict[str, Any]:
        given = import_vectors(run.settings.vectors, snapshot.articles, out=folder / "vectors.npy")
        _check_share(run, given)
        given.quarantine.to_csv(folder / "vectors.csv", index=False)
        return {
            "model_id": f"given-{digest[:12]}",
            "dimensions": int(given.vectors.shape[1]),
            "batches": 0,
            "rows": given.rows,
            "without_vector": int((~given.found).sum()),
            "quarantined": len(given.quarantine),
        }

    artifact = run.artifact("given", {"corpus": corpus, "file": digest}, build, code=VECTORS_CODE)
    run.workspace.publish(artifact.path / "vectors.csv", "quarantine/vectors.csv")
    return artifact.ref


def _check_share(run: RunContext, given: GivenVectors) -> None:
    """Refuse a file of which too many rows are no good; rows of other articles do no harm."""
    from tagsage.corpus.quarantine import REJECTED
    from tagsage.embed.given import UNKNOWN_URL

    rejected = given.quarantine[
        (given.quarantine["kind"] == REJECTED) & (given.quarantine["reason"] != UNKNOWN_URL)
    ]
    if len(rejected) > run.settings.max_rejected_share * given.rows:
        first = rejected.iloc[0]
        msg = (
            f"{run.settings.vectors}: {len(rejected):,} of {given.rows:,} rows were rejected, "
            f"more than max_rejected_share={run.settings.max_rejected_share:g} allows; the first "
            f"is line {first['line']}: {first['reason']}."
        )
        raise TagsageError(msg)
    without = int((~given.found).sum())
    if without:
        logger.warning("%d articles have no given vector: theirs is zero.", without)
