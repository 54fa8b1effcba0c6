from __future__ import annotations

import numpy as np
import pandas as pd

from tagsage.evaluate.changes import (
    COLUMNS,
    ChangeCounts,
    compare_predictions,
    matching_parts,
)


def frame(*rows):
    lines = pd.DataFrame(rows, columns=["key", "tag", "score", "assigned"])
    return lines.assign(story=lines["key"])


BEFORE = frame(
    ("a", "x", 0.9, 1),
    ("a", "y", 0.4, 0),
    ("b", "x", 0.6, 1),
    ("b", "y", 0.2, 0),
    ("c", "x", 0.8, 1),
    ("d", "y", 0.1, 0),
)
AFTER = frame(
    ("a", "x", 0.91, 1),  # moved a little
    ("a", "y", 0.7, 1),  # gained
    ("b", "x", 0.3, 0),  # lost, still listed
    ("b", "z", 0.1, 0),  # y left the list for z
    ("d", "y", 0.1, 0),  # as before
    ("e", "z", 0.8, 1),  # new; c is gone
)


def lines(changes):
    return [
        tuple(None if pd.isna(value) else value for value in row)
        for row in changes.itertuples(index=False, name=None)
    ]


def test_what_changed_by_hand():
    changes, counts = compare_predictions(BEFORE, AFTER[::-1])
    assert changes.columns.tolist() == list(COLUMNS)
    assert lines(changes) == [
        ("a", "y", "score", 0.4, 0.7, 0, 1),
        ("b", "x", "score", 0.6, 0.3, 1, 0),
        ("b", "y", "removed", 0.2, None, 0, None),
        ("b", "z", "added", None, 0.1, None, 0),
        ("c", "x", "removed", 0.8, None, 1, None),
        ("e", "z", "added", None, 0.8, None, 1),
    ]
    assert counts == ChangeCounts(
        articles_new=1,
        articles_gone=1,
        articles_newly_tagged=1,  # e
        articles_no_longer_tagged=1,  # b
        articles_changed=2,  # a and b
        tags_gained=2,  # a y, e z
        tags_lost=1,  # b x; c is not predicted for any more
        scores_changed=3,  # a x, a y, b x
    )


def test_nothing_changes_between_the_same_predictions_and_all_does_from_none():
    changes, counts = compare_predictions(AFTER, AFTER)
    assert changes.empty
    assert set(vars(counts).values()) == {0}
    changes, counts = compare_predictions(AFTER.iloc[:0], AFTER)
    assert set(changes["change"]) == {"added"}
    assert (counts.articles_new, counts.articles_newly_tagged, counts.tags_gained) == (4, 2, 3)
    changes, counts = compare_predictions(AFTER, AFTER.iloc[:0])
    assert set(changes["change"]) == {"removed"}
    assert (counts.articles_gone, counts.tags_lost) == (4, 0)


def test_the_counts_agree_with_counting_pair_by_pair():
    rng = np.random.default_rng(5)

    def some():
        pairs = rng.permutation([(s, t) for s in "abcdefgh" for t in "wxyz"])[:20]
        scores = rng.integers(0, 4, len(pairs)) / 4
        return frame(
            *((s, t, score, int(score >= 0.5)) for (s, t), score in zip(pairs, scores, strict=True))
        )

    for _ in range(20):
        before, after = some(), some()
        old = {(r.story, r.tag): r for r in before.itertuples()}
        new = {(r.story, r.tag): r for r in after.itertuples()}
        had = {pair for pair, row in old.items() if row.assigned}
        has = {pair for pair, row in new.items() if row.assigned}
        there = {story for story, _ in new}
        earlier = {story for story, _ in old}
        lost = {pair for pair in had - has if pair[0] in there}
        _, counts = compare_predictions(before, after)
        assert counts == ChangeCounts(
            articles_new=len(there - earlier),
            articles_gone=len(earlier - there),
            articles_newly_tagged=len({s for s, _ in has} - {s for s, _ in had}),
            articles_no_longer_tagged=len(({s for s, _ in had} - {s for s, _ in has}) & there),
            articles_changed=len({s for s, _ in (has - had) | lost} & earlier & there),
            tags_gained=len(has - had),
            tags_lost=len(lost),
            scores_changed=sum(old[p].score != new[p].score for p in old.keys() & new.keys()),
        )


def test_an_article_at_another_address_is_the_same():
    moved = AFTER.assign(story="https://new.example/" + AFTER["key"])
    changes, counts = compare_predictions(BEFORE, moved)
    assert counts == compare_predictions(BEFORE, AFTER)[1]
    # Only that of a gone article is the old one.
    assert set(changes["story"]) == {f"https://new.example/{key}" for key in "abe"} | {"c"}


def test_part_by_part_the_changes_and_counts_are_those_of_the_whole():
    rng = np.random.default_rng(6)

    def some():
        keys = np.sort(rng.choice(list("abcdefghij"), rng.integers(0, 9), replace=False))
        lines = [(key, tag, rng.integers(0, 4) / 4, 1) for key in keys for tag in "xy"]
        # At least one part; some are empty.
        cuts = 2 * np.sort(rng.integers(0, len(keys) + 1, 2))
        whole = frame(*lines).astype({"key": "str", "story": "str", "tag": "str"})
        return whole, [whole.iloc[a:b] for a, b in zip([0, *cuts], [*cuts, None], strict=True)]

    for _ in range(50):
        (before, old_parts), (after, new_parts) = some(), some()
        found = [compare_predictions(*parts) for parts in matching_parts(old_parts, new_parts)]
        changes, counts = compare_predictions(before, after)
        of_parts = pd.concat([part for part, _ in found], ignore_index=True)
        assert lines(of_parts) == lines(changes)
        total = ChangeCounts(*np.sum([tuple(vars(one).values()) for _, one in found], axis=0))
        assert total == counts
