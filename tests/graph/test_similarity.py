"""Jaccard similarity of articles; numbers worked out by hand stand in the engines' contract."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from tagsage.graph import similarity as module
from tagsage.graph.similarity import Neighbours, jaccard_similarity
from tests.graph.conftest import members_of

Rows = dict[int, list[tuple[int, float]]]


def oracle(lists_of: list[set[int]], top_k: int, max_list_size: int) -> Rows:
    """Compare every pair of sets, one at a time."""
    size: dict[int, int] = {}
    for lists in lists_of:
        for name in lists:
            size[name] = size.get(name, 0) + 1
    if max_list_size:
        lists_of = [{x for x in s if size[x] <= max_list_size} for s in lists_of]
    rows: Rows = {}
    for i, mine in enumerate(lists_of):
        pairs = [
            (j, len(mine & theirs) / len(mine | theirs))
            for j, theirs in enumerate(lists_of)
            if i != j and mine & theirs
        ]
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        rows[i] = sorted(pairs[:top_k])
    return rows


def assert_rows(matrix: sp.csr_array, expected: Rows) -> None:
    assert matrix.has_sorted_indices
    for i, row in expected.items():
        entries = slice(matrix.indptr[i], matrix.indptr[i + 1])
        assert matrix.indices[entries].tolist() == [j for j, _ in row]
        np.testing.assert_allclose(matrix.data[entries], [v for _, v in row], rtol=1e-6)


CORPORA = {
    "lists_of": st.lists(st.sets(st.integers(0, 6)), min_size=2, max_size=25),
    "top_k": st.integers(1, 8),
}
SIZES = st.sampled_from([0, 1, 3, 10])


@given(**CORPORA, max_list_size=SIZES, budget=st.sampled_from([1, 200, 10**6]))
def test_any_corpus_gives_the_rows_of_the_pairwise_comparison(
    lists_of: list[set[int]], top_k: int, max_list_size: int, budget: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_PRODUCTS", budget)
        patch.setattr(module, "BLOCK_PRODUCTS_PER_ARTICLE", 0)
        members = members_of(lists_of, 7)
        matrix = jaccard_similarity(members, top_k=top_k, max_list_size=max_list_size)
    assert_rows(matrix, oracle(lists_of, top_k, max_list_size))


@given(**CORPORA, max_list_size=SIZES, seed=st.integers(0, 10_000))
def test_articles_of_the_graph_find_the_neighbours_that_the_graph_joins_them_to(
    lists_of: list[set[int]], top_k: int, max_list_size: int, seed: int
) -> None:
    members = members_of(lists_of, 7)
    config = {"top_k": top_k, "max_list_size": max_list_size}
    rows = np.random.default_rng(seed).permutation(len(lists_of))[:5]
    found = Neighbours(members, **config).of(members[rows], rows)
    expected = jaccard_similarity(members, **config)[rows]
    assert np.array_equal(found.toarray(), expected.toarray())


@given(**CORPORA)
def test_an_article_that_comes_later_finds_the_neighbours_of_the_pairwise_comparison(
    lists_of: list[set[int]], top_k: int
) -> None:
    members = members_of(lists_of, 7)
    found = Neighbours(members[:-1], top_k=top_k).of(members[[-1]], np.array([-1]))
    assert_rows(found, {0: oracle(lists_of, top_k, 0)[len(lists_of) - 1]})


def test_an_article_that_comes_later_leaves_long_lists_out_and_makes_none_too_long() -> None:
    # List 0 holds four, list 1 three.
    members = members_of([{0, 1}, {0, 1}, {0, 1}, {0}], 2)
    found = Neighbours(members, top_k=9, max_list_size=3).of(
        members_of([{0, 1}, {0}], 2), np.array([-1, -1])
    )
    assert found.toarray().tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]
