"""The numbers of a corpus."""

import json

import numpy as np
import pandas as pd

from tagsage.report.eda import CorpusProfile, histogram, profile_corpus


def test_profile_of_a_small_corpus_counts_what_was_counted_by_hand(profile):
    assert profile.counts == {
        "articles": 4,
        "tagged": 2,
        "untagged": 2,
        "stubs": 1,
        "authors": 3,
        "lists": 3,
        "memberships": 6,
        "tags": 2,
        "target_tags": 2,
        "isolated": 1,
        "isolated_tagged": 0,
    }


def test_profile_histograms_leave_stubs_out_of_articles_but_count_them_in_list_sizes(profile):
    assert profile.tags_per_article == {0: 2, 1: 1, 2: 1}
    assert profile.lists_per_article == {0: 1, 1: 1, 2: 2}
    assert profile.list_sizes == {0: 1, 2: 1, 4: 1}
    assert profile.neighbours == {0: 1, 2: 3}


def test_profile_list_sizes_have_median_mean_and_maximum(profile):
    assert profile.list_size_quantiles["50%"] == 2
    assert profile.list_size_quantiles["mean"] == 2
    assert profile.list_size_quantiles["max"] == 4


def test_profile_tags_are_most_frequent_first(profile):
    assert profile.tag_articles == [("python", 2), ("graphs", 1)]


def test_profile_tags_of_equal_frequency_are_in_the_order_of_names():
    frame = pd.DataFrame({"author": ["x"], "tags": [["b", "a", "c"]], "is_stub": [False]})
    none = np.zeros(0, dtype=np.int32)
    profile = profile_corpus(frame, none, none, n_lists=0, target_tags=["c", "b", "a"])
    assert profile.tag_articles == [("a", 1), ("b", 1), ("c", 1)]


def test_profile_comes_back_from_json_text_as_it_was(profile):
    assert CorpusProfile.from_json(json.loads(json.dumps(profile.to_json()))) == profile


def test_profile_of_a_corpus_without_lists_has_no_list_sizes_and_all_articles_isolated(articles):
    none = np.zeros(0, dtype=np.int32)
    profile = profile_corpus(articles, none, none, n_lists=0, target_tags=["python"])
    assert profile.list_sizes == {}
    assert profile.list_size_quantiles == {}
    assert profile.counts["isolated"] == profile.counts["articles"] == 4


def test_profile_of_an_article_without_tags_at_all_has_no_tags():
    frame = pd.DataFrame({"author": ["x"], "tags": [[]], "is_stub": [False]})
    none = np.zeros(0, dtype=np.int32)
    profile = profile_corpus(frame, none, none, n_lists=0, target_tags=[])
    assert profile.counts["tags"] == 0
    assert profile.tag_articles == []


def test_histogram_counts_each_value_by_rising_value():
    assert histogram(np.array([3, 1, 3, 0])) == {0: 1, 1: 1, 3: 2}
