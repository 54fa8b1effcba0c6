"""Propagation of labels over lists."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.graph import labels as room
from tagsage.graph.labels import LabelsConfig, ListLabels, Own, list_labels, propagate_labels


def oracle(
    dense: np.ndarray, rows: np.ndarray, Y: np.ndarray, config: LabelsConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Propagate to one article at a time, as if it had no labels, in double precision."""
    n, n_lists = dense.shape
    alpha = config.prior_weight
    shares, evidence = np.zeros((n, Y.shape[1])), np.zeros((n, 1))
    for article in range(n):
        others = {row: Y[i].astype(float) for i, row in enumerate(rows) if row != article}
        prior = np.mean(list(others.values()), axis=0) if others else np.zeros(Y.shape[1])
        weights, found, neighbours = [], [], 0
        for name in range(n_lists):
            if not dense[article, name]:
                continue
            labelled = [own for row, own in others.items() if dense[row, name]]
            neighbours += len(labelled)
            if len(labelled) + alpha > 0:
                weights.append(dense[:, name].sum() ** -config.size_discount)
                found.append((np.sum(labelled, axis=0) + alpha * prior) / (len(labelled) + alpha))
        if weights:
            shares[article] = np.average(found, axis=0, weights=weights)
        evidence[article] = math.log(1 + neighbours)
    return shares, evidence


# Lists: a = 0, 1, 2; b = 2, 3; c = 4 alone; d is empty. Article 5 is in no list.
INCIDENCE = sp.csr_array(
    np.array(
        [[1, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]],
        dtype=np.float32,
    )
)
ROWS = np.array([4, 0, 1, 3])
LABELS = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=bool)


def test_six_articles_have_the_shares_worked_out_by_hand() -> None:
    shares, evidence, _ = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig(prior_weight=2))
    expected = [
        # a without 0 holds 1; the overall shares without 0 are 1/3 and 2/3.
        [(1 + 2 * 1 / 3) / 3, (1 + 2 * 2 / 3) / 3],
        [(1 + 2 * 1 / 3) / 3, (0 + 2 * 1 / 3) / 3],
        # Article 2 is not labelled: a holds 0 and 1, b holds 3, overall a half each.
        [((2 + 1) / 4 + (0 + 1) / 3) / 2, ((1 + 1) / 4 + (1 + 1) / 3) / 2],
        # b without 3 holds no labelled article, c without 4 neither: the overall shares.
        [2 / 3, 1 / 3],
        [2 / 3, 2 / 3],
        [0, 0],
    ]
    np.testing.assert_allclose(shares, expected, atol=2e-6)
    np.testing.assert_allclose(evidence[:, 0], np.log([2, 2, 4, 1, 1, 1]), rtol=1e-6)
    assert (shares.dtype, evidence.dtype, evidence.shape) == (np.float32, np.float32, (6, 1))


def test_discount_of_one_weighs_lists_by_their_size() -> None:
    shares, _, _ = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig(0, 1))
    # Article 2: a says (1, 1/2) with weight 1/3, b says (0, 1) with weight 1/2.
    expected = [(1 / 3) / (5 / 6), (1 / 6 + 1 / 2) / (5 / 6)]
    np.testing.assert_allclose(shares[2], expected, atol=2e-6)


def test_without_a_prior_lists_without_labelled_articles_do_not_count() -> None:
    shares, evidence, _ = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig(prior_weight=0))
    np.testing.assert_allclose(shares[:3], [[1, 1], [1, 0], [0.5, 0.75]], atol=2e-6)
    assert not shares[3:].any()
    assert not evidence[3:].any()


CORPORA = {
    "n": st.integers(1, 12),
    "n_lists": st.integers(0, 6),
    "seed": st.integers(0, 10_000),
    "prior_weight": st.sampled_from([0, 0.5, 10]),
    "discount": st.sampled_from([0, 0.5, 1]),
}


def random_corpus(
    n: int, n_lists: int, seed: int
) -> tuple[sp.csr_array, np.ndarray, np.ndarray, np.random.Generator]:
    random = np.random.default_rng(seed)
    incidence = sp.csr_array((random.random((n, n_lists)) < 0.4).astype(np.float32))
    rows = random.permutation(n)[: random.integers(0, n + 1)]
    return incidence, rows, random.random((len(rows), 3)) < 0.4, random


@given(**CORPORA, numbers=st.sampled_from([1, 12, 10**6]))
@settings(deadline=None)
def test_any_corpus_gives_the_shares_of_the_slow_propagation(
    n: int, n_lists: int, seed: int, prior_weight: float, discount: float, numbers: int
) -> None:
    incidence, rows, Y, _ = random_corpus(n, n_lists, seed)
    config = LabelsConfig(prior_weight, discount)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "BLOCK_NUMBERS", numbers)
        shares, evidence, _ = propagate_labels(incidence, rows, Y, config)
    expected = oracle(incidence.toarray(), rows, Y, config)
    np.testing.assert_allclose(shares, expected[0], atol=2e-6)
    np.testing.assert_allclose(evidence, expected[1], rtol=1e-6)


@given(**CORPORA)
@settings(deadline=None)
def test_own_labels_change_not_one_bit_of_an_articles_row(
    n: int, n_lists: int, seed: int, prior_weight: float, discount: float
) -> None:
    incidence, rows, Y, random = random_corpus(n, n_lists, seed)
    config = LabelsConfig(prior_weight, discount)
    before = propagate_labels(incidence, rows, Y, config)
    for place, row in enumerate(rows):
        changed = Y.copy()
        changed[place] ^= random.random(3) < 0.7
        after = propagate_labels(incidence, rows, changed, config)
        assert np.array_equal(before.shares[row], after.shares[row])
        assert np.array_equal(before.evidence[row], after.evidence[row])


@given(**CORPORA)
@settings(deadline=None)
def test_an_article_gets_the_same_whether_its_labels_are_left_out_or_never_counted(
    n: int, n_lists: int, seed: int, prior_weight: float, discount: float
) -> None:
    incidence, rows, Y, _ = random_corpus(n, n_lists, seed)
    config = LabelsConfig(prior_weight, discount)
    trained = propagate_labels(incidence, rows, Y, config)
    for place, row in enumerate(rows):
        others = np.arange(len(rows)) != place
        lists = propagate_labels(incidence, rows[others], Y[others], config).lists
        shares, evidence = lists.features(incidence[[row]])
        np.testing.assert_allclose(shares[0], trained.shares[row], atol=2e-6)
        assert np.array_equal(evidence[0], trained.evidence[row])


def test_lists_that_were_saved_give_the_same_features(tmp_path: Path) -> None:
    _, _, lists = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig(3, 0.5))
    lists.save(tmp_path / "lists")
    loaded = ListLabels.load(tmp_path / "lists")
    assert loaded.config == LabelsConfig(3, 0.5)
    for one, other in zip(lists.features(INCIDENCE), loaded.features(INCIDENCE), strict=True):
        assert np.array_equal(one, other)
    some = loaded.of(np.array([1, 0])).features(INCIDENCE[:, [1, 0]])
    # Articles 0 to 3 are in no other list.
    assert np.array_equal(some[0][:4], lists.features(INCIDENCE)[0][:4])


def test_a_folder_without_lists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TagsageError, match="holds no labels of lists; make them again"):
        ListLabels.load(tmp_path)


def test_results_may_go_to_memory_mapped_files(tmp_path: Path) -> None:
    def create(name: str, width: int) -> np.ndarray:
        return np.lib.format.open_memmap(
            tmp_path / name, mode="w+", dtype=np.float32, shape=(6, width)
        )

    made = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig(), out=create)
    for array in made[:2]:
        array.flush()
    expected = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig())
    np.testing.assert_array_equal(np.load(tmp_path / room.SHARES_FILE), expected.shares)
    np.testing.assert_array_equal(np.load(tmp_path / room.EVIDENCE_FILE), expected.evidence)


@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (3, 2)])
def test_without_memberships_nothing_is_known(shape: tuple[int, int]) -> None:
    incidence = sp.csr_array(np.zeros(shape, dtype=np.float32))
    rows = np.arange(shape[0])
    Y = np.ones((shape[0], 4), dtype=bool)
    shares, evidence, _ = propagate_labels(incidence, rows, Y, LabelsConfig())
    assert (shares.shape, evidence.shape) == ((shape[0], 4), (shape[0], 1))
    assert not shares.any()
    assert not evidence.any()


def test_articles_that_are_not_counted_have_nothing_to_leave_out() -> None:
    _, _, lists = propagate_labels(INCIDENCE, ROWS, LABELS, LabelsConfig())
    nobody = Own(np.zeros(6, dtype=bool), np.zeros((6, 2), dtype=bool))
    assert np.array_equal(lists.features(INCIDENCE, nobody)[0], lists.features(INCIDENCE)[0])


def test_sparse_labels_are_counted_like_dense_ones() -> None:
    config = LabelsConfig(3, 0.5)
    dense = list_labels(INCIDENCE, ROWS, LABELS, config)
    sparse = list_labels(INCIDENCE, ROWS, sp.csr_array(LABELS), config)
    assert np.array_equal(dense.sums.toarray(), sparse.sums.toarray())
    for name in ("labelled", "weights", "totals"):
        assert np.array_equal(getattr(dense, name), getattr(sparse, name)), name
        assert getattr(sparse, name).dtype == np.float32
    assert sparse.articles == dense.articles == 4
    with pytest.raises(TagsageError, match="labels of 4 articles, 3 numbers of articles, and 6"):
        list_labels(INCIDENCE, ROWS[:3], sp.csr_array(LABELS), config)


def test_labels_for_other_articles_are_refused() -> None:
    with pytest.raises(TagsageError, match="labels of 4 articles, 3 numbers of articles, and 6"):
        propagate_labels(INCIDENCE, ROWS[:3], LABELS, LabelsConfig())
    with pytest.raises(TagsageError, match="run the stages from the split on again"):
        propagate_labels(INCIDENCE, ROWS + 2, LABELS, LabelsConfig())


@pytest.mark.parametrize("name", ["prior_weight", "size_discount"])
@pytest.mark.parametrize("value", [-0.5, float("nan"), float("inf")])
def test_impossible_settings_are_refused(name: str, value: float) -> None:
    with pytest.raises(TagsageError, match=f"labels: {name} must be at least 0, not"):
        LabelsConfig(**{name: value})
