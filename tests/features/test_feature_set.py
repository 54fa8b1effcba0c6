"""Fitted blocks together: saved, gathered, loaded, and asked about any article."""

from __future__ import annotations

import numpy as np
import pytest

from tagsage.features import FeatureSet, list_free_set, needs_lists
from tagsage.features.feature_set import gather_feature_set
from tests.features.corpora import corpus, features, fitted, rows_of, unseen

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
