"""Latent semantic analysis: TF-IDF rows projected on their leading right singular vectors.

S. Deerwester et al., "Indexing by Latent Semantic Analysis", JASIS 41 (1990).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils.extmath import randomized_svd
from threadpoolctl import threadpool_limits

from tagsage.embed.embedders import ABOUT_FILE, CorpusVectors
from tagsage.embed.text import article_texts, text_hashes, unique_texts
from tagsage.embed.words import words_of
from tagsage.errors import TagsageError
from tagsage.files import read_json, write_json
from tagsage.progress import track

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.settings import Settings

    # Generic only in its stubs.
    Terms = sp.csr_array[Any, tuple[int, int]]

logger = logging.getLogger(__name__)

VOCABULARY_FILE, IDF_FILE, COMPONENTS_FILE = "vocabulary.json", "idf.npy", "components.npy"
# The hashes of the texts that a model was fitted on.
FITTED_ON_FILE = "fitted_on.npy"

MOST_TERMS = 50_000
# In a small corpus, terms of a single text are kept: it may grow.
MIN_TEXTS_FOR_MIN_DF = 1000
POWER_ITERATIONS = 4
BLOCK_ROWS = 16_384


class LsaEmbedder:
    """TF-IDF and truncated SVD; `components` [t, dimensions] has zeros beyond the rank."""

    def __init__(
        self, vocabulary: Sequence[str], idf: NDArray[np.float32], components: NDArray[np.float32]
    ) -> None:
        self.vocabulary = list(vocabulary)
        self.idf = idf
        self.components = np.ascontiguousarray(components, dtype=np.float32)
        self.dimensions = components.shape[1]
        digest = hashlib.sha256(json.dumps(self.vocabulary).encode())
        digest.update(idf.tobytes())
        digest.update(self.components.data)
        self.model_id = f"lsa-{self.dimensions}-{digest.hexdigest()[:16]}"
        self._vectorizer = None
        if self.vocabulary:
            self._vectorizer = _vectorizer(vocabulary=self.vocabulary)
            self._vectorizer.idf_ = idf

    @classmethod
    def fit(
        cls, texts: Sequence[str], *, dimensions: int, seed: int, sample: int | None = None
    ) -> Self:
        """Fit a model; the same distinct texts give the same model, in any order.

        With `sample`, it is fitted on at most so many texts: those with the smallest hashes, so
        that the sample hardly changes when texts are added.
        """
        chosen = [texts[row] for row in _sample(text_hashes(texts), sample).tolist()]
        for min_df in (2, 1) if len(chosen) >= MIN_TEXTS_FOR_MIN_DF else (1,):
            vectorizer = _vectorizer(max_features=MOST_TERMS, min_df=min_df)
            try:
                X = normalize(vectorizer.fit_transform(chosen), copy=False)
            except ValueError:
                # scikit-learn's error for an empty vocabulary, perhaps only after `min_df`.
                continue
            terms = vectorizer.get_feature_names_out().tolist()
            idf = np.asarray(vectorizer.idf_, dtype=np.float32)
            return cls(terms, idf, _right_singular_vectors(X, dimensions, seed))
        logger.warning("No text holds a word: every vector is zero.")
        return cls([], np.zeros(0, np.float32), np.zeros((0, dimensions), np.float32))

    def embed(self, texts: Sequence[str], *, out: Path | None = None) -> NDArray[np.float32]:
        """Embed texts as float32 [n, dimensions], in the file `out` (.npy) if given.

        Rows have length 1, or are zero for a text without a known term. A text's vector does not
        depend on the other texts.
        """
        shape = (len(texts), self.dimensions)
        if out is None:
            vectors = np.zeros(shape, np.float32)
        else:
            vectors = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=shape)
        blocks = range(0, len(texts), BLOCK_ROWS)
        for start in track(blocks, "embedding texts") if len(blocks) > 1 else blocks:
            block = slice(start, start + BLOCK_ROWS)
            vectors[block] = self.embed_terms(self.terms(texts[block]))
        return vectors

    def embed_cached(
        self, texts: Sequence[str], settings: Settings, *, run_id: str
    ) -> NDArray[np.float32]:
        """Embed texts anew: that is as quick as to look into a cache."""
        del settings, run_id
        return self.embed(texts)

    def terms(self, texts: Sequence[str]) -> Terms:
        """Return the weight of each known word in each text; columns are as in `vocabulary`."""
        if self._vectorizer is None:
            return sp.csr_array(np.zeros((len(texts), 0), dtype=np.float32))
        terms: Terms = sp.csr_array(self._vectorizer.transform(texts))
        return terms

    def embed_terms(self, terms: Terms) -> NDArray[np.float32]:
        """Return the same vectors as :meth:`embed`, from what :meth:`terms` returned."""
        # The sparse product goes row by row, without BLAS, so other rows do not matter.
        vectors = np.asarray(terms @ self.components, dtype=np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
        np.divide(vectors, lengths, out=vectors, where=lengths > 0)
        return vectors

    def save(self, folder: Path) -> None:
        """Write the model as arrays and JSON to a folder that does not exist yet."""
        folder.mkdir(parents=True)
        np.save(folder / IDF_FILE, self.idf, allow_pickle=False)
        np.save(folder / COMPONENTS_FILE, self.components, allow_pickle=False)
        write_json(folder / VOCABULARY_FILE, self.vocabulary)
        write_json(folder / ABOUT_FILE, {"embedder": "lsa", "model_id": self.model_id})


def load(folder: Path) -> LsaEmbedder:
    """Read a saved model; raises `TagsageError` when a file is missing or damaged."""
    try:
        model = LsaEmbedder(
            read_json(folder / VOCABULARY_FILE) or [],
            np.load(folder / IDF_FILE, allow_pickle=False),
            np.load(folder / COMPONENTS_FILE, allow_pickle=False),
        )
        if model.model_id != (read_json(folder / ABOUT_FILE) or {}).get("model_id"):
            raise ValueError("its content does not match its name")
    except (OSError, ValueError, EOFError) as error:
        msg = f"Cannot read the LSA model in {folder} ({error}); train the model anew."
        raise TagsageError(msg) from error
    return model


def depends_on(settings: Settings) -> dict[str, Any]:
    """Return the settings of a fit."""
    return settings.model_dump(include={"lsa_dimensions", "lsa_sample", "seed"})


def fit_corpus(articles: pd.DataFrame, settings: Settings, folder: Path) -> LsaEmbedder:
    """Fit a model on the texts of a corpus, and save it to a folder that does not exist yet."""
    texts = article_texts(articles)
    embedder = _fit(texts, settings)
    embedder.save(folder)
    np.save(folder / FITTED_ON_FILE, _sampled_hashes(texts, settings), allow_pickle=False)
    return embedder


def _fit(texts: Sequence[str], settings: Settings) -> LsaEmbedder:
    return LsaEmbedder.fit(
        texts,
        dimensions=settings.lsa_dimensions,
        seed=settings.seed,
        sample=settings.lsa_sample,
    )


def share_new(articles: pd.DataFrame, settings: Settings, folder: Path) -> float:
    """Return which share of the texts that would be fitted on :func:`fit_corpus` has not seen."""
    seen = np.load(folder / FITTED_ON_FILE, allow_pickle=False)
    hashes = _sampled_hashes(article_texts(articles), settings)
    return 1 - float(np.isin(hashes, seen).mean()) if len(hashes) else 0.0


def embed_corpus(
    articles: pd.DataFrame,
    settings: Settings,
    *,
    out: Path,
    run_id: str,  # ruff: ignore[unused-function-argument]
    model: Path | None = None,
) -> CorpusVectors:
    """Embed the texts of a corpus by a saved model, or by one that is fitted on them.

    `run_id` is not used.
    """
    texts = article_texts(articles)
    embedder = load(model) if model else _fit(texts, settings)
    embedder.embed(texts, out=out)
    counts = {"terms": len(embedder.vocabulary)}
    return CorpusVectors(embedder.model_id, embedder.dimensions, embedder, counts=counts)


def _sampled_hashes(texts: Sequence[str], settings: Settings) -> NDArray[np.bytes_]:
    hashes = text_hashes(texts)
    return hashes[_sample(hashes, settings.lsa_sample)]


def _sample(hashes: NDArray[np.bytes_], most: int | None) -> NDArray[np.int64]:
    """Return the rows of the distinct texts with the smallest hashes."""
    rows = unique_texts(hashes)
    return rows[np.argsort(hashes[rows])][:most]


def _vectorizer(**options: Any) -> TfidfVectorizer:
    return TfidfVectorizer(
        analyzer=words_of, sublinear_tf=True, norm=None, dtype=np.float32, **options
    )


def _right_singular_vectors(X: sp.csr_matrix, dimensions: int, seed: int) -> NDArray[np.float32]:
    components = np.zeros((X.shape[1], dimensions), np.float32)
    # One BLAS thread: the order of sums, and so the model's name, must not depend on how many
    # processors a machine has.
    with threadpool_limits(limits=1):
        _, sizes, right = randomized_svd(
            X, min(dimensions, *X.shape), n_iter=POWER_ITERATIONS, random_state=seed
        )
    # Singular values below 1e-5 of the largest are rounding, not structure.
    rank = int(np.sum(sizes > 1e-5 * sizes.max()))
    components[:, :rank] = right[:rank].T
    return components
