from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.learn.labels import Labels, label_corpus, label_matrix, target_tags
from tagsage.learn.split import NEW, TEST, TRAIN

TAGS = [["b", "a"], ["a"], [], ["a", "c"], ["b"]]


def test_target_tags_are_on_more_articles_than_the_minimum_and_sorted():
    assert target_tags(TAGS, 1) == ["a", "b"]
    assert target_tags(TAGS, 2) == ["a"]
    assert target_tags(TAGS, 0) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("tags", "minimum", "message"),
    [
        (TAGS, 3, r"min_tag_articles=3 articles \(the commonest, 'a', is on 3\); lower"),
        ([[], []], 0, "No article has a tag"),
        ([["a"], []], 0, "Only one article has a target tag"),
    ],
    ids=["rare tags", "no tags", "one article"],
)
def test_a_corpus_with_nothing_to_learn_from_is_refused(tags, minimum, message):
    with pytest.raises(TagsageError, match=message):
        label_corpus(tags, min_tag_articles=minimum, test_share=0.2, seed=0)


@given(st.lists(st.lists(st.sampled_from("abcdefg"), unique=True), max_size=30))
def test_label_matrix_agrees_with_asking_tag_by_tag(tags):
    targets = ["a", "c", "f"]
    expected = [[target in own for target in targets] for own in tags]
    Y = label_matrix(tags, targets)
    assert Y.tolist() == expected
    assert Y.dtype == np.bool_


def test_label_matrix_keeps_more_than_255_columns_in_order():
    targets = [f"{i:03}" for i in range(300)]
    Y = label_matrix([[tag] for tag in targets], targets)
    assert np.array_equal(Y, np.eye(300, dtype=bool))


def corpus_tags() -> pd.Series:
    rng = np.random.default_rng(3)
    choice = [["x"], ["y"], ["x", "y"], ["rare"], []]
    return pd.Series([choice[i] for i in rng.integers(0, 5, 200)])


def test_label_corpus_labels_articles_with_any_tag_and_splits_those_without_a_target_tag_too():
    tags = corpus_tags()
    labels = label_corpus(tags, min_tag_articles=50, test_share=0.25, seed=1)
    assert labels.tags == ["x", "y"]
    expected = [i for i, own in enumerate(tags) if own]
    assert labels.rows.tolist() == expected
    assert np.array_equal(labels.Y, label_matrix([tags[i] for i in expected], ["x", "y"]))
    both = np.sort(np.concatenate([labels.train_rows, labels.test_rows]))
    assert both.tolist() == expected
    assert np.array_equal(labels.Y_test, labels.Y[np.isin(labels.rows, labels.test_rows)])
    assert labels.summary()["test_articles"] == len(labels.test) == len(labels.Y_test)
    rare = sum(own == ["rare"] for own in tags)
    assert labels.summary()["without_target_tag"] == rare
    assert abs((~labels.Y_test.any(axis=1)).sum() - 0.25 * rare) < 1.5


def test_labels_read_again_equal_those_saved(tmp_path):
    labels = label_corpus(corpus_tags(), min_tag_articles=50, test_share=0.25, seed=1)
    labels.save(tmp_path)
    again = Labels.load(tmp_path)
    assert again.tags == labels.tags
    for name in ("rows", "Y", "train", "test", "families"):
        assert np.array_equal(getattr(again, name), getattr(labels, name))
        assert getattr(again, name).dtype == getattr(labels, name).dtype


def test_of_too_many_labelled_articles_those_of_the_earlier_split_and_a_sample_are_taken():
    tags = [["a"]] * 100 + [[]]
    options = {"min_tag_articles": 10, "test_share": 0.2, "seed": 3, "max_articles": 30}
    sample = label_corpus(tags, **options)
    assert len(sample.rows) == 30
    assert np.array_equal(sample.rows, label_corpus(tags, **options).rows)
    parts = np.full(101, NEW, dtype=np.int8)
    parts[40:60], parts[60:65] = TRAIN, TEST
    continued = label_corpus(tags, **options, parts=parts)
    assert len(continued.rows) == 30
    assert set(range(40, 60)) <= set(continued.train_rows.tolist())
    assert set(range(60, 65)) <= set(continued.test_rows.tolist())


def test_labelled_articles_keep_their_families():
    tags, options = [["a"], [], ["a"], ["a"]], {"min_tag_articles": 1, "test_share": 0.3, "seed": 0}
    labels = label_corpus(tags, **options, families=np.array([4, 4, 9, 4]))
    assert labels.families.tolist() == [4, 9, 4]
    assert (labels.summary()["families"], labels.summary()["with_near_copy"]) == (2, 2)
    assert len(set(label_corpus(tags, **options).families.tolist())) == 3
