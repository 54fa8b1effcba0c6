"""Taggers fitted on articles for real."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tagsage.features import Articles, FeatureMatrix, KnownArticles, blocks_of
from tagsage.features.fitting import STATE_FOLDER, fit_block, open_matrix
from tagsage.learn.calibration import Calibration
from tagsage.learn.candidate import CalibratedClassifier
from tagsage.learn.fitting import fit_candidate, tuning_split
from tagsage.learn.thresholds import Thresholds
from tagsage.registry.tagger import write_tagger
from tagsage.runner import LocalRunner
from tagsage.settings import Settings


def write_fitted(
    folder: Path,
    articles: Articles,
    rows: np.ndarray,
    Y: np.ndarray,
    *,
    tags: Sequence[str],
    candidate: str,
    embedder: Path | None = None,
    plain: bool = False,
    **settings: Any,
) -> tuple[Path, FeatureMatrix]:
    """Fit a candidate on tagged articles, as a run does, and write its tagger.

    `plain` takes its scores as they come and a threshold of a half. Returns the folder of the
    tagger, ``tagger``, and the features of all articles that it was fitted on.
    """
    feature_set, _, classifier = candidate.partition(":")
    chosen, runner, names = Settings(**settings), LocalRunner(), blocks_of(feature_set)
    known = KnownArticles.of(articles, rows, Y)
    inner = tuning_split(Y, seed=0)
    some = slice(None) if inner is None else inner.train
    tuning = KnownArticles.of(articles, rows[some], Y[some])
    known.save(folder / "known")
    folders = {name: folder / name for name in names}
    for name, of_block in folders.items():
        fit_block(of_block, name, articles, known, chosen, runner, tuning=tuning)
    in_list = known.in_known_list(known.mark(articles))
    X = open_matrix(folders, feature_set, in_list)
    seen = open_matrix(folders, feature_set, in_list, tuning=True)
    fitted = fit_candidate(X, Y, rows, tags=tags, classifier=classifier, seed=0, tuning=seen)
    if plain:
        main, fallback = (
            part
            and CalibratedClassifier(
                part.classifier,
                Calibration.identity(len(tags)),
                Thresholds.constant(len(tags)),
            )
            for part in (fitted.main, fitted.fallback)
        )
        fitted = dataclasses.replace(fitted, main=main, fallback=fallback)
    fitted.save(folder / "candidate")
    tagger = folder / "tagger"
    tagger.mkdir()
    write_tagger(
        tagger,
        candidate=folder / "candidate",
        feature_set=feature_set,
        known=folder / "known",
        blocks={name: of_block / STATE_FOLDER for name, of_block in folders.items()},
        embedder=embedder,
        dimensions=articles.vectors.shape[1],
    )
    return tagger, X
