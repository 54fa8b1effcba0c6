"""Results of candidates reduced to sums over articles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.evaluate.article_results import ArticleResults, sparse_of
from tagsage.evaluate.metrics import METRICS, evaluate

# Three articles, three tags; at 0.5 article 0 gets a, b, article 1 gets b, c, article 2 none.
P = np.array([[0.9, 0.6, 0.1], [0.2, 0.8, 0.8], [0.3, 0.3, 0.3]], dtype=np.float32)
Y = np.array([[True, False, True], [False, False, True], [False, False, False]])


def random_case(seed: int, n: int, n_tags: int) -> tuple[np.ndarray, np.ndarray]:
    """Few different values, so that ties abound; often a tag that no article has."""
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (n, n_tags)).astype(np.float32) / 5
    return scores, random.random((n, n_tags)) < random.random(n_tags) * 0.6


def test_results_of_a_worked_example():
    results = ArticleResults.of(P, Y, P >= 0.5)
    assert results.assigned.toarray().tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert results.p_at_5.tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert results.lrap.tolist() == pytest.approx([5 / 6, 1 / 2, 0])


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 40),
    n_tags=st.integers(1, 30),
    threshold=st.sampled_from([0.0, 0.6, 2.0]),
)
def test_scores_are_those_of_evaluate_to_the_last_bit(seed, n, n_tags, threshold):
    scores, truth = random_case(seed, n, n_tags)
    assigned = np.float32(threshold) <= scores
    overall = evaluate(scores, truth, assigned, [str(tag) for tag in range(n_tags)]).overall
    found = ArticleResults.of(scores, truth, assigned).scores(truth)
    assert found == {name: overall[name] for name in METRICS}


def test_sums_of_parts_of_a_worked_example():
    results = ArticleResults.of(P, Y, P >= 0.5)
    # The first part is article 0 twice, the second articles 1 and 2, the third nothing.
    weights = np.array([[2.0, 0, 0], [0, 1, 0], [0, 1, 0]])
    sums = results.sums(sparse_of(Y), weights)
    assert sums.relevant.T.tolist() == [[2, 0, 2], [0, 0, 1], [0, 0, 0]]
    assert sums.assigned.T.tolist() == [[2, 2, 0], [0, 1, 1], [0, 0, 0]]
    assert sums.hits.T.tolist() == [[2, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert sums.f1().T.tolist() == pytest.approx(np.array([[1, 0, 0], [0, 0, 1], [0, 0, 0]]))
    assert sums.micro_f1().tolist() == pytest.approx([2 * 2 / 8, 2 * 1 / 3, 0])
    assert sums.p_at_5.tolist() == pytest.approx([4 / 3, 1 / 3, 0])
    assert sums.lrap.tolist() == pytest.approx([5 / 3, 1 / 2, 0])
    # Article 2 has no tag, so the second part has one ranking.
    assert sums.with_tag.tolist() == [2, 1, 0]
    assert sums.mean_p_at_5().tolist() == pytest.approx([2 / 3, 1 / 3, 0])
    assert sums.mean_lrap().tolist() == pytest.approx([5 / 6, 1 / 2, 0])
