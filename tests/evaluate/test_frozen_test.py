"""What is kept of a version's test, and what it has in common with another run's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.errors import TagsageError
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.features import article_ids
from tagsage.learn.split import NEW, TEST, TRAIN, continued_split, stratified_split


def frozen(tags, test, train, assigned) -> FrozenTest:
    matrix = sp.csr_array(np.array(assigned, dtype=np.float64))
    return FrozenTest(
        tags, article_ids(test), article_ids(train), article_ids(train + test), matrix, {}, 0.2, 42
    )


def test_ids_of_articles_are_the_same_every_run_and_differ():
    ids = article_ids(["https://a.example/1", "https://a.example/2", "", "ü"])
    # Of pandas 3.1.1: another hash would make every article of earlier runs a new one.
    assert ids.tolist() == [
        3318386846542463396,
        5212903609178320613,
        # An article that no corpus holds.
        0,
        6689755093696353227,
    ]
    assert len(set(ids.tolist())) == 4


def test_parts_are_those_of_the_version_and_new_for_others():
    kept = frozen(["x"], ["a", "b"], ["c", "d"], [[1], [0]])
    assert kept.parts(article_ids(["d", "e", "a"])).tolist() == [TRAIN, NEW, TEST]
    assert kept.parts(article_ids([])).tolist() == []


def test_common_part_is_in_this_runs_order():
    kept = frozen(["x", "y", "z"], ["a", "b", "c"], [], [[1, 0, 1], [0, 1, 0], [1, 1, 0]])
    rows, columns, assigned = kept.common(article_ids(["c", "new", "a"]), ["z", "other", "x"])
    assert rows.tolist() == columns.tolist() == [0, 2]
    # c has x and y, a has x and z; asked are z and x.
    assert assigned.toarray().tolist() == [[0, 1], [1, 1]]
    assert kept.common(article_ids(["new"]), ["other"])[2].shape == (0, 0)


def test_it_comes_back_from_its_folder(tmp_path):
    kept = replace(frozen(["NA", "1"], ["a"], ["b", "c"], [[0, 1]]), scores={"micro_f1": 0.5})
    kept.save(tmp_path)
    again = FrozenTest.load(tmp_path)
    assert (again.tags, again.scores) == (kept.tags, kept.scores)
    assert (again.test_share, again.seed) == (0.2, 42)
    assert again.train.tolist() == kept.train.tolist()
    assert again.assigned.toarray().tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("assigned/indptr.npy", None),
        ("test.npy", b""),
        ("test.npy", b"\x93NUMPY\x01\x00 nothing"),
        ("frozen.json", b"{"),
        ("frozen.json", b"[1]"),
        ("frozen.json", b'{"tags": ["x", "y"], "scores": {}, "test_share": 1, "seed": 1}'),
        ("frozen.json", b'{"tags": ["x"], "other": 1}'),
    ],
)
def test_damaged_files_are_reported_in_one_sentence(tmp_path, file, content):
    frozen(["x"], ["a"], ["b"], [[1]]).save(tmp_path)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(TagsageError, match=r"^The frozen test .*; run the run again\.$"):
        FrozenTest.load(tmp_path)


@settings(max_examples=30, deadline=None)
@given(
    old=st.integers(10, 120),
    new=st.integers(0, 120),
    gone=st.floats(0, 0.3),
    share=st.sampled_from([0.1, 0.2, 0.5]),
    seed=st.integers(0, 5),
)
def test_no_article_changes_its_part_and_the_share_holds(old, new, gone, share, seed):
    random = np.random.default_rng(seed)
    Y = random.random((old + new, 4)) < np.array([0.5, 0.3, 0.2, 0.1])
    before = stratified_split(Y[:old], test_share=share, seed=seed)
    parts = np.full(old + new, NEW, dtype=np.int8)
    parts[before.train], parts[before.test] = TRAIN, TEST
    left = (random.random(old + new) >= gone) | (parts == NEW)
    split = continued_split(Y[left], parts[left], test_share=share, seed=seed)
    known = parts[left]
    if split is None:
        # Only where too few are left of one part.
        held = (known == TEST).sum() / len(known)
        assert not share / 2 <= held <= 2 * share or not (known != NEW).any()
        return
    n = len(known)
    assert np.array_equal(np.sort(np.concatenate([split.train, split.test])), np.arange(n))
    assert not (known[split.train] == TEST).any()
    assert not (known[split.test] == TRAIN).any()
    # Within what the stratifier of the new articles is off, unless the known ones are too many.
    wanted = np.clip(round(n * share), (known == TEST).sum(), n - (known == TRAIN).sum())
    assert abs(len(split.test) - wanted) <= 4 + 0.05 * new


def test_new_articles_are_dealt_out_by_tag():
    Y = np.zeros((400, 2), dtype=bool)
    Y[:, 0] = True
    Y[200:240, 1] = True
    parts = np.full(400, NEW, dtype=np.int8)
    parts[:160], parts[160:200] = TRAIN, TEST
    split = continued_split(Y, parts, test_share=0.2, seed=0)
    assert split is not None
    assert len(split.test) == 80
    assert Y[split.test, 1].sum() == 8


@pytest.mark.parametrize(
    "parts",
    [[NEW] * 10, [TEST] * 10, [TRAIN] * 10, [TEST] * 5 + [TRAIN] * 5, [TRAIN] * 19 + [TEST]],
    ids=["all new", "all test", "all training", "half", "a twentieth"],
)
def test_parts_that_cannot_be_kept_are_not(parts):
    Y = np.ones((len(parts), 1), dtype=bool)
    assert continued_split(Y, np.array(parts, dtype=np.int8), test_share=0.2, seed=0) is None
