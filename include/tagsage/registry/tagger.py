"""A fitted candidate with all it needs: articles in, tags with probabilities out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.keys import parse_address
from tagsage.embed.registry import load_embedder, saved_embedder
from tagsage.errors import TagsageError
from tagsage.features import Articles, FeatureSet
from tagsage.features.feature_set import gather_feature_set
from tagsage.graph.arrays import one_blas_thread
from tagsage.learn.candidate import FittedCandidate
from tagsage.registry.seal import check_seal, seal

if TYPE_CHECKING:
    from tagsage.embed.registry import Embedder
    from tagsage.graph.csr import FloatArray

TAGGER_FILE = "tagger.json"
CANDIDATE, FEATURES, EMBEDDER = "candidate", "features", "embedder"
TOP_K = 20
BLOCK_ROWS = 4096
FEW_ROWS = 8


class EmbedderAwayError(TagsageError):
    """The embedder gave no vectors; the articles are not to blame."""


@dataclass(frozen=True)
class Tagger:
    """A fitted candidate with what turns articles into its features.

    Attributes
    ----------
    features : FeatureSet
        Makes the features.
    candidate : FittedCandidate
        Makes probabilities of them.
    embedder : Embedder or None
        Makes the vectors of texts. None: vectors were given with the corpus, and must come with
        new articles too; or no block needs any.
    dimensions : int
        Numbers in a vector.
    """

    features: FeatureSet
    candidate: FittedCandidate
    embedder: Embedder | None
    dimensions: int

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_tagger` wrote.

        Raises
        ------
        TagsageError
            When a file was changed since it was written.
        """
        check_seal(folder)
        about = read_about(folder)
        return cls(
            FeatureSet.load(folder / FEATURES, about["feature_set"]),
            FittedCandidate.load(folder / CANDIDATE),
            load_embedder(folder / EMBEDDER) if about["embedder"] else None,
            about["dimensions"],
        )

    def tag(self, articles: pd.DataFrame, *, top_k: int = TOP_K) -> pd.DataFrame:
        """Tag articles.

        Parameters
        ----------
        articles : pandas.DataFrame
            Column ``title`` (str); optional ``subtitle`` and ``author`` (str), ``story`` (str: the
            address, of an article of the corpus), ``lists`` (list of str: names as in the corpus),
            ``articles`` (list of str: URLs or keys of articles of the corpus that are in lists
            with it) and, for a tagger trained on given vectors, ``vector`` (list of float). Nulls
            count as empty; what is not known counts as none.
        top_k : int
            How many tags to rank, at least 1.

        Returns
        -------
        pandas.DataFrame
            A row an article, the index kept: ``tags``, the assigned tags, best first; ``top``, the
            `top_k` best as ``{"tag": str, "score": float, "assigned": bool, "threshold": float}``
            (assigned: the score reaches the threshold), best first, ties in the order of the tags.

        Raises
        ------
        TagsageError
            When `top_k` is below 1, there is no title column, or vectors do not fit.
        """
        if top_k < 1:
            raise TagsageError(f"top_k must be at least 1, not {top_k}.")
        if "title" not in articles.columns:
            found = ", ".join(map(str, articles.columns)) or "none"
            raise TagsageError(f"The input needs a column title; its columns are: {found}.")
        rows: list[dict[str, Any]] = []
        for start in range(0, len(articles), BLOCK_ROWS):
            rows += self._tag_block(articles.iloc[start : start + BLOCK_ROWS], top_k)
        return pd.DataFrame(rows, columns=["tags", "top"], index=articles.index, dtype=object)

    def articles_of(self, frame: pd.DataFrame) -> Articles:
        """Return articles that come as a frame, with their vectors; columns as for :meth:`tag`."""
        texts = _joined(_texts(frame, "title"), _texts(frame, "subtitle"))
        names = _names(frame, "lists")
        if "articles" in frame.columns:
            known = self.features.known
            beside = _names(frame, "articles")
            names = [
                [*own, *known.lists_of(others)] if others else own
                for own, others in zip(names, beside, strict=True)
            ]
        vectors = None
        if self.features.needs_vectors:
            vectors = self.vectors(texts, None if self.embedder else _vectors(frame))
        return Articles.of_names(
            texts,
            _texts(frame, "author"),
            names,
            keys=[_key(address) for address in _texts(frame, "story")],
            vectors=vectors,
        )

    def vectors(self, texts: Sequence[str], given: FloatArray | None = None) -> FloatArray:
        """Return the vectors of texts, float32 [n, dimensions].

        Parameters
        ----------
        texts : sequence of str, length n
            The texts.
        given : float32 array, shape [n, dimensions], optional
            The vectors, where the tagger was trained on given ones.

        Raises
        ------
        EmbedderAwayError
            When the embedder is away or refuses us.
        TagsageError
            When the tagger was trained on given vectors, and there are none or others.
        """
        if self.embedder is not None:
            try:
                return self.embedder.embed(texts)
            except TagsageError as error:
                raise EmbedderAwayError(str(error)) from error
        if given is None or given.shape != (len(texts), self.dimensions):
            got = "none" if given is None else f"an array of shape {given.shape}"
            msg = (
                "This tagger was trained on given vectors, so every article needs one of "
                f"{self.dimensions} numbers in the column vector; there is {got}."
            )
            raise TagsageError(msg)
        return np.asarray(given, dtype=np.float32)

    def _tag_block(self, frame: pd.DataFrame, top_k: int) -> list[dict[str, Any]]:
        # A few rows are multiplied before a second thread has woken up.
        with one_blas_thread() if len(frame) <= FEW_ROWS else nullcontext():
            X, rows = self.features.transform(self.articles_of(frame)), np.arange(len(frame))
            P, flags = self.candidate.predict(X, rows)
            thresholds = self.candidate.thresholds(X, rows)
        order = np.argsort(-P, axis=1, kind="stable")
        best = order[:, :top_k]
        tags = np.array(self.candidate.tags, dtype=object)
        # All of them: a tag may be assigned that is not among the likeliest.
        row, rank = np.nonzero(np.take_along_axis(flags, order, axis=1))
        bounds = np.searchsorted(row, np.arange(len(P) + 1)).tolist()
        assigned = tags[order[row, rank]].tolist()
        return [
            {
                "tags": assigned[first:last],
                "top": [
                    {"tag": tag, "score": score, "assigned": mark, "threshold": threshold}
                    for tag, score, mark, threshold in zip(*ranked, strict=True)
                ],
            }
            for *ranked, (first, last) in zip(
                tags[best].tolist(),
                np.take_along_axis(P, best, axis=1).tolist(),
                np.take_along_axis(flags, best, axis=1).tolist(),
                np.take_along_axis(thresholds, best, axis=1).tolist(),
                pairwise(bounds),
                strict=True,
            )
        ]


def write_tagger(
    folder: Path,
    *,
    candidate: Path,
    feature_set: str,
    known: Path,
    blocks: Mapping[str, Path],
    embedder: Path | None,
    dimensions: int,
) -> None:
    """Gather what a tagger needs in one folder of arrays and JSON.

    Parameters
    ----------
    folder : pathlib.Path
        An existing empty folder.
    candidate : pathlib.Path
        Folder of the saved :class:`~tagsage.learn.candidate.FittedCandidate`.
    feature_set : str
        Its feature set.
    known : pathlib.Path
        Folder of the saved :class:`~tagsage.features.Known`.
    blocks : mapping of str to pathlib.Path
        Folders of the saved blocks.
    embedder : pathlib.Path or None
        Folder of the saved embedder; None when vectors were given.
    dimensions : int
        Numbers in a vector.
    """
    from tagsage.features import BLOCKS

    gather_feature_set(folder / FEATURES, known, blocks)
    shutil.copytree(candidate, folder / CANDIDATE)
    needs_vectors = any(BLOCKS[name].needs_vectors for name in blocks)
    kind = ""
    if embedder is not None and needs_vectors:
        shutil.copytree(embedder, folder / EMBEDDER)
        kind = saved_embedder(embedder)
    about = {
        "feature_set": feature_set,
        "dimensions": dimensions,
        "embedder": kind,
        "needs_given_vectors": needs_vectors and not kind,
    }
    (folder / TAGGER_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")
    seal(folder)


def read_about(folder: Path) -> dict[str, Any]:
    """Return what :func:`write_tagger` says of a folder.

    Returns
    -------
    dict
        ``feature_set``, ``dimensions``, ``embedder`` (its name, or nothing when there is none) and
        ``needs_given_vectors``.
    """
    about: dict[str, Any] = json.loads((folder / TAGGER_FILE).read_text(encoding="utf-8"))
    return about


def _joined(titles: Sequence[str], subtitles: Sequence[str]) -> list[str]:
    """Return what is embedded of articles, as for those of the corpus."""
    # Frames as article_texts takes them are a third of the time of a single request.
    return [
        " ".join(part.strip() for part in parts).strip()
        for parts in zip(titles, subtitles, strict=True)
    ]


def _key(address: str) -> str:
    parsed = parse_address(address) if address else None
    return parsed.key if parsed else ""


def _texts(articles: pd.DataFrame, column: str) -> list[str]:
    if column not in articles.columns:
        return [""] * len(articles)
    return [
        value if type(value) is str else "" if _is_null(value) else str(value)
        for value in articles[column].tolist()
    ]


def _names(articles: pd.DataFrame, column: str) -> list[Sequence[str]]:
    if column not in articles.columns:
        return [()] * len(articles)
    return [() if _is_null(value) else _as_names(value) for value in articles[column].tolist()]


def _as_names(value: Any) -> list[str]:
    # A single name is taken as a list of one, not as its letters.
    if isinstance(value, str | int | float):
        return [str(value)]
    return [str(name) for name in value if not _is_null(name)]


def _vectors(articles: pd.DataFrame) -> npt.NDArray[np.float32] | None:
    if "vector" not in articles.columns or not len(articles):
        return None
    lengths = {np.size(value) for value in articles["vector"]}
    if len(lengths) != 1:
        msg = f"The vectors in the column vector have different lengths: {sorted(lengths)}."
        raise TagsageError(msg)
    vectors = np.array([np.asarray(value) for value in articles["vector"]], dtype=np.float32)
    return vectors.reshape(len(articles), -1)


def _is_null(value: Any) -> bool:
    return value is None or (pd.api.types.is_scalar(value) and bool(pd.isna(value)))
