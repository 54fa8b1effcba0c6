from __future__ import annotations

from dataclasses import replace

import pytest

from tagsage.corpus.profile import Profile
from tagsage.corpus.quarantine import Repairs
from tagsage.evaluate.corpus_checks import check_corpus
from tagsage.settings import Settings

LIMITS = Settings(min_tag_articles=10)
COUNTS = {
    "articles": 100,
    "lists": 10,
    "memberships": 200,
    "quarantined": 0,
    "without_text": 0,
    "without_tags": 50,
    "without_lists": 20,
    "largest_list": 40,
}
PROFILE = Profile(
    counts=COUNTS,
    words={"the": 100, "graph": 60, "list": 40},
    words_in_all=200,
    tags={"ml": 40, "python": 30, "law": 5},
    tags_in_all=75,
    text_lengths={1: 20, 2: 60, 3: 20},
    list_sizes={10: 5, 30: 5},
    lists_per_article={0: 20, 2: 60, 4: 20},
)


def changed(**counts: int) -> Profile:
    return replace(PROFILE, counts={**COUNTS, **counts})


def failed(current, earlier=PROFILE, limits=LIMITS, **options) -> dict[str, object]:
    checks = check_corpus(current, earlier, limits, **options)
    return {check.name: check for check in checks if not check.passed}


def test_more_repaired_values_of_a_column_than_allowed_fail():
    dates = Repairs("a.csv", "date", "no date", "12/31/2025", "2025-12-31", changed=6, rows=100)
    assert failed(PROFILE, earlier=None, repairs=[replace(dates, changed=5)]) == {}
    (check,) = failed(PROFILE, earlier=None, repairs=[dates]).values()
    assert check.name == "repaired_date"
    assert check.sentence() == (
        "repaired values of date in a.csv: 6 of 100, such as '12/31/2025': no date; accepted: "
        "2025-12-31 (share 0.06, at most 0.05)"
    )


def test_the_same_corpus_passes():
    assert failed(PROFILE) == {}
    assert failed(PROFILE, earlier=None) == {}


@pytest.mark.parametrize(
    ("current", "name", "sentence"),
    [
        (
            changed(articles=60, without_tags=30, without_lists=12),
            "articles_fall",
            "articles: 100 before, 60 this run (fall 0.4, at most 0.3)",
        ),
        (changed(lists=3), "lists_fall", "lists: 10 before, 3 this run (fall 0.7, at most 0.3)"),
        (
            changed(without_tags=75),
            "without_tags_rise",
            "articles without tags: 50.0% before, 75.0% this run (rise 0.25, at most 0.1)",
        ),
        (
            changed(without_text=30),
            "without_text_rise",
            "articles without text: 0.0% before, 30.0% this run (rise 0.3, at most 0.1)",
        ),
        (
            changed(without_lists=60),
            "without_lists_rise",
            "articles in no list: 20.0% before, 60.0% this run (rise 0.4, at most 0.1)",
        ),
        (
            # 100 of 100 + 200 + 100 rows
            changed(quarantined=100),
            "quarantined_rise",
            "rows in quarantine: 0.0% before, 25.0% this run (rise 0.25, at most 0.1)",
        ),
        (
            changed(largest_list=95),
            "largest_list",
            "articles in the largest list: 95 of 100 (share 0.95, at most 0.9)",
        ),
        (
            # Shares .2 .6 .2 -> .6 .2 .2: .4 ln 3 - .4 ln (1/3) = .8 ln 3
            replace(PROFILE, text_lengths={1: 60, 2: 20, 3: 20}),
            "text_lengths_psi",
            "words per text: 2 in the mean before, 1.6 this run (PSI 0.879, at most 0.25)",
        ),
        (
            replace(PROFILE, tags={"ml": 40, "law": 35}),
            "tags_gone",
            "target tags: 2 before, 2 (1 gone: 'python'; 1 new: 'law') this run "
            "(share gone 0.5, at most 0.1)",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else "",
)
def test_what_changed_too_much_is_named_with_its_numbers(current, name, sentence):
    found = failed(current)
    assert found[name].sentence() == sentence


def test_another_language_fails_by_its_words():
    foreign = replace(PROFILE, words={"der": 100, "graph": 60, "liste": 40})
    found = failed(foreign)
    assert found.keys() == {"words_distance", "new_words_rise"}
    assert found["words_distance"].sentence() == (
        "most frequent words: 'the', 'graph', 'list' before, 'der', 'graph', 'liste' this run "
        "(Jensen-Shannon distance 0.837, at most 0.3)"
    )
    assert found["new_words_rise"].value == pytest.approx(0.7)
    # Only graph is in common, at the same share: half of the divergence is on the other 70%.
    assert found["words_distance"].value == pytest.approx(0.7**0.5)


def test_what_a_limit_lets_pass():
    current = changed(articles=60, without_tags=30, without_lists=12)
    assert failed(current, limits=Settings(min_tag_articles=10, check_count_fall=0.4)) == {}


def test_a_growing_corpus_is_no_fall():
    counts = {"articles": 10_000, "lists": 5_000, "memberships": 10**6, "without_tags": 5_000}
    assert failed(changed(**counts, without_lists=2_000)) == {}


def test_without_an_earlier_run_only_the_corpus_itself_is_checked():
    no_tags = changed(without_tags=100)
    found = failed(no_tags, earlier=None)
    assert found.keys() == {"any_tags"}
    assert found["any_tags"].sentence() == "articles with a tag: 0 of 100"
    assert failed(changed(without_text=100), earlier=None).keys() == {"any_text"}
    assert failed(changed(largest_list=100), earlier=None).keys() == {"largest_list"}


def test_of_a_handful_of_articles_one_list_may_hold_all():
    few = changed(articles=9, without_tags=4, without_lists=0, largest_list=9)
    assert failed(few, earlier=None) == {}


def test_text_that_nothing_is_made_of_is_not_looked_at():
    current = replace(changed(without_text=100), words={}, words_in_all=0, text_lengths={0: 100})
    assert failed(current).keys() >= {"any_text", "words_distance", "without_text_rise"}
    assert failed(current, limits=Settings(embedder="precomputed", vectors="v.csv")) == {}


def test_no_article_at_all_fails():
    nothing = Profile(dict.fromkeys(COUNTS, 0), {}, 0, {}, 0, {}, {}, {})
    assert failed(nothing, earlier=None).keys() == {"any_text", "any_tags"}
    assert {"articles_fall", "words_distance", "tags_gone"} <= failed(nothing).keys()
    assert failed(PROFILE, earlier=nothing).keys() >= {"words_distance", "tags_distance"}


def test_names_of_tags_are_quoted_and_cut():
    hostile = "<script>alert(1)</script>" + "x" * 1000
    current = replace(PROFILE, tags={"ml": 40, "python": 30, hostile: 20})
    checks = {check.name: check for check in check_corpus(current, PROFILE, LIMITS)}
    assert checks["tags_gone"].passed
    assert len(checks["tags_gone"].current) < 60
