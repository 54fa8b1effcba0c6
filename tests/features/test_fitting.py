"""Blocks fitted on a corpus, each into a folder; and a block that somebody adds."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.features import BLOCKS, Articles, Block, FeatureSet, blocks_of, fitting
from tagsage.features.articles import MarkedArticles
from tagsage.features.feature_set import gather_feature_set
from tagsage.features.fitting import (
    STATE_FOLDER,
    fit_block,
    open_matrix,
    open_parts,
    write_parts,
)
from tagsage.learn.candidate_names import check_candidates
from tagsage.learn.fitting import fit_candidate
from tagsage.runner import LocalRunner
from tests.features.corpora import SETTINGS, Corpus, corpus, features, fit, fitted, rows_of, unseen


class TitleLength(Block):
    """How much longer a title is than the others': a number, and a state of one number."""

    name: ClassVar[str] = "title_length"

    def __init__(self, mean: float) -> None:
        self.mean = mean

    @classmethod
    def fit(cls, articles: MarkedArticles, settings, runner) -> Self:
        counted = articles.only_counted()
        lengths = runner.map(lambda part: sum(map(len, part.texts)), counted.partitions())
        return cls(sum(lengths) / len(counted))

    def transform(self, articles: Articles) -> tuple[np.ndarray]:
        lengths = np.array([len(text) for text in articles.texts], dtype=np.float32)
        return (lengths[:, None] - np.float32(self.mean),)

    def state(self) -> dict[str, float]:
        return {"mean": self.mean}


def fit_all(base: Path, feature_set: str, whole: Corpus, **options) -> dict[str, Path]:
    """Fit the blocks of a feature set; return the folder of each."""
    folders = {}
    for name in blocks_of(feature_set):
        folders[name] = base / name
        folders[name].mkdir(parents=True)
        fit_block(
            folders[name],
            name,
            whole.articles,
            whole.known(),
            SETTINGS,
            LocalRunner(),
            **options,
        )
    return folders


def test_a_block_is_added_by_one_class_and_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(BLOCKS, "title_length", TitleLength)
    feature_set = "title_length+lists"
    check_candidates([(feature_set, "ovr_logistic")])
    whole = corpus()
    folders = fit_all(tmp_path, feature_set, whole)
    in_list = np.diff(whole.articles.members.indptr) > 0
    X = open_matrix(folders, feature_set, in_list)
    assert X.kinds == ("title_length", "lists", "lists")
    fitted = fit_candidate(
        X, whole.Y, whole.rows, tags=["a", "b", "c"], classifier="ovr_logistic", seed=0
    )
    # Its fallback is made of the new block alone, since that one needs no lists.
    assert fitted.fallback is not None
    assert fitted.fallback.classifier.fitted["features"] == 1
    whole.known().save(tmp_path / "known")
    states = {name: folder / STATE_FOLDER for name, folder in folders.items()}
    gather_feature_set(tmp_path / "model", tmp_path / "known", states)
    served = FeatureSet.load(tmp_path / "model", feature_set)
    assert served.needs_vectors
    asked = served.transform(unseen(whole.articles.take(np.arange(3, 9))))
    assert np.array_equal(rows_of(asked), rows_of(X)[3:9])
    assert np.array_equal(
        fitted.predict_proba(asked, np.arange(6)), fitted.predict_proba(X, np.arange(3, 9))
    )


@pytest.mark.parametrize("name", BLOCKS)
def test_features_for_tuning_know_the_tags_of_the_tuning_part_alone(name, tmp_path):
    whole = corpus()
    part = Corpus(whole.articles, whole.rows[:15], whole.Y[:15])
    flipped = whole.Y.copy()
    flipped[15:] ^= True
    in_list = np.ones(40, dtype=bool)
    made = {}
    for kind, Y in (("plain", whole.Y), ("flipped", flipped)):
        folders = fit_all(
            tmp_path / kind,
            name,
            Corpus(whole.articles, whole.rows, Y),
            tuning=part.known(),
        )
        made[kind] = [
            rows_of(open_matrix(folders, name, in_list, tuning=tuning)) for tuning in (False, True)
        ]
    assert np.array_equal(made["plain"][1], made["flipped"][1])
    assert np.array_equal(made["plain"][0], made["flipped"][0]) != BLOCKS[name].needs_tags
    block = fit(name, whole.articles, part.known())
    expected = features(block, part.known().mark(whole.articles))
    assert np.array_equal(made["plain"][1], np.concatenate(expected, axis=1))


@pytest.mark.parametrize("name", ["words", "lists", "labels"])
@pytest.mark.parametrize("size", [1, 7])
def test_parts_written_partition_by_partition_are_those_of_all_at_once(
    name, size, tmp_path, monkeypatch
):
    monkeypatch.setattr(fitting, "PARTITION_ROWS", size)
    block, known = fitted(name)
    marked, rows = known.mark(corpus().articles), np.arange(1, 40, 3)
    columns = write_parts(tmp_path / "parts", block, marked, rows, LocalRunner())
    parts = open_parts(tmp_path / "parts")
    expected = features(block, marked.take(rows))
    assert columns == [part.shape[1] for part in expected]
    assert len(parts) == len(expected)
    for part, other in zip(parts, expected, strict=True):
        assert bool(sp.issparse(part)) == block.sparse
        assert np.array_equal(part.toarray() if block.sparse else part, other)
