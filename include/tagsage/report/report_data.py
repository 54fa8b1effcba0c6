"""What the report shows of a run: plain values, gathered by the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tagsage.report.corpus_profile import CorpusProfile


@dataclass(frozen=True)
class PredictedTag:
    """A tag predicted for an article, or suggested to it."""

    tag: str
    score: float
    """Its probability."""
    assigned: bool
    because: str = ""
    threshold: float | None = None
    """None where it is not shown."""


@dataclass(frozen=True)
class Example:
    """An article with predicted or suggested tags, best first."""

    title: str
    subtitle: str
    url: str
    """Becomes a link only when it is a web address."""
    tags: Sequence[PredictedTag]


@dataclass(frozen=True)
class Predicted:
    """How many articles have no tags, how many of them got some, and from which model."""

    articles: int
    assigned: int
    tags: int
    """Tags assigned in all."""
    version: str
    candidate: str


@dataclass(frozen=True)
class ChangedArticle:
    """An article whose assigned tags are not those of the run before."""

    title: str
    url: str
    gained: Sequence[str]
    lost: Sequence[str]


@dataclass(frozen=True)
class Changes:
    """What is new in the predictions, and which tags are suggested to tagged articles."""

    counts: Mapping[str, int] | None
    """See :class:`tagsage.evaluate.changes.ChangeCounts`; None without earlier predictions."""
    written: Mapping[str, int]
    """Pairs of article and tag: ``added``, ``changed``, ``removed``, ``unchanged`` in the store."""
    articles: Sequence[ChangedArticle] = ()
    """Some of them."""
    suggested: Mapping[str, int] | None = None
    """``tagged_articles``; ``articles``: with a suggestion; ``tags``: suggested in all."""
    suggestions: Sequence[Example] = ()
    """Some of them."""


@dataclass(frozen=True)
class Checked:
    """What was checked of the corpus before training."""

    compared_with: str
    """The run whose corpus it was compared with; empty without one."""
    checks: Sequence[Mapping[str, Any]]
    """Each ``what``, ``measure``, ``before``, ``current``, ``value``, ``limit``, ``passed``."""
    failed: Sequence[str]
    """Sentences."""


@dataclass(frozen=True)
class Comparison:
    """What the best candidate with lists gains over the best on text, and how sure that is."""

    text: str
    graph: str
    sentences: Sequence[str]
    gains: pd.DataFrame
    """See :func:`tagsage.evaluate.findings.gains`."""
    intervals: pd.DataFrame
    """See :func:`tagsage.evaluate.bootstrap.paired_bootstrap`."""
    slices: pd.DataFrame
    """See :func:`tagsage.evaluate.slices.slice_scores`; with a column ``candidate``."""
    study: pd.DataFrame
    """See :func:`tagsage.evaluate.study.study_table`."""
    curves: Mapping[str, pd.DataFrame]
    """Precision and recall by candidate; see :func:`tagsage.evaluate.metrics.precision_recall`."""
    per_tag: Mapping[str, pd.DataFrame]
    reliability: pd.DataFrame
    """Of the candidate with lists; see :func:`tagsage.evaluate.metrics.reliability`."""
    calibration_errors: Mapping[str, float]
    """``ece`` and ``ece_top_5`` of the candidate with lists."""
    learning: pd.DataFrame
    """Columns ``candidate``, ``share`` and the metrics; empty without a learning curve."""
    not_measured: Mapping[str, str]
    """Scenarios without a result, and why."""


@dataclass(frozen=True)
class ReportData:
    """All that the page shows; it says that an empty part is empty, or leaves it out."""

    run_id: str
    started: str
    """For people: ``22 November 2026, 02:00 UTC``."""
    version: str
    corpus_name: str
    profile: CorpusProfile
    leaderboard: pd.DataFrame
    """One row per candidate, best first: ``candidate``, keys of METRICS, ``fit_seconds``."""
    per_tag: pd.DataFrame
    """The winner's: ``tag``, ``precision``, ``recall``, ``f1``, ``support`` (test articles)."""
    split: Mapping[str, float]
    """``train_articles``, ``test_articles``, ``seed``."""
    predicted: Predicted
    trial: bool = False
    """Whether other candidates than the configured ones were compared."""
    promoted: bool | None = None
    """Whether the winner is champion now; None when that was not decided."""
    promotion_reason: str = ""
    checks: Sequence[Mapping[str, Any]] = ()
    """The guards of promotion; see :class:`tagsage.evaluate.promotion.Guard`."""
    gain: Mapping[str, Any] | None = None
    """The winner's gain over the champion; see :class:`tagsage.evaluate.promotion.Gain`."""
    examples: Sequence[Example] = ()
    graph: Mapping[str, Any] = field(default_factory=dict)
    """What is known of the projection: label -> number or text."""
    graphsage_losses: Sequence[float] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    """What was paid for the vectors: label -> number or text."""
    quarantine: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Columns ``file``, ``kind``, ``reason``, ``rows``."""
    stages: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Columns ``stage``, ``seconds``, in the order they ran; those of one name are added up."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    harvested: str = ""
    """How the harvest before the run ended."""
    comparison: Comparison | None = None
    """None without a candidate on text, or without one with lists."""
    changes: Changes | None = None
    checked: Checked | None = None
    unusable: str = ""
    """Why the champion could not predict; `predicted` and `examples` are then of an earlier run."""
    notes: Sequence[str] = ()
    """Sentences under the leaderboard, such as what was left out, and why."""
