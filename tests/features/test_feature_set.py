"""Fitted blocks together: saved, gathered, loaded, and asked about any article."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tagsage.features import BLOCKS, Articles, FeatureSet, list_free_set, needs_lists
from tagsage.features.feature_set import gather_feature_set
from tagsage.runner import LocalRunner
from tests.features.corpora import Corpus, corpus, features, fit, fitted, rows_of, unseen

FEATURE_SET = "text+lists+labels+authors+memberships"


def feature_set_of(name: str) -> FeatureSet:
    return FeatureSet(corpus().known(), {block: fitted(block)[0] for block in name.split("+")})


def test_blocks_stand_side_by_side_in_the_order_of_the_feature_set():
    X = feature_set_of("text+lists+labels").transform(corpus().articles)
    assert X.kinds == ("text", "lists", "lists", "labels", "labels")
    marked = corpus().known().mark(corpus().articles)
    expected = [part for name in ("text", "lists", "labels") for part in features(
        fitted(name)[0], marked)]  # fmt: skip
    assert np.array_equal(rows_of(X), np.concatenate(expected, axis=1))
    assert np.array_equal(X.in_list, np.diff(corpus().articles.members.indptr) > 0)


@pytest.mark.parametrize("name", [FEATURE_SET, "words+list_ids+author_ids", "graphsage+fastrp"])
def test_a_feature_set_that_was_gathered_and_loaded_gives_the_same_rows(name, tmp_path):
    made = feature_set_of(name)
    states = {}
    for block in made.blocks:
        states[block] = tmp_path / f"artifact-{block}"
        made.blocks[block].save(states[block])
    made.known.save(tmp_path / "known")
    gather_feature_set(tmp_path / "model", tmp_path / "known", states)
    loaded = FeatureSet.load(tmp_path / "model", name)
    expected = rows_of(made.transform(corpus().articles))
    assert np.array_equal(rows_of(loaded.transform(corpus().articles)), expected)
    # One request after the other, by names.
    for row in range(0, 40, 7):
        asked = unseen(corpus().articles.take(np.array([row])))
        assert np.array_equal(rows_of(loaded.transform(asked))[0], expected[row])


def test_an_article_that_another_known_marked_is_looked_up_again():
    made = feature_set_of("labels")
    elsewhere = corpus().known(np.arange(30)).mark(corpus().articles)
    expected = rows_of(made.transform(corpus().articles))
    assert np.array_equal(rows_of(made.transform(elsewhere)), expected)


@pytest.mark.parametrize(
    ("name", "needed", "rest"),
    [
        ("text+authors", False, "text+authors"),
        ("text+lists+authors", True, "text+authors"),
        ("memberships+fastrp", True, ""),
    ],
)
def test_a_name_says_whether_lists_are_needed_and_what_is_left_without(name, needed, rest):
    assert needs_lists(name) is needed
    assert list_free_set(name) == rest


def earlier() -> Corpus:
    """Return the corpus of an earlier run: other tags, fewer articles, fewer lists."""
    whole = corpus()
    articles = whole.articles.take(np.arange(25))
    # The last but one list is new, and so is the order of the columns.
    kept = np.delete(np.arange(len(articles.list_names)), -2)[::-1]
    names = articles.list_names[kept]
    members = articles.members[:, kept].sorted_indices()
    there = whole.rows < 25
    Y = ~whole.Y[there]
    return Corpus(replace(articles, members=members, list_names=names), whole.rows[there], Y)


def refreshed(name: str) -> tuple[FeatureSet, FeatureSet]:
    """Return a feature set of the earlier corpus, and the same refreshed on the corpus."""
    old, whole = earlier(), corpus()
    blocks = {block: fit(block, old.articles, old.known()) for block in name.split("+")}
    before = FeatureSet(old.known(), blocks)
    return before, before.refreshed(whole.articles, whole.rows, whole.Y, LocalRunner())


@pytest.mark.parametrize("name", BLOCKS)
def test_refreshing_fits_refreshable_blocks_again_and_leaves_the_others(name):
    before, after = refreshed(name)
    articles = corpus().articles
    is_fitted_again = BLOCKS[name].refreshable
    expected = (feature_set_of(name) if is_fitted_again else before).transform(articles)
    assert np.array_equal(rows_of(after.transform(articles)), rows_of(expected))
    assert is_fitted_again or np.array_equal(after.transform(articles).in_list, expected.in_list)


def test_a_refreshed_set_that_was_saved_and_refreshed_again_is_the_same(tmp_path):
    name = "words+list_ids+lists+labels+authors+memberships+fastrp"
    _, after = refreshed(name)
    expected = rows_of(after.transform(corpus().articles))
    after.save(tmp_path)
    loaded = FeatureSet.load(tmp_path, name)
    for row in range(0, 40, 7):
        asked = unseen(corpus().articles.take(np.array([row])))
        assert np.array_equal(rows_of(loaded.transform(asked))[0], expected[row])
    # Two nights later, with another corpus between them.
    other = corpus(30, 5, seed=1)
    between = loaded.refreshed(other.articles, other.rows, other.Y, LocalRunner())
    again = between.refreshed(corpus().articles, corpus().rows, corpus().Y, LocalRunner())
    assert np.array_equal(rows_of(again.transform(corpus().articles)), expected)
    assert again.columns("list_ids").tolist() == earlier().articles.list_names.tolist()


def test_an_article_in_new_lists_alone_is_in_a_list_where_the_model_can_see_these():
    new = corpus().articles.list_names[-2]
    asked = Articles.of_names(["tea"], [""], [[new]], vectors=np.ones((1, 6), dtype=np.float32))
    for name, seen in (("words+list_ids+authors", False), ("words+list_ids+labels", True)):
        before, after = refreshed(name)
        assert not before.transform(asked).in_list[0]
        assert after.transform(asked).in_list[0] == seen
