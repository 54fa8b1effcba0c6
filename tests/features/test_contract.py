"""What every block promises, whatever it is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.features import BLOCKS, Articles
from tagsage.features import neighbours as neighbours_module
from tagsage.features import tag_shares as tag_shares_module
from tagsage.graph.graphsage.model import unit_rows
from tagsage.runner import LocalRunner
from tests.features.corpora import (
    SETTINGS,
    WITHOUT_LIST,
    WITHOUT_VECTOR,
    WORDS,
    Corpus,
    corpus,
    features,
    fit,
    fitted,
    unseen,
)

OF_NEIGHBOURS = ("graphsage", "fastrp")
HIDDEN = np.array([1, 5, 8, 21, 39])


@pytest.fixture(params=BLOCKS)
def name(request) -> str:
    return request.param


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Compare parts of features to the last bit."""
    assert len(found) == len(expected)
    for part, other in zip(found, expected, strict=True):
        assert part.dtype == other.dtype
        assert np.array_equal(part, other)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def test_features_are_finite_single_precision_rows_of_the_articles(name):
    block, known = fitted(name)
    parts = block.transform(known.mark(corpus().articles))
    assert parts
    for part in parts:
        assert part.shape[0] == len(corpus().articles)
        assert part.dtype == np.float32
        assert bool(sp.issparse(part)) == block.sparse
        assert np.isfinite(part.data if block.sparse else part).all()
        # A character n-gram is known by its hash alone.
        if block.sparse and name != "char_ngrams":
            assert len(block.columns(known)) == part.shape[1]
    assert any(part.any() for part in features(block, known.mark(corpus().articles)))


def test_a_block_read_again_makes_the_same_features_to_the_last_bit(name, tmp_path):
    block, known = fitted(name)
    block.save(tmp_path / "state")
    again = BLOCKS[name].load(tmp_path / "state")
    known.save(tmp_path / "known")
    known_again = type(known).load(tmp_path / "known")
    articles = corpus().articles
    assert_same(features(again, known_again.mark(articles)), features(block, known.mark(articles)))
    assert {file.suffix for file in tmp_path.rglob("*.*")} <= {".npy", ".json"}


def test_an_article_has_the_same_features_alone_and_in_any_batch_and_order(name):
    block, known = fitted(name)
    articles = corpus().articles
    whole = features(block, known.mark(articles))
    n = len(articles)
    batches = [np.array([row]) for row in range(n)]
    batches += [np.random.default_rng(0).permutation(n), np.array([7, 7, 30]), np.arange(0)]
    for rows in batches:
        some = known.mark(unseen(articles.take(rows)))
        assert_same(features(block, some), [part[rows] for part in whole])


@pytest.mark.parametrize("size", [1, 7])
def test_the_fit_is_the_same_however_the_articles_are_partitioned(name, size, monkeypatch):
    block, known = fitted(name)
    whole = features(block, known.mark(corpus().articles))
    partitions = Articles.partitions
    monkeypatch.setattr(Articles, "partitions", lambda self: partitions(self, size))
    monkeypatch.setattr(neighbours_module, "ROWS", size)
    monkeypatch.setattr(tag_shares_module, "COUNT_ROWS", size)
    monkeypatch.setattr(tag_shares_module, "BLOCK_NUMBERS", size)
    again = fit(name, corpus().articles, known)
    parts = features(again, known.mark(corpus().articles))
    if BLOCKS[name].needs_vectors:
        for part, other in zip(parts, whole, strict=True):
            # Means of lists are kept in half precision.
            np.testing.assert_allclose(part, other, rtol=1e-3, atol=1e-3)
    else:
        assert_same(parts, whole)


def test_a_fit_that_hides_articles_is_that_of_a_corpus_without_them(name, tmp_path):
    whole = corpus()
    there = np.setdiff1d(np.arange(len(whole.articles)), HIDDEN)
    counted = np.isin(whole.rows, there)
    tagged, Y = whole.rows[counted], whole.Y[counted]
    hiding = Corpus(whole.articles, tagged, Y).known(HIDDEN)
    rest = Corpus(whole.articles.take(there), np.searchsorted(there, tagged), Y)
    block = fit(name, whole.articles, hiding)
    block.save(tmp_path / "hiding")
    fit(name, rest.articles, rest.known()).save(tmp_path / "without")
    assert files_of(tmp_path / "hiding") == files_of(tmp_path / "without")
    # Each hidden article gets what it would get if it alone came later.
    together = features(block, hiding.mark(whole.articles))
    for row in HIDDEN:
        later = rest.known().mark(unseen(whole.articles.take(np.array([row]))))
        assert_same(features(block, later), [part[[row]] for part in together])


def test_a_refreshable_block_fitted_again_is_one_fitted_there(name, tmp_path):
    block, _ = fitted(name)
    other = corpus(30, 5, seed=1)
    marked = other.known().mark(other.articles)
    if not block.refreshable:
        with pytest.raises(NotImplementedError, match=name):
            block.refreshed(marked, LocalRunner())
        return
    block.refreshed(marked, LocalRunner()).save(tmp_path / "refreshed")
    fit(name, other.articles, other.known()).save(tmp_path / "fitted")
    assert files_of(tmp_path / "refreshed") == files_of(tmp_path / "fitted")


def test_making_features_leaves_the_articles_as_they_are(name):
    block, known = fitted(name)
    # Lists that hold hidden articles alone say nothing, but stay the articles' lists.
    members = corpus().articles.members
    before = [array.copy() for array in (members.data, members.indices, members.indptr)]
    hiding = Corpus(corpus().articles, corpus().rows[:0], corpus().Y[:0]).known(HIDDEN)
    features(fit(name, corpus().articles, hiding), hiding.mark(corpus().articles))
    features(block, known.mark(corpus().articles))
    for array, copy in zip((members.data, members.indices, members.indptr), before, strict=True):
        assert np.array_equal(array, copy)


def test_an_article_like_a_counted_one_has_features_close_to_its(name):
    # Three lists of 30 articles each about something else.
    random = np.random.default_rng(0)
    group = np.repeat(np.arange(3), 30)
    vectors = 3 * np.eye(6)[group] + random.normal(size=(90, 6)) * 0.4
    articles = Articles.of_names(
        [f"{WORDS[number]} {random.choice(WORDS)}" for number in group],
        [["Ann", "Bo", "Cy"][number] for number in group],
        [[f"L{number}"] for number in group],
        keys=[f"x.example/{number}" for number in range(90)],
        vectors=vectors.astype(np.float32),
    )
    # No two have their own tags left out, so that these say the same of both.
    tagged = np.arange(0, 90, 2)
    whole = Corpus(articles, tagged, np.eye(3, dtype=bool)[group[tagged]])
    block = fit(name, articles, whole.known())
    some = articles.take(np.arange(1, 90, 2))
    counted = features(block, whole.known().mark(some))
    twins = whole.known().mark(unseen(some, keys=[f"y.example/{row}" for row in range(45)]))
    for twin, part in zip(features(block, twins), counted, strict=True):
        if not BLOCKS[name].needs_vectors or name == "text":
            assert np.array_equal(twin, part)
            continue
        cosines = unit_rows(twin) @ unit_rows(part).T
        assert np.diagonal(cosines).min() > 0.95
        other_list = group[1::2][:, None] != group[1::2]
        assert np.diagonal(cosines).mean() > cosines[other_list].mean() + 0.05


def test_an_article_in_no_list_has_nothing_in_blocks_that_need_lists(name):
    block, known = fitted(name)
    articles = corpus().articles
    for alone in (articles, unseen(articles, keys=[f"y.example/{row}" for row in range(40)])):
        parts = features(block, known.mark(alone).in_no_list())
        if name in OF_NEIGHBOURS:
            # Their own vectors alone: the same whoever they are.
            assert_same(parts, [features(block, known.mark(articles).in_no_list())[0]])
            assert np.array_equal(parts[0].any(axis=1), np.arange(40) != WITHOUT_VECTOR)
        else:
            assert all(part.any() != block.needs_lists for part in parts)
    # Whoever is in no list in the first place, too.
    row = np.array([WITHOUT_LIST])
    assert_same(
        features(block, known.mark(articles.take(row))),
        features(block, known.mark(articles.take(row)).in_no_list()),
    )


def test_flipping_an_articles_own_tags_changes_not_one_bit_of_its_features(name):
    whole = corpus()
    block, known = fitted(name)
    before = features(block, known.mark(whole.articles))
    changed_others = False
    # Blocks that don't read tags are the same for one flip as for all.
    for place in range(len(whole.rows) if BLOCKS[name].needs_tags else 1):
        Y = whole.Y.copy()
        Y[place] ^= True
        known = Corpus(whole.articles, whole.rows, Y).known()
        after = features(fit(name, whole.articles, known), known.mark(whole.articles))
        row = whole.rows[place]
        assert_same([part[[row]] for part in after], [part[[row]] for part in before])
        changed_others |= any(
            (part != other).any() for part, other in zip(after, before, strict=True)
        )
    assert changed_others == BLOCKS[name].needs_tags


def test_only_the_settings_that_a_block_names_are_read(name):
    read = set()

    class Watched:
        def __getattr__(self, setting: str) -> object:
            read.add(setting)
            return getattr(SETTINGS, setting)

    marked = fitted(name)[1].mark(corpus().articles)
    BLOCKS[name].fit(marked, Watched(), LocalRunner())
    if "sample_sizes" in read:
        read = read - {"sample_sizes"} | {"graphsage_sample_sizes"}
    assert read == set(BLOCKS[name].settings)
