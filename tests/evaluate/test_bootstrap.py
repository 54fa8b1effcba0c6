"""The paired bootstrap, beside one that scores resample after resample."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.evaluate import bootstrap
from tagsage.evaluate.article_results import ArticleResults, sparse_of
from tagsage.evaluate.bootstrap import corrected_winner, paired_bootstrap, resampled_weights
from tagsage.evaluate.metrics import METRICS, evaluate

Case = tuple[np.ndarray, dict[str, np.ndarray], float]


def random_case(seed: int, n: int, n_tags: int) -> Case:
    """Two candidates that are right more often than not, and the truth."""
    random = np.random.default_rng(seed)
    Y = random.random((n, n_tags)) < random.random(n_tags) * 0.6
    noise = {name: random.integers(0, 6, (n, n_tags)) / 5 for name in "ab"}
    P = {name: (0.4 * Y + 0.6 * part).astype(np.float32) for name, part in noise.items()}
    return Y, P, 0.6


def reduced(case: Case) -> dict[str, ArticleResults]:
    Y, P, threshold = case
    return {name: ArticleResults.of(p, Y, np.float32(threshold) <= p) for name, p in P.items()}


def oracle(
    case: Case, *, clusters: np.ndarray, resamples: int, seed: int, level: float
) -> pd.DataFrame:
    """Score every resample anew."""
    Y, P, threshold = case
    tags = [str(tag) for tag in range(Y.shape[1])]

    def scores(name: str, rows: np.ndarray) -> np.ndarray:
        p = P[name][rows]
        overall = evaluate(p, Y[rows], np.float32(threshold) <= p, tags).overall
        return np.array([overall[metric] for metric in METRICS])

    everything = np.arange(len(Y))
    whole = {name: scores(name, everything) for name in P}
    # The clusters drawn, and then their articles, however often they were drawn.
    names = list(dict.fromkeys(clusters.tolist()))
    weights = np.concatenate(list(resampled_weights(len(names), resamples, seed)), axis=1)
    draws = [
        np.concatenate([
            np.flatnonzero(clusters == names[place])
            for place in np.repeat(np.arange(len(names)), column.astype(int))
        ])
        for column in weights.T
    ]
    drawn = {name: np.array([scores(name, rows) for rows in draws]) for name in P}
    whole["a-b"], drawn["a-b"] = whole["a"] - whole["b"], drawn["a"] - drawn["b"]
    tails = [(1 - level) / 2, (1 + level) / 2]
    lines = []
    for name, values in drawn.items():
        for index, metric in enumerate(METRICS):
            low, high = np.quantile(values[:, index], tails)
            share = np.mean(values[:, index] < 1e-9) if name == "a-b" else np.nan
            candidate, _, baseline = name.partition("-")
            line = (candidate, baseline or None, metric, whole[name][index], low, high, share)
            lines.append((*line, len(Y), resamples, level))
    names = "candidate baseline metric value low high p_not_better articles resamples level"
    return pd.DataFrame(lines, columns=names.split())


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(1, 25),
    n_tags=st.integers(1, 8),
    most_clusters=st.integers(1, 25),
    numbers=st.sampled_from([1, 60, 10**6]),
)
@settings(deadline=None, max_examples=25)
def test_any_case_gives_what_scoring_every_resample_anew_gives(
    seed, n, n_tags, most_clusters, numbers
):
    case = random_case(seed, n, n_tags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, "BLOCK_NUMBERS", numbers)
        clusters = np.random.default_rng(seed).integers(0, most_clusters, n)
        options = {"clusters": clusters, "resamples": 20, "seed": seed, "level": 0.9}
        found = paired_bootstrap(case[0], reduced(case), pairs=[("a", "b")], **options)
        expected = oracle(case, **options)
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-11, check_dtype=False)


def test_two_articles_have_the_interval_worked_out_by_hand():
    # Article 0 is right, article 1 is wrong: P@5 of a resample is 0, 1/2 or 1, at odds 1 : 2 : 1.
    Y = np.array([[True], [True]])
    assigned = np.array([[True], [False]])
    results = ArticleResults.of(assigned.astype(np.float32), Y, assigned)
    perfect = ArticleResults(results.assigned, np.array([1.0, 0.0]), np.array([1.0, 0.0]))
    frame = paired_bootstrap(Y, {"a": perfect}, resamples=4000, seed=0, level=0.4)
    line = frame[frame["metric"] == "p_at_5"].iloc[0]
    assert (line["value"], line["low"], line["high"]) == (0.5, 0.5, 0.5)
    # Of F1 the middle is 2/3: one of two is found, none wrongly.
    line = frame[frame["metric"] == "micro_f1"].iloc[0]
    assert (line["value"], line["low"], line["high"]) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    wide = paired_bootstrap(Y, {"a": perfect}, resamples=4000, seed=0, level=0.6)
    line = wide[wide["metric"] == "p_at_5"].iloc[0]
    assert (line["low"], line["high"]) == (0, 1)


def test_interval_of_a_mean_is_that_of_the_normal_distribution_when_articles_are_many():
    Y, P, threshold = random_case(1, 900, 6)
    results = ArticleResults.of(P["a"], Y, np.float32(threshold) <= P["a"])
    frame = paired_bootstrap(Y, {"a": results}, resamples=4000, seed=5).set_index("metric")
    for metric in ("p_at_5", "lrap"):
        values = getattr(results, metric)[Y.any(axis=1)]
        half = 1.96 * values.std() / np.sqrt(len(values))
        line = frame.loc[metric]
        assert line["low"] == pytest.approx(values.mean() - half, abs=half / 8)
        assert line["high"] == pytest.approx(values.mean() + half, abs=half / 8)


def test_same_seed_gives_the_same_resamples_of_n_articles_each():
    weights, again, other = (
        np.concatenate(list(resampled_weights(7, 11, seed)), axis=1) for seed in (3, 3, 4)
    )
    assert weights.shape == (7, 11)
    assert (weights.sum(axis=0) == 7).all()
    assert np.array_equal(weights, again)
    assert not np.array_equal(weights, other)


def test_clusters_of_one_article_each_change_nothing():
    case = random_case(2, 40, 5)
    plain, clustered = (
        paired_bootstrap(
            case[0], reduced(case), pairs=[("a", "b")], seed=1, resamples=200, clusters=clusters
        )
        for clusters in (None, np.random.default_rng(0).permutation(40) + 7)
    )
    pd.testing.assert_frame_equal(plain, clustered)


def test_copies_in_a_cluster_of_their_own_do_not_narrow_an_interval():
    Y, P, threshold = random_case(3, 60, 8)
    copied = np.repeat(Y, 4, axis=0), {name: np.repeat(p, 4, axis=0) for name, p in P.items()}
    several = (*copied, threshold)
    options = {"pairs": [("a", "b")], "seed": 1, "resamples": 500}
    plain = paired_bootstrap(Y, reduced((Y, P, threshold)), **options)
    clusters = np.repeat(np.arange(60), 4)
    clustered = paired_bootstrap(several[0], reduced(several), clusters=clusters, **options)
    columns = ["value", "low", "high", "p_not_better"]
    np.testing.assert_allclose(clustered[columns], plain[columns], atol=1e-11)
    naive = paired_bootstrap(several[0], reduced(several), **options)
    widths = ((frame["high"] - frame["low"]).to_numpy() for frame in (naive, clustered))
    assert np.less(*widths).all()


def assigned_results(assigned: np.ndarray) -> ArticleResults:
    nothing = np.zeros(len(assigned))
    return ArticleResults(sparse_of(assigned), nothing, nothing)


def test_a_winner_by_luck_alone_has_no_corrected_score():
    # a is right on the first article, b on the second: whichever is drawn twice chooses the one
    # that is wrong on the other. Where both are drawn nothing is left out.
    Y = np.array([[True], [True]])
    results = {"a": assigned_results(np.array([[True], [False]]))}
    results["b"] = assigned_results(np.array([[False], [True]]))
    winner = corrected_winner(Y, results, seed=0)
    assert (winner.candidate, winner.corrected, winner.low, winner.high) == ("a", 0, 0, 0)
    assert winner.micro_f1 == pytest.approx(2 / 3)
    together = corrected_winner(Y, results, seed=0, clusters=np.zeros(2, dtype=int))
    assert together.corrected == together.low == together.micro_f1


@given(seed=st.integers(0, 10_000), n=st.integers(2, 25), most_clusters=st.integers(2, 25))
@settings(deadline=None, max_examples=25)
def test_the_corrected_winner_is_that_of_choosing_and_scoring_again(seed, n, most_clusters):
    Y, P, threshold = case = random_case(seed, n, 4)
    clusters = np.random.default_rng(seed).integers(0, most_clusters, n)
    tags = list("wxyz")

    def score(name: str, rows: np.ndarray) -> float:
        p = P[name][rows]
        return evaluate(p, Y[rows], np.float32(threshold) <= p, tags).overall["micro_f1"]

    scores = []
    for weights in np.concatenate(list(resampled_weights(n, 30, seed, clusters)), axis=1).T:
        drawn, left_out = np.repeat(np.arange(n), weights.astype(int)), np.flatnonzero(weights == 0)
        if len(left_out):
            best = "b" if score("b", drawn) > score("a", drawn) + 1e-11 else "a"
            scores.append(score(best, left_out))
    winner = corrected_winner(Y, reduced(case), clusters=clusters, seed=seed, resamples=30)
    if scores:
        assert winner.corrected == pytest.approx(np.mean(scores))
        bounds = np.quantile(scores, [0.025, 0.975])
        assert (winner.low, winner.high) == pytest.approx(tuple(bounds), abs=1e-11)
