"""Jaccard similarity of articles."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph import similarity as room
from tagsage.graph.similarity import Neighbours, SimilarityConfig, jaccard_similarity


def incidence(lists_of: list[set[int]], n_lists: int) -> sp.csr_array:
    dense = np.zeros((len(lists_of), n_lists), dtype=np.float32)
    for article, lists in enumerate(lists_of):
        dense[article, sorted(lists)] = 1
    return sp.csr_array(dense)


def oracle(
    lists_of: list[set[int]], config: SimilarityConfig
) -> dict[int, list[tuple[int, float]]]:
    """Compare every pair of sets, one at a time."""
    size: dict[int, int] = {}
    for lists in lists_of:
        for name in lists:
            size[name] = size.get(name, 0) + 1
    if config.max_list_size:
        lists_of = [{x for x in s if size[x] <= config.max_list_size} for s in lists_of]
    rows: dict[int, list[tuple[int, float]]] = {}
    for i, mine in enumerate(lists_of):
        pairs = []
        for j, theirs in enumerate(lists_of):
            if i == j or min(len(mine), len(theirs)) < config.degree_cutoff or not mine & theirs:
                continue
            value = len(mine & theirs) / len(mine | theirs)
            if value >= config.cutoff:
                pairs.append((j, value))
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
        rows[i] = sorted(pairs[: config.top_k])
    return rows


def as_rows(matrix: sp.csr_array) -> dict[int, list[tuple[int, float]]]:
    ends = zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)
    return {
        i: list(
            zip(matrix.indices[a:b].tolist(), matrix.data[a:b].astype(float).tolist(), strict=True)
        )
        for i, (a, b) in enumerate(ends)
    }


def assert_same_rows(
    got: dict[int, list[tuple[int, float]]], wanted: dict[int, list[tuple[int, float]]]
) -> None:
    assert {i: [j for j, _ in row] for i, row in got.items()} == {
        i: [j for j, _ in row] for i, row in wanted.items()
    }
    for i, row in wanted.items():
        np.testing.assert_allclose([v for _, v in got[i]], [v for _, v in row], rtol=1e-6)


def test_five_articles_have_the_similarities_worked_out_by_hand() -> None:
    # 0: {a, b}, 1: {a}, 2: {a, b, c}, 3: {c}, 4: in no list
    matrix = jaccard_similarity(incidence([{0, 1}, {0}, {0, 1, 2}, {2}, set()], 3))
    expected = np.zeros((5, 5))
    expected[0, 1] = expected[1, 0] = 1 / 2
    expected[0, 2] = expected[2, 0] = 2 / 3
    expected[1, 2] = expected[2, 1] = 1 / 3
    expected[2, 3] = expected[3, 2] = 1 / 3
    np.testing.assert_allclose(matrix.toarray(), expected, rtol=1e-6)
    assert matrix.dtype == np.float32


def test_each_article_keeps_its_own_top_k_so_that_rows_are_not_symmetric() -> None:
    matrix = jaccard_similarity(incidence([{0, 1}, {0}, {0, 1, 2}, {2}], 3), top_k=1)
    assert [row.tolist() for row in np.split(matrix.indices, matrix.indptr[1:-1])] == [
        [2],
        [0],
        [0],
        [2],
    ]


def test_ties_at_the_limit_keep_the_lower_indices() -> None:
    matrix = jaccard_similarity(incidence([{0}] * 5, 1), top_k=2)
    assert matrix.indices.reshape(5, 2).tolist() == [[1, 2], [0, 2], [0, 1], [0, 1], [0, 1]]


def test_a_better_pair_at_a_higher_index_displaces_the_last_of_the_tied() -> None:
    lists = [{0, 1}, {0}, {0}, {0}, {0, 1}]
    matrix = jaccard_similarity(incidence(lists, 2), top_k=2)
    assert matrix.indices[matrix.indptr[0] : matrix.indptr[1]].tolist() == [1, 4]


def test_a_pair_exactly_at_the_cutoff_stays() -> None:
    lists = [{0, 1}, {0}, {0, 1, 2}]
    assert jaccard_similarity(incidence(lists, 3), cutoff=0.5).nnz == 4
    assert jaccard_similarity(incidence(lists, 3), cutoff=0.51).nnz == 2


def test_articles_that_share_no_list_are_not_joined_even_at_cutoff_zero() -> None:
    assert jaccard_similarity(incidence([{0}, {1}], 2), cutoff=0).nnz == 0


def test_a_list_left_out_for_its_length_counts_nowhere() -> None:
    # List 0 holds all four; without it 0 and 1 are equal, and 2 and 3 are in no list.
    lists = [{0, 1}, {0, 1}, {0}, {0}]
    matrix = jaccard_similarity(incidence(lists, 2), max_list_size=3)
    assert as_rows(matrix) == {0: [(1, 1.0)], 1: [(0, 1.0)], 2: [], 3: []}


def test_a_membership_given_twice_counts_once() -> None:
    twice = sp.csr_array(
        (np.ones(3, dtype=np.float32), np.array([0, 0, 0]), np.array([0, 2, 3])), shape=(2, 1)
    )
    assert jaccard_similarity(twice).toarray().tolist() == [[0, 1], [1, 0]]
    assert twice.nnz == 3, "the input was changed"


@pytest.mark.parametrize("shape", [(0, 0), (4, 0), (4, 3)])
def test_a_corpus_without_memberships_has_no_similar_articles(shape: tuple[int, int]) -> None:
    matrix = jaccard_similarity(sp.csr_array(np.zeros(shape, dtype=np.float32)))
    assert matrix.shape == (shape[0], shape[0])
    assert matrix.nnz == 0


@given(
    lists_of=st.lists(st.sets(st.integers(0, 6)), min_size=1, max_size=25),
    top_k=st.integers(1, 8),
    cutoff=st.sampled_from([0.0, 1e-42, 0.2, 1 / 3, 0.5, 1.0]),
    degree_cutoff=st.integers(1, 3),
    max_list_size=st.sampled_from([0, 1, 3, 10]),
    budget=st.sampled_from([1, 200, 10**6]),
)
@settings(deadline=None, max_examples=200)
def test_any_corpus_gives_the_rows_of_the_pairwise_comparison(
    lists_of: list[set[int]],
    top_k: int,
    cutoff: float,
    degree_cutoff: int,
    max_list_size: int,
    budget: int,
) -> None:
    config = SimilarityConfig(top_k, cutoff, degree_cutoff, max_list_size)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_PRODUCTS", budget)
        patch.setattr(room, "BLOCK_PRODUCTS_PER_ARTICLE", 0)
        matrix = jaccard_similarity(
            incidence(lists_of, 7),
            top_k=top_k,
            cutoff=cutoff,
            degree_cutoff=degree_cutoff,
            max_list_size=max_list_size,
        )
    assert matrix.has_sorted_indices
    assert_same_rows(as_rows(matrix), oracle(lists_of, config))


CONFIGS = {
    "top_k": st.integers(1, 8),
    "cutoff": st.sampled_from([0.0, 1e-42, 0.2, 1 / 3, 0.5, 1.0]),
    "degree_cutoff": st.integers(1, 3),
    "max_list_size": st.sampled_from([0, 1, 3, 10]),
}


@given(
    lists_of=st.lists(st.sets(st.integers(0, 6)), min_size=1, max_size=25),
    config=st.builds(SimilarityConfig, **CONFIGS),
    seed=st.integers(0, 10_000),
)
@settings(deadline=None, max_examples=200)
def test_articles_of_the_graph_find_the_neighbours_that_the_graph_joins_them_to(
    lists_of: list[set[int]], config: SimilarityConfig, seed: int
) -> None:
    members = incidence(lists_of, 7)
    rows = np.random.default_rng(seed).permutation(len(lists_of))[:5]
    found = Neighbours(members, config).of(members[rows], rows)
    expected = jaccard_similarity(members, **vars(config))[rows]
    assert np.array_equal(found.toarray(), expected.toarray())
    assert as_rows(found) == as_rows(expected)


@given(
    lists_of=st.lists(st.sets(st.integers(0, 6)), min_size=2, max_size=25),
    config=st.builds(SimilarityConfig, **{**CONFIGS, "max_list_size": st.just(0)}),
)
@settings(deadline=None)
def test_an_article_that_comes_later_finds_the_neighbours_of_the_pairwise_comparison(
    lists_of: list[set[int]], config: SimilarityConfig
) -> None:
    members = incidence(lists_of, 7)
    found = Neighbours(members[:-1], config).of(members[[-1]], np.array([-1]))
    last = len(lists_of) - 1
    assert_same_rows(as_rows(found), {0: oracle(lists_of, config)[last]})


def test_an_article_that_comes_later_leaves_long_lists_out_and_makes_none_too_long() -> None:
    # List 0 holds four, list 1 three.
    members = incidence([{0, 1}, {0, 1}, {0, 1}, {0}], 2)
    found = Neighbours(members, SimilarityConfig(max_list_size=3)).of(
        incidence([{0, 1}, {0}], 2), np.array([-1, -1])
    )
    assert found.toarray().tolist() == [[1, 1, 1, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"top_k": 0}, "top_k must be at least 1, not 0"),
        ({"degree_cutoff": 0}, "degree_cutoff must be at least 1, not 0"),
        ({"max_list_size": -1}, "max_list_size must be at least 0, not -1"),
        ({"cutoff": 1.5}, "cutoff must be between 0 and 1, not 1.5"),
    ],
)
def test_an_impossible_setting_is_refused_by_name(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(TagsageError, match=message):
        jaccard_similarity(incidence([{0}], 1), **wrong)
