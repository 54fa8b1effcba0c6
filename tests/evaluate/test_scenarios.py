"""The same candidate under other conditions: nothing that isn't there is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tagsage.evaluate.scenarios import Conditions, Trained, TrainingPart
from tagsage.features import BLOCKS, Articles, KnownArticles
from tagsage.features.fitting import fit_block
from tagsage.runner import LocalRunner
from tests.features.corpora import SETTINGS, named_lists, unseen

N = 80
RANDOM = np.random.default_rng(0)
GROUP = RANDOM.integers(0, 4, N)
VECTORS = RANDOM.normal(size=(N, 6)).astype(np.float32)
TAGS = np.eye(4, dtype=bool)[GROUP]
TRAIN, TEST = np.arange(0, 60), np.arange(60, N)
SETS = {
    "words+list_ids+author_ids": "linear",
    "text+lists+labels+authors": "ovr_logistic",
    "text+memberships": "ovr_logistic",
    "text+graphsage+fastrp": "ovr_logistic",
}


def articles_of(group: np.ndarray, vectors: np.ndarray) -> Articles:
    """Return articles whose lists tell their group; every fifth is in none."""
    n = len(group)
    return Articles.of_names(
        [f"word{number % 7} about{number % 3}" for number in range(n)],
        [f"author {number % 9}" for number in range(n)],
        [
            [] if number % 5 == 0 else [f"L{place}", f"M{number % 4}"]
            for number, place in enumerate(group)
        ],
        keys=[f"x.example/{number}" for number in range(n)],
        vectors=vectors,
    )


ARTICLES = articles_of(GROUP, VECTORS)
PART = TrainingPart(TRAIN, TAGS[TRAIN], list("abcd"), seed=1)


def conditions_of(articles: Articles, folder: Path, feature_set: str) -> Conditions:
    """Fit blocks on the whole corpus, as the stage of the features does."""
    known = KnownArticles.of(articles, TRAIN, TAGS[TRAIN])
    folders = {}
    for name in feature_set.split("+"):
        folders[name] = folder / name
        folders[name].mkdir(parents=True)
        fit_block(folders[name], name, articles, known, SETTINGS, LocalRunner())
    (folder / "anew").mkdir()
    return Conditions(articles, folders, SETTINGS, folder / "anew")


def train(folder: Path, feature_set: str, *, articles: Articles = ARTICLES, **options) -> Trained:
    conditions = conditions_of(articles, folder, feature_set)
    return conditions.train(f"{feature_set}:{SETS[feature_set]}", PART, **options)


def in_no_list(trained: Trained, rows: np.ndarray):
    return trained.features.transform(trained.features.known.mark(ARTICLES.take(rows)).in_no_list())


def rows_of(X, rows: np.ndarray) -> np.ndarray:
    return X.sparse_rows(rows).toarray()


@pytest.fixture(params=SETS)
def feature_set(request) -> str:
    return request.param


def test_hidden_articles_change_neither_model_nor_others_features(feature_set, tmp_path):
    plain = train(tmp_path / "plain", feature_set, hidden=TEST)
    # Other vectors, and other lists of the same names.
    moved, vectors = GROUP.copy(), VECTORS.copy()
    moved[TEST] = (moved[TEST] + 1) % 4
    vectors[TEST] = 9
    other = train(
        tmp_path / "other", feature_set, articles=articles_of(moved, vectors), hidden=TEST
    )
    assert np.array_equal(rows_of(plain.X, TRAIN), rows_of(other.X, TRAIN))
    P, Q = (trained.fitted.predict_proba(plain.X, TRAIN) for trained in (plain, other))
    assert np.array_equal(P, Q)
    assert plain.fitted.main.to_json() == other.fitted.main.to_json()


def test_a_hidden_article_gets_what_it_gets_by_itself_later(feature_set, tmp_path):
    trained = train(tmp_path / "trained", feature_set, hidden=TEST)
    P = trained.fitted.predict_proba(trained.X, TEST)
    for place, row in enumerate(TEST):
        later = trained.features.transform(unseen(ARTICLES.take(np.array([row]))))
        assert np.array_equal(rows_of(later, np.array([0])), rows_of(trained.X, np.array([row])))
        alone = trained.fitted.predict_proba(later, np.array([0]))
        assert np.array_equal(alone[0], P[place])


def test_without_hidden_articles_features_are_those_of_the_whole_corpus(feature_set, tmp_path):
    trained = train(tmp_path / "trained", feature_set)
    everyone = trained.features.transform(ARTICLES)
    rows = np.arange(N)
    assert np.array_equal(rows_of(everyone, rows), rows_of(trained.X, rows))
    assert np.array_equal(everyone.in_list, trained.X.in_list)
    made_anew = {folder.name for folder in (tmp_path / "trained/anew").glob("*/*")}
    assert made_anew == {name for name in feature_set.split("+") if BLOCKS[name].needs_tags}


def test_tags_of_the_part_alone_are_read(tmp_path):
    feature_set = "text+lists+labels+authors"
    trained = train(tmp_path / "trained", feature_set)
    folders = {name: tmp_path / "trained" / name for name in feature_set.split("+")}
    conditions = Conditions(ARTICLES, folders, SETTINGS, tmp_path)
    few = TrainingPart(TRAIN[:30], TAGS[TRAIN[:30]], list("abcd"), seed=1)
    on_few = conditions.train(f"{feature_set}:ovr_logistic", few)
    known = KnownArticles.of(ARTICLES, TRAIN[:30], TAGS[TRAIN[:30]])
    assert np.array_equal(on_few.features.known.labelled, known.labelled)
    labels = trained.X.columns_of("authors").start
    assert (rows_of(on_few.X, TEST)[:, :labels] != rows_of(trained.X, TEST)[:, :labels]).any()
    marked = known.mark(ARTICLES)
    block = BLOCKS["labels"].fit(marked, SETTINGS, LocalRunner())
    assert np.array_equal(block.transform(marked)[0], on_few.X.blocks[3])


def test_an_article_taken_to_be_in_no_list_is_like_one_that_is_in_none(feature_set, tmp_path):
    trained = train(tmp_path / "trained", feature_set)
    X = in_no_list(trained, TEST)
    without = TEST[[not lists for lists in named_lists(ARTICLES.take(TEST))]]
    assert len(without) == 4
    places = without - TEST[0]
    assert np.array_equal(rows_of(X, places), rows_of(trained.X, without))
