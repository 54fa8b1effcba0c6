"""A fitted candidate with all it needs: articles in, tags with probabilities out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.keys import parse_address
from tagsage.embed.embedders import load_embedder, saved_embedder
from tagsage.errors import TagsageError
from tagsage.features import BLOCKS, Articles, FeatureSet, blocks_of
from tagsage.features.feature_set import gather_feature_set
from tagsage.files import read_json, write_json
from tagsage.learn.candidate import FittedCandidate

if TYPE_CHECKING:
    from tagsage.embed.embedders import Embedder
    from tagsage.graph.csr import FloatArray

TAGGER_FILE = "tagger.json"
CANDIDATE, FEATURES, EMBEDDER = "candidate", "features", "embedder"
TOP_K = 20
BLOCK_ROWS = 4096
RANKED = ("tag", "score", "assigned", "threshold")


class EmbedderAwayError(TagsageError):
    """The embedder gave no vectors; the articles are not the cause."""


@dataclass(frozen=True)
class Tagger:
    """A fitted candidate with what turns articles into its features.

    Without an `embedder`, new articles must bring vectors, or no block needs any.
    """

    features: FeatureSet
    candidate: FittedCandidate
    embedder: Embedder | None
    dimensions: int

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_tagger` wrote."""
        about = read_about(folder)
        return cls(
            FeatureSet.load(folder / FEATURES, about["feature_set"]),
            FittedCandidate.load(folder / CANDIDATE),
            load_embedder(folder / EMBEDDER) if about["embedder"] else None,
            about["dimensions"],
        )

    def save(self, folder: Path) -> None:
        """Write it into a folder that is empty, as :func:`write_tagger` does."""
        self.features.save(folder / FEATURES)
        self.candidate.save(folder / CANDIDATE)
        if self.embedder is not None:
            self.embedder.save(folder / EMBEDDER)
        _write_about(folder, list(self.features.blocks), self.dimensions)

    def predict(self, articles: pd.DataFrame, *, top_k: int = TOP_K) -> pd.DataFrame:
        """Tag articles; raises `TagsageError` when an argument does not fit.

        Parameters
        ----------
        articles : pandas.DataFrame
            Column ``title`` (str); optional ``subtitle``, ``author``, ``story`` (the address, of an
            article of the corpus), ``lists`` (list of str: names as in the corpus), ``articles``
            (list of str: URLs or keys of co-listed articles of the corpus) and, for a tagger
            trained on precomputed vectors, ``vector`` (list of float). Unknown names and nulls
            count as none.

        Returns
        -------
        pandas.DataFrame
            One row per article, the index kept: ``tags``, the assigned tags, and ``top``, the
            `top_k` best as ``{"tag": str, "score": float, "assigned": bool, "threshold": float}``
            (assigned: the score reaches the threshold), both best first, ties in the order of tags.
        """
        if top_k < 1:
            raise TagsageError(f"top_k must be at least 1, not {top_k}.")
        if "title" not in articles.columns:
            found = ", ".join(map(str, articles.columns)) or "none"
            raise TagsageError(f"The input needs a column title; its columns are: {found}.")
        rows: list[dict[str, Any]] = []
        for start in range(0, len(articles), BLOCK_ROWS):
            rows += self._predict_block(articles.iloc[start : start + BLOCK_ROWS], top_k)
        return pd.DataFrame(rows, columns=["tags", "top"], index=articles.index, dtype=object)

    def articles_of(self, frame: pd.DataFrame) -> Articles:
        """Return a frame's articles, with vectors; columns as for :meth:`predict`."""
        texts = [
            f"{title.strip()} {subtitle.strip()}".strip()
            for title, subtitle in zip(
                _texts(frame, "title"), _texts(frame, "subtitle"), strict=True
            )
        ]
        lists = _names(frame, "lists")
        if "articles" in frame.columns:
            known = self.features.known
            lists = [
                [*named, *known.lists_of(colisted)] if colisted else named
                for named, colisted in zip(lists, _names(frame, "articles"), strict=True)
            ]
        vectors = None
        if self.features.needs_vectors:
            vectors = self.vectors(texts, None if self.embedder else _vectors(frame))
        return Articles.of_names(
            texts,
            _texts(frame, "author"),
            lists,
            keys=[_key(address) for address in _texts(frame, "story")],
            vectors=vectors,
        )

    def vectors(self, texts: Sequence[str], given: FloatArray | None = None) -> FloatArray:
        """Return the vectors of texts, float32 [n, dimensions].

        `given` came with the articles, for a tagger without an embedder. Raises `EmbedderAwayError`
        when the embedder's server fails, `TagsageError` when given vectors are missing or don't
        fit.
        """
        if self.embedder is not None:
            try:
                return self.embedder.embed(texts)
            except TagsageError as error:
                raise EmbedderAwayError(str(error)) from error
        if given is None or given.shape != (len(texts), self.dimensions):
            got = "none" if given is None else f"an array of shape {given.shape}"
            msg = (
                "This tagger was trained on precomputed vectors, so every article needs one of "
                f"{self.dimensions} numbers in the column vector; there is {got}."
            )
            raise TagsageError(msg)
        return np.asarray(given, dtype=np.float32)

    def _predict_block(self, frame: pd.DataFrame, top_k: int) -> list[dict[str, Any]]:
        X, rows = self.features.transform(self.articles_of(frame)), np.arange(len(frame))
        P, assigned = self.candidate.predict(X, rows)
        thresholds = self.candidate.thresholds(X, rows)
        tags = np.array(self.candidate.tags, dtype=object)
        answers = []
        for row, order in enumerate(np.argsort(-P, axis=1, kind="stable")):
            best = order[:top_k]
            columns = (tags[best], P[row, best], assigned[row, best], thresholds[row, best])
            values = zip(*(column.tolist() for column in columns), strict=True)
            answers.append({
                # All of them: an assigned tag need not be among the most likely.
                "tags": tags[order[assigned[row, order]]].tolist(),
                "top": [dict(zip(RANKED, of_tag, strict=True)) for of_tag in values],
            })
        return answers


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
    """Gather what a tagger needs, from the folders of its saved parts, in one that is empty.

    Without an embedder, articles bring vectors of `dimensions` numbers.
    """
    gather_feature_set(folder / FEATURES, known, blocks)
    shutil.copytree(candidate, folder / CANDIDATE)
    if embedder is not None and any(BLOCKS[name].needs_vectors for name in blocks):
        shutil.copytree(embedder, folder / EMBEDDER)
    _write_about(folder, blocks_of(feature_set), dimensions)


def _write_about(folder: Path, blocks: Sequence[str], dimensions: int) -> None:
    needs_vectors = any(BLOCKS[name].needs_vectors for name in blocks)
    has_embedder = (folder / EMBEDDER).is_dir()
    about = {
        "feature_set": "+".join(blocks),
        "dimensions": dimensions,
        "embedder": saved_embedder(folder / EMBEDDER) if has_embedder else "",
        "needs_given_vectors": needs_vectors and not has_embedder,
    }
    write_json(folder / TAGGER_FILE, about)


def read_about(folder: Path) -> dict[str, Any]:
    """Return ``feature_set``, ``dimensions``, ``embedder`` and ``needs_given_vectors``."""
    about: dict[str, Any] = read_json(folder / TAGGER_FILE) or {}
    return about


def _key(address: str) -> str:
    parsed = parse_address(address) if address else None
    return parsed.key if parsed else ""


def _texts(articles: pd.DataFrame, column: str) -> list[str]:
    if column not in articles.columns:
        return [""] * len(articles)
    return [str(value) for value in articles[column].astype(object).fillna("")]


def _names(articles: pd.DataFrame, column: str) -> list[list[str]]:
    if column not in articles.columns:
        return [[]] * len(articles)
    return [_as_names(value) for value in articles[column].tolist()]


def _as_names(value: Any) -> list[str]:
    # A single name is a list of one, not of letters.
    names = value if pd.api.types.is_list_like(value) else [value]
    return [str(name) for name in names if not pd.isna(name)]


def _vectors(articles: pd.DataFrame) -> npt.NDArray[np.float32] | None:
    if "vector" not in articles.columns or not len(articles):
        return None
    try:
        return np.array(articles["vector"].tolist(), dtype=np.float32).reshape(len(articles), -1)
    except (TypeError, ValueError):
        msg = "The column vector holds something else than lists of numbers, all of one length."
        raise TagsageError(msg) from None
