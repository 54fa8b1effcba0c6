"""Propagation over lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph import lists as room
from tagsage.graph.lists import propagate_lists


def oracle(dense: np.ndarray, vectors: np.ndarray, hops: int, discount: float) -> list[np.ndarray]:
    """Propagate one article and one list at a time, in double precision."""
    current = vectors.astype(float)
    results = []
    for _ in range(hops):
        following = np.zeros_like(current)
        for article in range(len(dense)):
            weights, means = [], []
            for name in np.flatnonzero(dense[article]):
                members = np.flatnonzero(dense[:, name])
                known = [m for m in members if current[m].any()]
                if known:
                    weights.append(1 / len(members) ** discount)
                    means.append(current[known].mean(axis=0))
            if weights:
                following[article] = np.average(means, axis=0, weights=weights)
        results.append(following)
        current = following
    return results


def test_four_articles_have_the_vectors_worked_out_by_hand() -> None:
    # list a: 0, 1; list b: 1, 2; list c: 0, 1, 2; article 3 is in no list.
    incidence = sp.csr_array(
        np.array([[1, 0, 1], [1, 1, 1], [0, 1, 1], [0, 0, 0]], dtype=np.float32)
    )
    vectors = np.array([[6.0], [12.0], [0.0], [7.0]], dtype=np.float32)
    vectors[2] = 24
    # means: a 9, b 18, c 14
    alike, _ = propagate_lists(incidence, vectors, hops=2, size_discount=0)
    np.testing.assert_allclose(
        alike[:, 0], [(9 + 14) / 2, (9 + 18 + 14) / 3, (18 + 14) / 2, 0], rtol=1e-6
    )
    # weights 1/2, 1/2, 1/3
    one, two = propagate_lists(incidence, vectors, hops=2, size_discount=1)
    expected = [(9 / 2 + 14 / 3) / (5 / 6), (9 / 2 + 18 / 2 + 14 / 3) / (8 / 6)]
    expected += [(18 / 2 + 14 / 3) / (5 / 6), 0]
    np.testing.assert_allclose(one[:, 0], expected, rtol=1e-6)
    again = propagate_lists(incidence, one, hops=1, size_discount=1)[0]
    np.testing.assert_allclose(two, again, rtol=1e-6)


def test_half_a_discount_weighs_a_list_of_four_half_as_much_as_one_of_one() -> None:
    incidence = sp.csr_array(np.array([[1, 1], [0, 1], [0, 1], [0, 1]], dtype=np.float32))
    vectors = np.array([[6.0], [2.0], [2.0], [2.0]], dtype=np.float32)
    (one,) = propagate_lists(incidence, vectors, hops=1, size_discount=0.5)
    # means 6 and 3, weights 1 and 1/2
    np.testing.assert_allclose(one[:, 0], [(6 + 3 / 2) / 1.5, 3, 3, 3], rtol=1e-6)


def test_a_zero_vector_counts_in_no_mean_but_gets_one() -> None:
    # Article 1 is a stub; the list of 2 and 3 holds only stubs.
    dense = np.array([[1, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    vectors = np.array([[1.0, 2.0], [0, 0], [0, 0], [0, 0]], dtype=np.float32)
    (one,) = propagate_lists(sp.csr_array(dense), vectors, hops=1)
    assert one.tolist() == [[1, 2], [1, 2], [1, 2], [0, 0]]
    two = propagate_lists(sp.csr_array(dense), vectors, hops=2)[1]
    np.testing.assert_allclose(two, [[1, 2]] * 4, rtol=1e-6)


@given(
    n=st.integers(1, 12),
    n_lists=st.integers(1, 6),
    hops=st.integers(1, 3),
    seed=st.integers(0, 10_000),
    numbers=st.sampled_from([1, 24, 10**6]),
    discount=st.sampled_from([0, 0.25, 1, 2]),
)
@settings(deadline=None)
def test_any_corpus_gives_the_vectors_of_the_slow_propagation(
    n: int, n_lists: int, hops: int, seed: int, numbers: int, discount: float
) -> None:
    random = np.random.default_rng(seed)
    dense = (random.random((n, n_lists)) < 0.4).astype(np.float32)
    vectors = (random.normal(size=(n, 5)) * (random.random((n, 1)) < 0.7)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_NUMBERS", numbers)
        got = propagate_lists(sp.csr_array(dense), vectors, hops=hops, size_discount=discount)
    for result, expected in zip(got, oracle(dense, vectors, hops, discount), strict=True):
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_results_may_go_to_memory_mapped_files(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    incidence = sp.csr_array((random.random((9, 4)) < 0.5).astype(np.float32))
    vectors = random.normal(size=(9, 3)).astype(np.float32)

    def create(hop: int) -> np.ndarray:
        return np.lib.format.open_memmap(
            tmp_path / f"{hop}.npy", mode="w+", dtype=np.float32, shape=(9, 3)
        )

    for result in propagate_lists(incidence, vectors, hops=2, out=create):
        result.flush()
    expected = propagate_lists(incidence, vectors, hops=2)
    np.testing.assert_array_equal(np.load(tmp_path / "1.npy"), expected[0])
    np.testing.assert_array_equal(np.load(tmp_path / "2.npy"), expected[1])


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (3, 2)])
def test_without_memberships_all_vectors_are_zero(shape: tuple[int, int]) -> None:
    incidence = sp.csr_array(np.zeros(shape, dtype=np.float32))
    results = propagate_lists(incidence, np.ones((shape[0], 4), dtype=np.float32), hops=2)
    assert [result.shape for result in results] == [(shape[0], 4)] * 2
    assert not any(result.any() for result in results)


def test_vectors_for_other_articles_are_refused() -> None:
    incidence = sp.csr_array(np.ones((3, 1), dtype=np.float32))
    with pytest.raises(TagsageError, match="2 vectors for 3 articles"):
        propagate_lists(incidence, np.ones((2, 4), dtype=np.float32))


def test_no_hop_is_refused() -> None:
    incidence = sp.csr_array(np.ones((3, 1), dtype=np.float32))
    with pytest.raises(TagsageError, match="hops must be at least 1, not 0"):
        propagate_lists(incidence, np.ones((3, 4), dtype=np.float32), hops=0)


@pytest.mark.parametrize("discount", [-0.5, float("nan")])
def test_a_discount_below_zero_is_refused(discount: float) -> None:
    incidence = sp.csr_array(np.ones((3, 1), dtype=np.float32))
    with pytest.raises(TagsageError, match="size_discount must be at least 0, not"):
        propagate_lists(incidence, np.ones((3, 4), dtype=np.float32), size_discount=discount)
