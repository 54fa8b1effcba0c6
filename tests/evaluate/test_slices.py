"""Scores of slices, beside those of evaluate on the rows and columns of a slice."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from tagsage.evaluate.article_results import ArticleResults
from tagsage.evaluate.metrics import evaluate
from tagsage.evaluate.slices import article_slices, slice_scores, tag_slices


def results_of(P: np.ndarray, Y: np.ndarray, threshold: float) -> ArticleResults:
    return ArticleResults.of(P, Y, np.float32(threshold) <= P)


def no_slices(n: int) -> pd.DataFrame:
    return pd.DataFrame(index=range(n))


def test_articles_are_sliced_by_lists_words_and_tags():
    Y = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]], dtype=bool)
    texts = ["", "a title", "one two three four five", " ".join(["word"] * 20)]
    frame = article_slices(list_degree=np.array([0, 1, 10, 11]), texts=texts, Y=Y)
    assert frame["list_degree"].tolist() == ["0", "1", "4-10", ">10"]
    assert frame["text_words"].tolist() == ["0-4", "0-4", "5-9", ">19"]
    # The first has no tag: it is in no slice of the kind.
    assert frame["tag_count"].isna().tolist() == [True, False, False, False]
    assert frame["tag_count"].tolist()[1:] == ["1", "2", "3"]
    assert frame["text_words"].cat.categories.tolist() == ["0-4", "5-9", "10-19", ">19"]


def test_tags_are_sliced_by_multiples_of_the_least_support():
    frame = tag_slices(np.array([81, 200, 201, 500, 501]), 100)
    assert frame["tag_support"].tolist() == ["0-200", "0-200", "201-500", "201-500", ">500"]


# Worked by hand. At 0.5 article 0 gets a, b; article 1 gets c; article 2 gets a, c.
P = np.array([[0.9, 0.8, 0.1], [0.1, 0.2, 0.9], [0.7, 0.1, 0.6]], dtype=np.float32)
Y = np.array([[True, False, False], [False, False, True], [True, True, False]])


def test_slices_of_articles_of_a_worked_example():
    slices = pd.DataFrame({"kind": pd.Categorical(["x", "y", "y"], categories=["x", "y", "z"])})
    found = slice_scores(results_of(P, Y, 0.5), Y, slices, no_slices(3))
    assert found["slice_kind"].tolist() == ["kind"] * 3
    assert found["slice"].tolist() == ["x", "y", "z"]
    assert found["articles"].tolist() == [1, 2, 0]
    # x has only tag a, y has all three.
    assert found["tags"].tolist() == [1, 3, 0]
    expected = [
        # b is assigned wrongly: that counts in micro-F1, but no article of x has it.
        [2 * 1 / (2 + 1), 1, 1 / 3, 1],
        # In y: a right; b missed; c right once, wrong once. LRAP: 1; (1/1 + 2/3) / 2.
        [2 * 2 / (3 + 3), (1 + 0 + 2 / 3) / 3, (1 / 3 + 2 / 3) / 2, (1 + 5 / 6) / 2],
        [np.nan] * 4,
    ]
    scores = found[["micro_f1", "macro_f1", "p_at_5", "lrap"]].to_numpy()
    np.testing.assert_allclose(scores, expected)


def test_slices_of_tags_of_a_worked_example():
    articles = pd.DataFrame(index=range(3))
    tags = pd.DataFrame({
        "kind": pd.Categorical(["rare", "often", "rare"], categories=["rare", "often", "never"])
    })
    found = slice_scores(results_of(P, Y, 0.5), Y, articles, tags)
    assert found["slice"].tolist() == ["rare", "often", "never"]
    # a: right twice; c: right once, wrong once; b: wrong once, missed once.
    assert found["articles"].tolist() == [3, 1, 0]
    assert found["tags"].tolist() == [2, 1, 0]
    np.testing.assert_allclose(found["micro_f1"], [2 * 3 / (4 + 3), 0, np.nan])
    np.testing.assert_allclose(found["macro_f1"], [(1 + 2 / 3) / 2, 0, np.nan])
    assert found[["p_at_5", "lrap"]].isna().all(axis=None)


def random_case(seed: int, n: int, n_tags: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.integers(0, 6, (n, n_tags)).astype(np.float32) / 5
    return scores, random.random((n, n_tags)) < random.random(n_tags) * 0.4


def oracle(scores: np.ndarray, truth: np.ndarray) -> list[float]:
    """Score the rows and columns of a slice; macro-F1 over the tags that are there."""
    tags = [str(tag) for tag in range(truth.shape[1])]
    result = evaluate(scores, truth, np.float32(0.6) <= scores, tags)
    present = result.per_tag["support"] > 0
    macro = result.per_tag["f1"][present].mean() if present.any() else np.nan
    overall = result.overall
    return [
        len(truth),
        present.sum(),
        overall["micro_f1"],
        macro,
        *(overall[name] if truth.any() else np.nan for name in ("p_at_5", "lrap")),
    ]


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), n_tags=st.integers(1, 8))
def test_any_slice_of_articles_scores_like_its_rows_alone(seed, n, n_tags):
    scores, truth = random_case(seed, n, n_tags)
    code = np.random.default_rng(seed + 1).integers(-1, 3, n)
    slices = pd.DataFrame({"kind": pd.Categorical.from_codes(code, categories=["x", "y", "z"])})
    found = slice_scores(results_of(scores, truth, 0.6), truth, slices, no_slices(n_tags))
    for index, line in enumerate(found.drop(columns=["slice_kind", "slice"]).to_numpy()):
        rows = code == index
        expected = oracle(scores[rows], truth[rows]) if rows.any() else [0, 0, *[np.nan] * 4]
        np.testing.assert_allclose(line, expected, rtol=1e-12)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 30), n_tags=st.integers(1, 8))
def test_any_slice_of_tags_scores_like_its_columns_alone(seed, n, n_tags):
    scores, truth = random_case(seed, n, n_tags)
    code = np.random.default_rng(seed + 1).integers(-1, 3, n_tags)
    slices = pd.DataFrame({"kind": pd.Categorical.from_codes(code, categories=["x", "y", "z"])})
    found = slice_scores(results_of(scores, truth, 0.6), truth, no_slices(n), slices)
    columns = ["articles", "tags", "micro_f1", "macro_f1"]
    for index, line in enumerate(found[columns].to_numpy()):
        own = truth[:, code == index]
        expected = [0, 0, np.nan, np.nan]
        if own.any():
            expected = oracle(scores[:, code == index], own)[:4]
            expected[0] = own.any(axis=1).sum()
        np.testing.assert_allclose(line, expected, rtol=1e-12)
