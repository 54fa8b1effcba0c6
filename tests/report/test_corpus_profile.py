"""The numbers of a corpus."""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd

from tagsage.report.corpus_profile import CorpusProfile, profile_corpus


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
        "components": 2,
    }
    # Stubs are left out of the articles, and counted in the sizes of lists.
    assert profile.tags_per_article == {0: 2, 1: 1, 2: 1}
    assert profile.lists_per_article == {0: 1, 1: 1, 2: 2}
    assert profile.list_sizes == {0: 1, 2: 1, 4: 1}
    assert profile.neighbours == {0: 1, 2: 3}
    quantiles = profile.list_size_quantiles
    assert (quantiles["50%"], quantiles["mean"], quantiles["max"]) == (2, 2, 4)
    assert profile.tag_articles == [("python", 2), ("graphs", 1)]
    assert CorpusProfile.from_json(json.loads(json.dumps(asdict(profile)))) == profile


def test_tags_of_equal_frequency_are_in_the_order_of_names_and_no_lists_have_no_sizes():
    frame = pd.DataFrame({"author": ["x"], "tags": [["b", "a", "c"]], "is_stub": [False]})
    none = np.zeros(0, dtype=np.int32)
    profile = profile_corpus(frame, none, none, n_lists=0, target_tags=["c", "b", "a"])
    assert profile.tag_articles == [("a", 1), ("b", 1), ("c", 1)]
    assert profile.list_sizes == profile.list_size_quantiles == {}
    assert profile.counts["isolated"] == 1
    no_tags = frame.assign(tags=[[]])
    assert profile_corpus(no_tags, none, none, n_lists=0, target_tags=[]).counts["tags"] == 0


def test_a_stub_joins_no_articles_where_components_are_counted(articles):
    # Each in a list of its own, with the stub e.
    article_index, list_index = np.array([0, 4, 1, 4]), np.array([0, 0, 1, 1])
    profile = profile_corpus(articles, article_index, list_index, n_lists=2, target_tags=[])
    assert profile.counts["components"] == 4
