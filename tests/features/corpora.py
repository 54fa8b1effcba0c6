"""A small corpus with all that blocks must stand, and settings that fit it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import scipy.sparse as sp

from tagsage.features import BLOCKS, Articles, Block, FeatureMatrix, KnownArticles
from tagsage.runner import LocalRunner
from tagsage.settings import Settings

SETTINGS = Settings.resolve({
    "labels_prior_weight": 2,
    "authors_prior_weight": 1,
    "memberships_dimensions": 5,
    "fastrp_dimensions": 12,
    "graphsage_dimensions": 6,
    "graphsage_sample_sizes": "3,3",
    "graphsage_epochs": 2,
    "sample_ratio": 0.5,
})
WORDS = ["graph", "node", "edge", "tea", "pot", "cup", "leaf", "list"]
WITHOUT_LIST, WITH_LIST_OF_ITS_OWN, WITHOUT_VECTOR, WITHOUT_WORDS = 0, 1, 2, 3


@dataclass(frozen=True)
class Corpus:
    """Articles, and the tags `Y` of the articles `rows`."""

    articles: Articles
    rows: np.ndarray
    Y: np.ndarray

    def known(self, hidden: np.ndarray | None = None) -> KnownArticles:
        return KnownArticles.of(self.articles, self.rows, self.Y, hidden=hidden)


@lru_cache
def corpus(n: int = 40, n_lists: int = 8, seed: int = 0) -> Corpus:
    """Return a corpus; its first articles are odd."""
    random = np.random.default_rng(seed)
    texts = [" ".join(random.choice(WORDS, 4)) for _ in range(n)]
    texts[WITHOUT_WORDS] = ""
    authors = random.choice(["Ann", "Bo", "Cy", "Di", ""], n)
    dense = random.random((n, n_lists)) < 0.25
    dense[WITHOUT_LIST] = False
    lists = [[f"L{number}" for number in np.flatnonzero(row)] for row in dense]
    lists[WITH_LIST_OF_ITS_OWN].append("mine")
    vectors = random.normal(size=(n, 6)).astype(np.float32)
    vectors[WITHOUT_VECTOR] = 0
    articles = Articles.of_names(
        texts,
        authors,
        lists,
        keys=[f"x.example/{number}" for number in range(n)],
        vectors=vectors,
    )
    rows = random.permutation(n)[: n // 2]
    return Corpus(articles, rows, random.random((len(rows), 3)) < 0.4)


def articles_in(
    dense: np.ndarray, vectors: np.ndarray | None = None, authors: list[str] | None = None
) -> Articles:
    """Return articles without words, in lists that are given as a matrix of zeros and ones."""
    n, n_lists = dense.shape
    plain = Articles.of_names(
        [""] * n,
        authors or [""] * n,
        [[]] * n,
        keys=[f"x.example/{number}" for number in range(n)],
        vectors=vectors,
    )
    members = sp.csr_array(dense.astype(np.float32))
    names = np.array([f"L{number}" for number in range(n_lists)], dtype=object)
    return replace(plain, members=members, list_names=names)


NO_TAGS = np.zeros(0, dtype=np.int64), np.zeros((0, 1), dtype=bool)
FOUR = Articles.of_names(
    ["Graph tools graph", "graph games", "tools for tea", ""],
    ["Ann", "Bo", "Ann", ""],
    [["L1", "L2"], ["L2"], [], ["L3", "L2", "L3"]],
    keys=[f"x.example/{number}" for number in range(4)],
)


def fit_untagged(name: str, articles: Articles) -> tuple[list[str], np.ndarray]:
    """Fit a sparse block on articles; return its columns' names and its features of them."""
    known = KnownArticles.of(articles, *NO_TAGS)
    block = fit(name, articles, known)
    (part,) = features(block, known.mark(articles))
    return block.columns(known).tolist(), part


def named_lists(articles: Articles) -> list[list[str]]:
    members = articles.members
    return [
        [str(articles.list_names[place]) for place in members[[row]].indices]
        for row in range(len(articles))
    ]


def unseen(articles: Articles, *, keys: list[str] | None = None) -> Articles:
    """Return articles as someone would ask about them: by names, not marked yet."""
    made = Articles.of_names(
        list(articles.texts),
        articles.authors.tolist(),
        # Lists that nobody knows, before and after the known ones.
        [["A new one", *names, "a new one"] for names in named_lists(articles)],
        keys=keys,
        vectors=np.asarray(articles.vectors),
    )
    return made if keys is not None else replace(made, ids=articles.ids)


def fit(name: str, articles: Articles, known: KnownArticles, **settings: object) -> Block:
    chosen = SETTINGS.model_copy(update=settings)
    return BLOCKS[name].fit(known.mark(articles), chosen, LocalRunner())


@lru_cache
def fitted(name: str) -> tuple[Block, KnownArticles]:
    """Return a block fitted on the corpus; nobody changes it."""
    known = corpus().known()
    return fit(name, corpus().articles, known), known


def rows_of(X: FeatureMatrix) -> np.ndarray:
    """Return all rows of all blocks, dense."""
    return X.sparse_rows(np.arange(len(X))).toarray()


def features(block: Block, articles: Articles) -> list[np.ndarray]:
    """Return the parts of a block's features of marked articles, dense."""
    return [
        part.toarray() if sp.issparse(part) else np.asarray(part)
        for part in block.transform(articles)
    ]
