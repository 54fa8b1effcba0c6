"""From texts to vectors in three steps: plan, embed batches, collect.

The steps are what tasks call, alone or mapped over batches, on one machine or several. They pass on
a folder: the plan, with the fitted model in it. Texts come from the snapshot each time; vectors go
through the cache, which is only a cache: what it lacks at the end is embedded then.
"""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tagsage.embed.base import Embedder
from tagsage.embed.cache import VectorCache
from tagsage.embed.caches import prune_caches
from tagsage.embed.files import finished_folders, remove_folder, remove_stale
from tagsage.embed.text import EMPTY_HASH, HASH_DTYPE, unique_texts
from tagsage.errors import TagsageError

logger = logging.getLogger(__name__)

PLAN_FILE = "plan.json"
MISSING_FILE = "missing.npy"
MODEL_FOLDER = "model"
MODELS = "models"
CACHE = "cache"
VECTORS_FILE = "vectors.npy"

MAX_BATCHES = 1000
# Texts of one segment of the cache: a killed batch loses at most the work on these.
PUT_ROWS = 16_384


@dataclass(frozen=True)
class Plan:
    """What is to be embedded, and by which model.

    Attributes
    ----------
    model_id : str
        The model's name.
    dimensions : int
        Numbers in a vector.
    missing : numpy.ndarray of int64, shape (m,)
        Rows of the texts that the cache lacks: the first of each, ascending.
    batches : tuple of (int, int)
        Half-open ranges of `missing`, at most 1,000; none when nothing is missing.
    summary : dict
        Counts and decisions for people to read (JSON-serialisable).
    model_folder : pathlib.Path or None
        Where the fitted model lies; None for a model that lives on a server.
    """

    model_id: str
    dimensions: int
    missing: NDArray[np.int64]
    batches: tuple[tuple[int, int], ...]
    summary: dict[str, Any]
    model_folder: Path | None = None

    def save(self, folder: Path) -> None:
        """Write the plan, with a copy of its model, into an existing empty folder."""
        np.save(folder / MISSING_FILE, self.missing, allow_pickle=False)
        if self.model_folder is not None:
            from tagsage.embed.lsa_models import SEEN_FILE

            unseen = shutil.ignore_patterns(SEEN_FILE)
            shutil.copytree(self.model_folder, folder / MODEL_FOLDER, ignore=unseen)
        about = {
            "model_id": self.model_id,
            "dimensions": self.dimensions,
            "batches": self.batches,
            "summary": self.summary,
        }
        (folder / PLAN_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved plan.

        Raises
        ------
        TagsageError
            When a file is missing or damaged.
        """
        try:
            about = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
            missing = np.load(folder / MISSING_FILE, allow_pickle=False)
            batches = tuple((int(start), int(stop)) for start, stop in about["batches"])
            model_id, dimensions = str(about["model_id"]), int(about["dimensions"])
            summary = dict(about["summary"])
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            msg = f"Cannot read the embedding plan in {folder} ({error}); remove it and run again."
            raise TagsageError(msg) from error
        model = folder / MODEL_FOLDER
        return cls(
            model_id, dimensions, missing, batches, summary, model if model.is_dir() else None
        )

    def embedder(self) -> Embedder:
        """Load the plan's own model.

        Raises
        ------
        TagsageError
            When it has none, or a damaged one.
        """
        if self.model_folder is None:
            msg = f"The plan for {self.model_id} holds no model; give its embedder."
            raise TagsageError(msg)
        # Here only: scikit-learn takes a second to import, and vectors from a server need none.
        from tagsage.embed.lsa import LsaEmbedder

        return LsaEmbedder.load(self.model_folder)


def plan_missing(
    hashes: NDArray[Any],
    *,
    folder: Path,
    model_id: str,
    dimensions: int,
    batch_size: int,
    summary: dict[str, Any] | None = None,
    model_folder: Path | None = None,
    left_out: Collection[bytes] = (),
) -> Plan:
    """Plan what any embedder has to do: the texts that the cache lacks, in batches.

    Parameters
    ----------
    hashes : numpy.ndarray of S32, shape (n,)
        The texts' hashes, one an article.
    folder : pathlib.Path
        Folder of models and caches.
    model_id : str
        The embedder's name.
    dimensions : int
        Numbers in a vector.
    batch_size : int
        Texts a batch; more when there would be over 1,000 batches.
    summary : dict, optional
        What else to tell about the plan.
    model_folder : pathlib.Path, optional
        Where the fitted model lies.
    left_out : collection of bytes, optional
        Hashes of texts that are not embedded although they have no vector.

    Returns
    -------
    Plan
        The plan.
    """
    missing = VectorCache(folder / CACHE, model_id, dimensions).missing(hashes)
    if left_out:
        missing = missing[~np.isin(hashes[missing], np.array(list(left_out), dtype=HASH_DTYPE))]
    size = max(batch_size, math.ceil(len(missing) / MAX_BATCHES))
    batches = tuple(
        (start, min(start + size, len(missing))) for start in range(0, len(missing), size)
    )
    counts = {
        "model_id": model_id,
        "dimensions": dimensions,
        "articles": len(hashes),
        "articles_without_text": int(np.sum(hashes == EMPTY_HASH)),
        "unique_texts": len(unique_texts(hashes)),
        "new_texts": len(missing),
        "batches": len(batches),
    }
    return Plan(model_id, dimensions, missing, batches, counts | (summary or {}), model_folder)


def embed_batch(
    plan: Plan,
    batch: int,
    texts: Sequence[str],
    hashes: NDArray[Any],
    *,
    embedder: Embedder,
    folder: Path,
) -> dict[str, int]:
    """Embed one batch of a plan into the cache; what is there already is not embedded again.

    Parameters
    ----------
    plan : Plan
        The plan.
    batch : int
        Which of its batches.
    texts, hashes : sequence of str and numpy.ndarray of S32, length n
        The texts the plan was made for, and their hashes.
    embedder : Embedder
        The plan's embedder.
    folder : pathlib.Path
        Folder of models and caches.

    Returns
    -------
    dict
        ``texts``: the size of the batch; ``embedded``: how many were new.

    Raises
    ------
    ValueError
        When there is no such batch, or `embedder` is not the plan's.
    """
    if not 0 <= batch < len(plan.batches):
        raise ValueError(f"{batch=} is not one of the plan's {len(plan.batches)}")
    start, stop = plan.batches[batch]
    rows = plan.missing[start:stop]
    embedded = _embed_rows(plan, rows, texts, hashes, embedder=embedder, folder=folder)
    return {"texts": len(rows), "embedded": embedded}


def _embed_rows(
    plan: Plan,
    rows: NDArray[np.int64],
    texts: Sequence[str],
    hashes: NDArray[Any],
    *,
    embedder: Embedder,
    folder: Path,
) -> int:
    if embedder.model_id != plan.model_id or embedder.dimensions != plan.dimensions:
        raise ValueError(f"the plan is for {plan.model_id}, not for {embedder.model_id}")
    cache = VectorCache(folder / CACHE, plan.model_id, plan.dimensions)
    todo = rows[cache.missing(hashes[rows])]
    for part in _parts(todo):
        cache.put(hashes[part], embedder.embed([texts[row] for row in part]))
    return len(todo)


def _parts(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for start in range(0, len(rows), PUT_ROWS):
        yield rows[start : start + PUT_ROWS]


def collect(
    plan: Plan,
    texts: Sequence[str],
    hashes: NDArray[Any],
    *,
    embedder: Embedder,
    folder: Path,
    out: Path,
) -> dict[str, Any]:
    """Write the vectors of all articles, in the snapshot's order.

    Texts that the cache lacks after all, because a segment was damaged or lies on another machine,
    are embedded here.

    Parameters
    ----------
    plan, texts, hashes, embedder, folder
        As in :func:`embed_batch`.
    out : pathlib.Path
        Existing folder; ``vectors.npy``, float32 of shape (n, dimensions), appears in it whole or
        not at all.

    Returns
    -------
    dict
        The plan's summary, and ``zero_vectors``: articles whose vector is zero;
        ``zero_vectors_with_text``: those of them that have a text; ``embedded_late``: texts that
        the cache lacked.
    """
    cache = VectorCache(folder / CACHE, plan.model_id, plan.dimensions)
    cache.compact()
    target = out / VECTORS_FILE
    temporary = target.with_name(f".{VECTORS_FILE}")
    vectors = np.lib.format.open_memmap(
        temporary, mode="w+", dtype=np.float32, shape=(len(hashes), plan.dimensions)
    )
    late = 0
    if cache.gather(hashes, vectors):
        late = _embed_rows(
            plan, np.arange(len(hashes)), texts, hashes, embedder=embedder, folder=folder
        )
        left = cache.gather(hashes, vectors)
        if left:
            msg = (
                f"The cache {cache.folder} does not keep what is put into it: {left} texts have no "
                "vector; check the disk, remove that folder and run again."
            )
            raise TagsageError(msg)
    zero = _zero_rows(vectors)
    vectors.flush()
    temporary.replace(target)
    return plan.summary | {
        "zero_vectors": int(zero.sum()),
        "zero_vectors_with_text": int((zero & (hashes != EMPTY_HASH)).sum()),
        "embedded_late": late,
    }


def _zero_rows(vectors: NDArray[np.float32]) -> NDArray[np.bool_]:
    blocks = [
        ~vectors[start : start + PUT_ROWS].any(axis=1) for start in range(0, len(vectors), PUT_ROWS)
    ]
    return np.concatenate([np.zeros(0, bool), *blocks])


def prune(folder: Path, keep: Collection[str]) -> int:
    """Remove models and cached vectors of other models, and leftovers of killed processes.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of models and caches.
    keep : collection of str
        Ids of the models to keep.

    Returns
    -------
    int
        Of how many models something was removed.
    """
    removed = {path.name for path in finished_folders(folder / MODELS) if path.name not in keep}
    for name in removed:
        remove_folder(folder / MODELS / name)
    remove_stale(folder / MODELS)
    remove_stale(folder / CACHE)
    return len(removed | prune_caches(folder / CACHE, keep))
