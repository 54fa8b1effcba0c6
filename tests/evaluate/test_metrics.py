from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from tagsage.evaluate import metrics
from tagsage.evaluate.metrics import article_rankings, evaluate

# Worked by hand: three articles, three tags.
P = np.array([[0.9, 0.6, 0.1], [0.2, 0.8, 0.8], [0.3, 0.3, 0.3]], dtype=np.float32)
Y = np.array([[True, False, True], [False, False, True], [False, False, False]])
TAGS = ["a", "b", "c"]


def test_evaluate_of_a_worked_example():
    scores = evaluate(P, Y, 0.5, TAGS)
    # Assigned: article 0 a, b; article 1 b, c. Right: a, c. Relevant: a, c, c.
    expected = {
        "micro_precision": 2 / 4,
        "micro_recall": 2 / 3,
        "micro_f1": 4 / 7,
        "macro_precision": (1 + 0 + 1) / 3,
        "macro_recall": (1 + 0 + 1 / 2) / 3,
        "macro_f1": (1 + 0 + 2 / 3) / 3,
        "weighted_precision": 1.0,
        "weighted_recall": (1 + 2 * 1 / 2) / 3,
        "weighted_f1": (1 + 2 * 2 / 3) / 3,
        "accuracy": 1 / 3,
        "hamming_loss": 3 / 9,
        "p_at_1": (1 + 0 + 0) / 3,  # article 1: b before c, as the lower column
        "p_at_3": (2 / 3 + 1 / 3 + 0) / 3,
        "p_at_5": (2 / 3 + 1 / 3 + 0) / 3,  # of three tags at most three
        "r_at_5": (1 + 1 + 0) / 3,
        # Article 0: a at rank 1, c at rank 3: (1 + 2/3) / 2. Article 1: c tied, rank 2: 1/2.
        "lrap": (5 / 6 + 1 / 2 + 1) / 3,
        "coverage_error": (3 + 2 + 0) / 3,
        "share_assigned": 2 / 3,
        "test_articles": 3,
        "articles_without_tag": 1,
    }
    assert scores.overall == pytest.approx(expected)
    table = scores.per_tag
    assert table["tag"].tolist() == TAGS
    assert table["precision"].tolist() == [1, 0, 1]
    assert table["recall"].tolist() == [1, 0, 0.5]
    assert table["f1"].tolist() == pytest.approx([1, 0, 2 / 3])
    assert table["support"].tolist() == [1, 0, 2]
    assert table["predicted"].tolist() == [1, 2, 1]
    # c: article 1 first (1/1), then article 2 (wrong), then article 0 (2/3).
    assert table["average_precision"].tolist() == pytest.approx([1, 0, (1 + 2 / 3) / 2])


def test_article_rankings_are_those_of_the_worked_example_article_by_article():
    found = article_rankings(P, Y)
    expected = {
        "p_at_1": [1, 0, 0],
        "p_at_3": [2 / 3, 1 / 3, 0],
        "p_at_5": [2 / 3, 1 / 3, 0],
        "r_at_5": [1, 1, 0],
        "lrap": [5 / 6, 1 / 2, 1],
        "coverage_error": [3, 2, 0],
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert found[name].tolist() == pytest.approx(values), name


def random_case(seed: int, n: int = 60, n_tags: int = 7):
    rng = np.random.default_rng(seed)
    # Few different values, so that ties abound.
    scores = rng.integers(0, 6, (n, n_tags)).astype(np.float32) / 5
    truth = rng.random((n, n_tags)) < rng.random(n_tags) * 0.6
    truth[:, 3] = False
    return scores, truth


@pytest.mark.parametrize("seed", range(4))
def test_evaluate_agrees_with_scikit_learn(seed, monkeypatch):
    monkeypatch.setattr(metrics, "BLOCK_NUMBERS", 100)  # several blocks
    scores, truth = random_case(seed)
    assigned = scores >= np.float32(0.6)
    overall = evaluate(scores, truth, 0.6, list("abcdefg")).overall
    for average in ("micro", "macro", "weighted"):
        p, r, f, _ = sk.precision_recall_fscore_support(
            truth, assigned, average=average, zero_division=0
        )
        assert overall[f"{average}_precision"] == pytest.approx(p)
        assert overall[f"{average}_recall"] == pytest.approx(r)
        assert overall[f"{average}_f1"] == pytest.approx(f)
    assert overall["accuracy"] == pytest.approx(sk.accuracy_score(truth, assigned))
    assert overall["hamming_loss"] == pytest.approx(sk.hamming_loss(truth, assigned))
    lrap = sk.label_ranking_average_precision_score(truth, scores)
    assert overall["lrap"] == pytest.approx(lrap)
    assert overall["coverage_error"] == pytest.approx(sk.coverage_error(truth, scores))


@pytest.mark.parametrize("seed", range(4))
def test_evaluate_agrees_with_counting_article_by_article(seed):
    scores, truth = random_case(seed)
    overall = evaluate(scores, truth, 0.6, list("abcdefg")).overall
    found = {"p_at_1": [], "p_at_3": [], "p_at_5": [], "r_at_5": []}
    for own_scores, own_truth in zip(scores, truth, strict=True):
        ranking = sorted(range(7), key=lambda tag: (-own_scores[tag], tag))
        for k in (1, 3, 5):
            right = sum(own_truth[tag] for tag in ranking[:k])
            found[f"p_at_{k}"].append(right / k)
        found["r_at_5"].append(right / own_truth.sum() if own_truth.any() else 0)
    for name, values in found.items():
        assert overall[name] == pytest.approx(np.mean(values))


@pytest.mark.parametrize("seed", range(4))
def test_per_tag_average_precision_agrees_with_scikit_learn(seed):
    scores, truth = random_case(seed)
    table = evaluate(scores, truth, 0.6, list("abcdefg")).per_tag
    for tag in range(7):
        expected = (
            sk.average_precision_score(truth[:, tag], scores[:, tag]) if truth[:, tag].any() else 0
        )
        assert table["average_precision"][tag] == pytest.approx(expected)


def test_evaluate_counts_a_score_equal_to_the_threshold_as_assigned():
    scores = np.array([[0.1]], dtype=np.float32)
    overall = evaluate(scores, np.array([[True]]), float(scores[0, 0]), ["a"]).overall
    assert overall["micro_f1"] == 1


def test_evaluate_of_a_single_tag_on_every_article():
    scores = evaluate(np.ones((4, 1), dtype=np.float32), np.ones((4, 1), dtype=bool), 0.5, ["a"])
    for name in ("micro_f1", "macro_f1", "accuracy", "p_at_5", "r_at_5", "lrap"):
        assert scores.overall[name] == 1


def test_evaluate_refuses_other_shapes_and_no_articles():
    with pytest.raises(ValueError, match=r"shapes differ: P \(3, 3\), Y \(2, 3\), 3 tags"):
        evaluate(P, Y[:2], 0.5, TAGS)
    with pytest.raises(ValueError, match="there is no article to score"):
        evaluate(P[:0], Y[:0], 0.5, TAGS)
