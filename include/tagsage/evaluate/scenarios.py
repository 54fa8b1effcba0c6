"""When the lists help: the best candidate with lists and the best on text, in each scenario.

The leaderboard is *transductive*: features are made with the test articles' text and lists. Beyond
it:

- ``inductive``: test articles and their memberships come later, after states were fitted.
- ``cold_start``: test articles are treated as being in no list.
- ``time``: trained on articles before a date, scored on those after it, which come later.
- ``grouped``: no family of near-copies is in both parts, see :mod:`tagsage.learn.families`.
- ``split 43``: the transductive, inductive and cold-start scenarios on another split.
- ``share 0.5``: trained on a share of the training part: a learning curve.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.evaluate.leaderboard import GRAPH, TEXT
from tagsage.evaluate.scored_candidate import ScoredCandidate
from tagsage.features import BLOCKS, Articles, FeatureSet, KnownArticles, blocks_of
from tagsage.features.fitting import STATE_FOLDER, fit_block, open_matrix
from tagsage.learn.candidate_names import fallback_of
from tagsage.learn.fitting import fit_candidate, refit_candidate, tuning_split
from tagsage.learn.split import (
    Split,
    rows_since,
    split_by_family,
    split_by_time,
    stratified_split,
)

if TYPE_CHECKING:
    from tagsage.features import FeatureMatrix
    from tagsage.features.matrix import BoolArray, IndexArray
    from tagsage.learn.candidate import CalibratedClassifier, FittedCandidate
    from tagsage.learn.labels import IntArray, Labels
    from tagsage.runner import Runner
    from tagsage.settings import Settings

TRANSDUCTIVE, INDUCTIVE, COLD_START = "transductive", "inductive", "cold_start"
TIME, GROUPED = "time", "grouped"
SPLIT, SHARE = "split", "share"
# Positions among the labelled articles, where the test part is not the run's.
TEST_FILE = "test.npy"

Row = dict[str, Any]


class NotMeasuredError(TagsageError):
    """A scenario that can't be evaluated on this corpus, or with these features."""


@dataclass(frozen=True)
class TrainingPart:
    """What a candidate learns from: article indices [m], their tags [m, L], L tags, a seed."""

    rows: IntArray
    Y: BoolArray
    tags: list[str]
    seed: int

    @classmethod
    def of(cls, labels: Labels, seed: int) -> Self:
        """Return the training part of a split."""
        return cls(labels.train_rows, labels.Y_train, labels.tags, seed)


@dataclass(frozen=True)
class Trained:
    """A fitted candidate, what it learned from, features of articles, and what makes them."""

    part: TrainingPart
    fitted: FittedCandidate
    X: FeatureMatrix
    features: FeatureSet


@dataclass(frozen=True)
class Conditions:
    """The corpus with vectors, the folder of each block fitted on it, and a scratch folder.

    Features are made of the articles `rows`: the labelled ones.
    """

    articles: Articles
    rows: IntArray
    folders: Mapping[str, Path]
    settings: Settings
    scratch: Path
    runner: Runner

    def train(
        self,
        candidate: str,
        part: TrainingPart,
        *,
        hidden: npt.NDArray[np.int64] | None = None,
        fallback: CalibratedClassifier | None = None,
        like: FittedCandidate | None = None,
    ) -> Trained:
        """Fit a candidate on another training part; no other tags are read.

        Articles in `hidden` get features like articles that come later. `fallback` is the
        candidate's fallback on this training part, if fitted already. `like` is the candidate as
        fitted on this training part with other features: what was chosen then is kept.
        """
        feature_set, _, classifier = candidate.partition(":")
        known = KnownArticles.of(self.articles, part.rows, part.Y, hidden=hidden)
        tuning = None
        if like is None:
            inner = tuning_split(part.Y, seed=part.seed)
            some = slice(None) if inner is None else inner.train
            tuning = KnownArticles.of(self.articles, part.rows[some], part.Y[some], hidden=hidden)
        anew = Path(tempfile.mkdtemp(dir=self.scratch))
        folders = dict(self.folders)
        for name in blocks_of(feature_set):
            if hidden is not None or BLOCKS[name].needs_tags:
                folder = folders[name] = anew / name
                folder.mkdir()
                fit_block(
                    folder,
                    name,
                    self.articles,
                    known,
                    self.settings,
                    self.runner,
                    rows=self.rows,
                    tuning=tuning,
                )
        in_list = known.in_known_list(known.mark(self.articles))
        X = open_matrix(folders, feature_set, in_list)
        features = _load_blocks(known, folders, feature_set)
        if like is not None:
            return Trained(part, refit_candidate(X, part.Y, part.rows, like=like), X, features)
        fitted = fit_candidate(
            X,
            part.Y,
            part.rows,
            tags=part.tags,
            classifier=classifier,
            seed=part.seed,
            tuning=open_matrix(folders, feature_set, in_list, tuning=True),
            settings=self.settings,
            fallback=fallback,
            search_trials=self.settings.search_trials,
        )
        return Trained(part, fitted, X, features)


@dataclass(frozen=True)
class ScenarioInputs:
    """What scenarios are evaluated on."""

    conditions: Conditions
    labels: Labels
    known: KnownArticles  # what the run's blocks were fitted on
    dates: npt.NDArray[np.datetime64]  # every article's
    candidates: Mapping[str, str]  # per role: ``text``, ``graph``
    compared: FittedCandidate  # the graph candidate, as fitted for the leaderboard


def evaluate_scenario(inputs: ScenarioInputs, scenario: str, folder: Path) -> list[Row]:
    """Evaluate both candidates in one scenario, such as ``inductive``, ``split 43``, ``share 0.5``.

    Returns a row per candidate, with the name of its :class:`ScoredCandidate` in `folder`. Raises
    `NotMeasuredError` when the corpus or a candidate's features don't allow the scenario.
    """
    evaluation = _Evaluation(inputs, folder)
    kind, _, argument = scenario.partition(" ")
    if kind == INDUCTIVE:
        return evaluation.inductive()
    if kind == COLD_START:
        return evaluation.cold_start()
    if kind == TIME:
        return evaluation.later_articles()
    if kind == GROUPED:
        return evaluation.other_families()
    if kind == SPLIT:
        return evaluation.other_split(int(argument))
    return evaluation.smaller_share(float(argument))


@dataclass(frozen=True)
class _Evaluation:
    inputs: ScenarioInputs
    folder: Path

    @property
    def settings(self) -> Settings:
        return self.inputs.conditions.settings

    def inductive(self) -> list[Row]:
        labels = self.inputs.labels
        part = TrainingPart.of(labels, self.settings.seed)
        return [self.score_inductive(labels, part, self.inputs.compared)]

    def cold_start(self) -> list[Row]:
        labels, compared = self.inputs.labels, self.inputs.compared
        if compared.fallback is None:
            raise NotMeasuredError("its features say nothing of an article in no list")
        feature_set = self.inputs.candidates[GRAPH].partition(":")[0]
        features = _load_blocks(self.inputs.known, self.inputs.conditions.folders, feature_set)
        part = TrainingPart.of(labels, self.settings.seed)
        return [self.score_cold_start(labels, part, compared, features)]

    def later_articles(self) -> list[Row]:
        labels = self.inputs.labels
        dates = self.inputs.dates[labels.rows]
        split = split_by_time(dates, test_share=self.settings.test_share)
        if split is None:
            raise NotMeasuredError(
                "the tagged articles have no dates to tell earlier from later ones"
            )
        since = dates[split.test].min()
        # Also those without tags, which nobody had read then either.
        hidden = rows_since(self.inputs.dates, since)
        return self.score_split(TIME, split, hidden=hidden, since=str(since)[:10])

    def other_families(self) -> list[Row]:
        labels, settings = self.inputs.labels, self.settings
        split = split_by_family(
            labels.Y, labels.families, test_share=settings.test_share, seed=settings.seed
        )
        if split is None:
            raise NotMeasuredError("all tagged articles are of one family of near-copies")
        return self.score_split(GROUPED, split)

    def other_split(self, seed: int) -> list[Row]:
        settings, labels = self.settings, self.inputs.labels
        split = stratified_split(labels.Y, test_share=settings.test_share, seed=seed)
        labels = replace(labels, train=split.train, test=split.test)
        part = TrainingPart.of(labels, seed)
        both = self.train_both(part)
        rows = self.score_both(TRANSDUCTIVE, both, (labels.test_rows, labels.Y_test))
        graph = both[GRAPH]
        if COLD_START in settings.chosen_scenarios() and graph.fitted.fallback is not None:
            rows.append(self.score_cold_start(labels, part, graph.fitted, graph.features))
        if INDUCTIVE in settings.chosen_scenarios():
            rows.append(self.score_inductive(labels, part, graph.fitted))
        return rows

    def smaller_share(self, share: float) -> list[Row]:
        labels, seed = self.inputs.labels, self.settings.seed
        # The same order for all shares: a smaller one is part of a larger one.
        order = np.random.default_rng(seed).permutation(len(labels.train))
        chosen = np.sort(order[: max(1, round(share * len(order)))])
        part = TrainingPart(labels.train_rows[chosen], labels.Y_train[chosen], labels.tags, seed)
        test = (labels.test_rows, labels.Y_test)
        return self.score_both(SHARE, self.train_both(part), test, share=share)

    def train_both(
        self, part: TrainingPart, *, hidden: IntArray | None = None
    ) -> dict[str, Trained]:
        """Fit both; where possible, the candidate on text is the other's fallback."""
        names, train = self.inputs.candidates, self.inputs.conditions.train
        text = train(names[TEXT], part, hidden=hidden)
        fallback = text.fitted.main if fallback_of(names[GRAPH]) == names[TEXT] else None
        graph = train(names[GRAPH], part, hidden=hidden, fallback=fallback)
        return {TEXT: text, GRAPH: graph}

    def score_both(
        self,
        scenario: str,
        both: Mapping[str, Trained],
        test: tuple[IndexArray, BoolArray],
        **about: Any,
    ) -> list[Row]:
        return [self.score(role, scenario, one, test, **about) for role, one in both.items()]

    def score_split(
        self, scenario: str, split: Split, *, hidden: IntArray | None = None, **about: Any
    ) -> list[Row]:
        """Fit and score both on a split of the labelled articles, and save its test part."""
        labels = self.inputs.labels
        rows, Y = labels.rows[split.train], labels.Y[split.train]
        part = TrainingPart(rows, Y, labels.tags, self.settings.seed)
        np.save(self.folder / TEST_FILE, split.test, allow_pickle=False)
        both = self.train_both(part, hidden=hidden)
        return self.score_both(
            scenario, both, (labels.rows[split.test], labels.Y[split.test]), **about
        )

    def score_inductive(self, labels: Labels, part: TrainingPart, plain: FittedCandidate) -> Row:
        name = self.inputs.candidates[GRAPH]
        hidden = labels.test_rows
        trained = self.inputs.conditions.train(name, part, hidden=hidden, like=plain)
        return self.score(GRAPH, INDUCTIVE, trained, (hidden, labels.Y_test))

    def score_cold_start(
        self, labels: Labels, part: TrainingPart, fitted: FittedCandidate, features: FeatureSet
    ) -> Row:
        articles = self.inputs.conditions.articles.take(labels.test_rows)
        X = features.transform(features.known.mark(articles).in_no_list())
        trained = Trained(part, fitted, X, features)
        return self.score(GRAPH, COLD_START, trained, (np.arange(len(X)), labels.Y_test))

    def score(
        self,
        role: str,
        scenario: str,
        trained: Trained,
        test: tuple[IndexArray, BoolArray],
        **about: Any,
    ) -> Row:
        """Score and save predictions of test articles (rows and tags), and return the row."""
        rows, Y = test
        predictions = trained.fitted.predict(trained.X, rows)
        scored = ScoredCandidate.of(trained.fitted, predictions, Y, Y_train=trained.part.Y)
        name = f"{scenario}-{role}"
        scored.save(self.folder / name)
        return {
            "scenario": scenario,
            "role": role,
            "candidate": self.inputs.candidates[role],
            "folder": name,
            "seed": trained.part.seed,
            **about,
            **scored.scores,
        }


def _load_blocks(known: KnownArticles, folders: Mapping[str, Path], feature_set: str) -> FeatureSet:
    return FeatureSet(
        known,
        {name: BLOCKS[name].load(folders[name] / STATE_FOLDER) for name in blocks_of(feature_set)},
    )
