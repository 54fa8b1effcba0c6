"""Systems reduced to sums over articles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.evaluate.metrics import evaluate
from tagsage.evaluate.systems import METRICS, System, SystemTable

# Three articles, three tags; at 0.5 article 0 gets a, b, article 1 gets b, c, article 2 none.
P = np.array([[0.9, 0.6, 0.1], [0.2, 0.8, 0.8], [0.3, 0.3, 0.3]], dtype=np.float32)
Y = np.array([[True, False, True], [False, False, True], [False, False, False]])


def random_case(seed: int, n: int, n_tags: int) -> tuple[np.ndarray, np.ndarray]:
    """Few different values, so that ties abound; often a tag that no article has."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (n, n_tags)).astype(np.float32) / 5
    return scores, random.random((n, n_tags)) < random.random(n_tags) * 0.6


def test_system_of_a_worked_example():
    system = System.of(P, Y, 0.5)
    assert system.assigned.toarray().tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert system.p_at_5.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert system.lrap.tolist() == pytest.approx([5 / 6, 1 / 2, 1])


def test_a_score_equal_to_the_threshold_is_assigned():
    assert System.of(P, Y, float(P[0, 1])).assigned.toarray()[0].tolist() == [1, 1, 0]


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 40),
    n_tags=st.integers(1, 30),
    threshold=st.sampled_from([0.0, 0.6, 2.0]),
)
def test_scores_are_those_of_evaluate_to_the_last_bit(seed, n, n_tags, threshold):
    scores, truth = random_case(seed, n, n_tags)
    overall = evaluate(scores, truth, threshold, [str(tag) for tag in range(n_tags)]).overall
    found = System.of(scores, truth, threshold).scores(truth)
    assert found == {name: overall[name] for name in METRICS}


def test_sums_of_parts_of_a_worked_example():
    systems = [System.of(P, Y, 0.5), System.of(1 - P, Y, 0.5)]
    # The first part is article 0 twice, the second articles 1 and 2, the third nothing.
    weights = np.array([[2.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    sums = SystemTable.of(Y, systems).sums(weights)
    assert sums.relevant[0].T.tolist() == [[2, 0, 2], [0, 0, 1], [0, 0, 0]]
    assert sums.assigned[0].T.tolist() == [[2, 2, 0], [0, 1, 1], [0, 0, 0]]
    # Upside down article 0 gets c, article 1 gets a, article 2 all.
    assert sums.assigned[1].T.tolist() == [[0, 0, 2], [2, 1, 1], [0, 0, 0]]
    assert sums.hits[0].T.tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert sums.hits[1].T.tolist() == [[0, 0, 2], [0, 0, 0], [0, 0, 0]]
    assert sums.f1()[0].T.tolist() == pytest.approx(np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]]))
    assert sums.micro_f1()[0].tolist() == pytest.approx([2 * 2 / 8, 2 * 1 / 3, 0])
    assert sums.micro_f1()[1].tolist() == pytest.approx([2 * 2 / 6, 0, 0])
    assert sums.p_at_5[0].tolist() == pytest.approx([4 / 3, 1 / 3, 0])
    assert sums.lrap[0].tolist() == pytest.approx([5 / 3, 3 / 2, 0])


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes differ: P \(3, 3\), Y \(2, 3\)"):
        System.of(P, Y[:2], 0.5)
    with pytest.raises(ValueError, match=r"shapes differ: assigned \(3, 3\), Y \(3, 2\)"):
        SystemTable.of(Y[:, :2], [System.of(P, Y, 0.5)])
