"""The same candidate under other conditions: what it learns from, and what is there when it does.

The leaderboard is *transductive*: a test article's text and lists were there when features were
made. Beyond it:

- ``inductive``: test articles and their memberships were not there; they come later.
- ``cold_start``: every test article is taken for being in no list.
- ``time``: trained on articles before a date, judged on those after it.
- ``split``: the transductive, inductive and cold-start scenarios on another split.
- ``share``: trained on a share of the training part: a learning curve.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tagsage.errors import TagsageError
from tagsage.evaluate.scenario_names import GRAPH, TEXT, TEXT_SETS
from tagsage.features import BLOCKS, Articles, FeatureSet, Known, blocks_of, list_free_set
from tagsage.features import needs_lists as set_needs_lists
from tagsage.features.fitting import STATE_FOLDER, fit_block, open_matrix
from tagsage.learn.fitting import Search, fit_candidate, tuning_split
from tagsage.runner import LocalRunner

if TYPE_CHECKING:
    from tagsage.features import FeatureMatrix
    from tagsage.learn.candidate import FittedCandidate, Tagging
    from tagsage.settings import Settings
    from tagsage.settings.learn import AssignmentSettings


class NotMeasuredError(TagsageError):
    """A scenario that the corpus or a candidate's features leave without an answer."""


@dataclass(frozen=True)
class TrainingPart:
    """What a candidate learns from.

    Attributes
    ----------
    rows : int64 array, shape [m]
        Article indices.
    Y : bool array, shape [m, L]
        Their tags.
    tags : list of str, length L
        The tags of the columns.
    seed : int
        Seed of the fit.
    """

    rows: npt.NDArray[np.int64]
    Y: npt.NDArray[np.bool_]
    tags: list[str]
    seed: int


@dataclass(frozen=True)
class Trained:
    """A fitted candidate, the features it was fitted on, and what makes them.

    Attributes
    ----------
    fitted : FittedCandidate
        The candidate.
    X : FeatureMatrix, shape [n, d]
        Features of all articles.
    features : FeatureSet
        What made them.
    """

    fitted: FittedCandidate
    X: FeatureMatrix
    features: FeatureSet


@dataclass(frozen=True)
class Conditions:
    """A corpus, and how candidates are fitted on it.

    Attributes
    ----------
    articles : Articles
        The corpus, with vectors.
    folders : mapping of str to pathlib.Path
        Of each block that was fitted on the whole corpus.
    settings : Settings
        Those of the blocks are read.
    assignment : AssignmentSettings
        How tags are assigned.
    search : Search or None
        Hyper-parameters to try.
    """

    articles: Articles
    folders: Mapping[str, Path]
    settings: Settings
    assignment: AssignmentSettings
    search: Search | None = None

    def train(
        self,
        candidate: str,
        part: TrainingPart,
        folder: Path,
        *,
        hidden: npt.NDArray[np.int64] | None = None,
        fallback: Tagging | None = None,
    ) -> Trained:
        """Fit a candidate on another training part; no other tag is read.

        Parameters
        ----------
        candidate : str
            ``feature_set:classifier``.
        part : TrainingPart
            What is learned from.
        folder : pathlib.Path
            An existing folder; takes the blocks that are fitted anew: those made of tags and,
            where articles are hidden, all.
        hidden : int64 array, optional
            Articles that aren't there while states are fitted. Their features are made of what
            the states say without them, as those of articles that come later.
        fallback : Tagging, optional
            The candidate's fallback on this training part, where it was fitted already.
        """
        feature_set, _, classifier = candidate.partition(":")
        known = Known.of(self.articles, part.rows, part.Y, hidden=hidden)
        inner = tuning_split(part.Y, seed=part.seed)
        some = slice(None) if inner is None else inner.train
        tuning = Known.of(self.articles, part.rows[some], part.Y[some], hidden=hidden)
        folders = dict(self.folders)
        for name in blocks_of(feature_set):
            if hidden is not None or BLOCKS[name].needs_tags:
                folders[name] = folder / name
                folders[name].mkdir()
                fit_block(
                    folders[name],
                    name,
                    self.articles,
                    known,
                    self.settings,
                    LocalRunner(),
                    tuning=tuning,
                )
        in_list = known.in_known_list(known.mark(self.articles))
        X = open_matrix(folders, feature_set, in_list)
        fitted = fit_candidate(
            X,
            part.Y,
            part.rows,
            tags=part.tags,
            classifier=classifier,
            seed=part.seed,
            tuning=open_matrix(folders, feature_set, in_list, tuning=True),
            assignment=self.assignment,
            fallback=fallback,
            search=self.search,
        )
        return Trained(fitted, X, load_blocks(known, folders, feature_set))


def load_blocks(known: Known, folders: Mapping[str, Path], feature_set: str) -> FeatureSet:
    """Load the fitted blocks of a feature set.

    Parameters
    ----------
    known : Known
        What they were fitted on.
    folders : mapping of str to pathlib.Path
        The folder of each block, from :func:`tagsage.features.fitting.fit_block`.
    feature_set : str
        Its name.
    """
    return FeatureSet(
        known,
        {name: BLOCKS[name].load(folders[name] / STATE_FOLDER) for name in blocks_of(feature_set)},
    )


def as_in_no_list(
    features: FeatureSet, articles: Articles, rows: npt.NDArray[np.int64]
) -> FeatureMatrix:
    """Return the features of some articles, were they in no list."""
    return features.transform(features.known.mark(articles.take(rows)).in_no_list())


def best_of_roles(ranking: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the best candidate on text alone and the best that knows of lists.

    Parameters
    ----------
    ranking : list of dict
        The lines of the leaderboard, the best first: ``candidate``, and what else they hold.

    Returns
    -------
    dict of str to dict
        By role (``text``, ``graph``). A role that no candidate has is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    for row in ranking:
        feature_set = row["candidate"].partition(":")[0]
        role = GRAPH if set_needs_lists(feature_set) else TEXT if feature_set in TEXT_SETS else ""
        if role:
            found.setdefault(role, row)
    return found


def fallback_of(candidate: str) -> str:
    """Return the candidate that answers in its place for articles in no list; empty for none."""
    feature_set, _, classifier = candidate.partition(":")
    rest = list_free_set(feature_set)
    return f"{rest}:{classifier}" if rest and set_needs_lists(feature_set) else ""
