"""The same candidate under other conditions: nothing that isn't there is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tagsage.evaluate.scenarios import Conditions, Trained, TrainingPart
from tagsage.features import BLOCKS, Articles, KnownArticles
from tagsage.runner import LocalRunner
from tests.evaluate.scenario_corpus import (
    ARTICLES,
    GROUP,
    LABELS,
    LATER,
    SETTINGS,
    TAGGED,
    TAGS,
    TEST,
    TRAIN,
    VECTORS,
    N,
    articles_of,
    conditions_of,
    evaluated,
    inputs_of,
    rows_of,
)
from tests.features.corpora import named_lists, unseen

SETS = {
    "words+list_ids+author_ids": "linear",
    "text+lists+labels+authors": "ovr_logistic",
    "text+memberships": "ovr_logistic",
    "text+graphsage+fastrp": "ovr_logistic",
}


PART = TrainingPart(TRAIN, TAGS[TRAIN], list("abcd"), seed=1)


def train(folder: Path, feature_set: str, *, articles: Articles = ARTICLES, **options) -> Trained:
    conditions = conditions_of(articles, folder, feature_set)
    return conditions.train(f"{feature_set}:{SETS[feature_set]}", PART, **options)


def in_no_list(trained: Trained, rows: np.ndarray):
    return trained.features.transform(trained.features.known.mark(ARTICLES.take(rows)).in_no_list())


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
    conditions = Conditions(ARTICLES, np.arange(N), folders, SETTINGS, tmp_path, LocalRunner())
    few = TrainingPart(TRAIN[:30], TAGS[TRAIN[:30]], list("abcd"), seed=1)
    on_few = conditions.train(f"{feature_set}:ovr_logistic", few)
    known = KnownArticles.of(ARTICLES, TRAIN[:30], TAGS[TRAIN[:30]])
    assert np.array_equal(on_few.features.known.labelled, known.labelled)
    labels = sum(trained.X.block_widths[: trained.X.kinds.index("authors")])
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


def test_what_comes_later_is_unknown_when_earlier_articles_are_learned_from(tmp_path):
    names = {"text": "words:linear", "graph": "words+list_ids+author_ids:linear"}
    moved, texts = GROUP.copy(), list(ARTICLES.texts)
    moved[LATER] = (moved[LATER] + 1) % 4
    for row in LATER:
        texts[row] = f"news of {texts[row]}"
    other = replace(articles_of(moved, VECTORS), texts=texts)
    found = []
    for name, articles in (("one", ARTICLES), ("other", other)):
        inputs = inputs_of(articles, tmp_path / name, names)
        rows, made = evaluated(inputs, "time", tmp_path / name)
        assert [row["test_articles"] for row in rows] == [np.isin(LATER, TAGGED).sum()] * 2
        assert {row["since"] for row in rows} == {"2021-01-01"}
        found.append(made)
    earlier = np.setdiff1d(np.arange(N), LATER)
    for one, same in zip(*found, strict=True):
        assert np.isin(one.part.rows, earlier).all()
        assert np.array_equal(rows_of(one.X, earlier), rows_of(same.X, earlier))
        assert one.fitted.main.to_json() == same.fitted.main.to_json()
        P, Q = (trained.fitted.predict_proba(one.X, earlier) for trained in (one, same))
        assert np.array_equal(P, Q)


def test_no_family_is_in_both_parts_of_the_grouped_split(tmp_path):
    names = {"text": "words:linear", "graph": "words+list_ids+author_ids:linear"}
    inputs = inputs_of(ARTICLES, tmp_path, names)
    rows, made = evaluated(inputs, "grouped", tmp_path)
    test, families = np.load(tmp_path / "test.npy"), LABELS.families
    assert {row["test_articles"] for row in rows} == {len(test)}
    assert 10 < len(test) < 18
    for trained in made:
        learned = np.isin(TAGGED, trained.part.rows)
        assert len(test) + learned.sum() == len(TAGGED)
        assert not np.isin(families[test], families[learned]).any()
