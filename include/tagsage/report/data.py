"""What the report tells of a run: plain values, gathered by the stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from tagsage.report.eda import CorpusProfile


@dataclass(frozen=True)
class PredictedTag:
    """A tag proposed for an article.

    Attributes
    ----------
    tag : str
        The tag.
    score : float
        Its probability, 0 to 1.
    assigned : bool
        Whether the score reaches the threshold.
    because : str
        What speaks for it, in words that may hold anything; empty where it was not explained.
    threshold : float or None
        What the score has to reach; None where it is not shown.
    """

    tag: str
    score: float
    assigned: bool
    because: str = ""
    threshold: float | None = None


@dataclass(frozen=True)
class Example:
    """An article without tags, and what the winner says of it.

    Attributes
    ----------
    title, subtitle : str
        Its text; may hold anything.
    url : str
        Its address; becomes a link when it is a web address.
    tags : sequence of PredictedTag
        Best first.
    """

    title: str
    subtitle: str
    url: str
    tags: Sequence[PredictedTag]


@dataclass(frozen=True)
class Predicted:
    """How many articles without tags got some.

    Attributes
    ----------
    articles : int
        Articles without tags that the model was asked about.
    assigned : int
        Those of them that got at least one tag.
    tags : int
        Tags assigned in all.
    version, candidate : str
        Which model gave them: its version in the registry, and the candidate that it was.
    """

    articles: int
    assigned: int
    tags: int
    version: str
    candidate: str


@dataclass(frozen=True)
class ChangedArticle:
    """An article whose assigned tags are not those of the run before.

    Attributes
    ----------
    title, url : str
        As for :class:`Example`.
    gained, lost : sequence of str
        Tags assigned now and not before, and the other way round.
    """

    title: str
    url: str
    gained: Sequence[str]
    lost: Sequence[str]


@dataclass(frozen=True)
class Changes:
    """What is new in the predictions, and which tags are suggested to tagged articles.

    Attributes
    ----------
    counts : mapping of str to int, or None
        See :class:`tagsage.evaluate.changes.ChangeCounts`; None: there were no earlier predictions.
    written : mapping of str to int
        What the store wrote: ``added``, ``changed``, ``removed`` and ``unchanged`` pairs of article
        and tag.
    articles : sequence of ChangedArticle
        A few of the articles that changed.
    suggested : mapping of str to int, or None
        ``tagged_articles``, ``articles`` (with a suggestion), ``tags`` (suggested in all);
        None: nothing was suggested, since the setting is off or the run is a trial.
    suggestions : sequence of Example
        A few articles with the tags suggested to them.
    """

    counts: Mapping[str, int] | None
    written: Mapping[str, int]
    articles: Sequence[ChangedArticle] = ()
    suggested: Mapping[str, int] | None = None
    suggestions: Sequence[Example] = ()


@dataclass(frozen=True)
class Checked:
    """What was checked of the corpus before anything was trained on it.

    Attributes
    ----------
    compared_with : str
        The run whose corpus it was compared with; empty: there was none.
    checks : sequence of mapping
        One a check: ``what``, ``measure``, ``before``, ``current`` (str), ``value``, ``limit``
        (float), ``passed`` (bool).
    failed : sequence of str
        A sentence for each check that failed.
    """

    compared_with: str
    checks: Sequence[Mapping[str, Any]]
    failed: Sequence[str]


@dataclass(frozen=True)
class Comparison:
    """What the best candidate with lists gains over the best on text, and how sure that is.

    Attributes
    ----------
    text, graph : str
        The two candidates.
    sentences : sequence of str
        What was found, in plain words.
    gains : pandas.DataFrame
        See :func:`tagsage.evaluate.findings.gains`.
    intervals : pandas.DataFrame
        See :func:`tagsage.evaluate.bootstrap.paired_bootstrap`.
    slices : pandas.DataFrame
        See :func:`tagsage.evaluate.slices.slice_scores`; with a column ``candidate``.
    study : pandas.DataFrame
        See :func:`tagsage.evaluate.findings.study_table`.
    curves : mapping of str to pandas.DataFrame
        Precision and recall of both; see :func:`tagsage.evaluate.metrics.precision_recall`.
    per_tag : mapping of str to pandas.DataFrame
        Scores tag by tag of both, by candidate.
    reliability : pandas.DataFrame
        Of the candidate with lists; see :func:`tagsage.evaluate.metrics.reliability`.
    calibration_errors : mapping of str to float
        ``ece`` and ``ece_top_5`` of the candidate with lists.
    learning : pandas.DataFrame
        Columns ``candidate``, ``share`` and the metrics; empty without a learning curve.
    not_measured : mapping of str to str
        Scenarios that could not be evaluated, and why.
    """

    text: str
    graph: str
    sentences: Sequence[str]
    gains: pd.DataFrame
    intervals: pd.DataFrame
    slices: pd.DataFrame
    study: pd.DataFrame
    curves: Mapping[str, pd.DataFrame]
    per_tag: Mapping[str, pd.DataFrame]
    reliability: pd.DataFrame
    calibration_errors: Mapping[str, float]
    learning: pd.DataFrame
    not_measured: Mapping[str, str]


@dataclass(frozen=True)
class ReportData:
    """Everything that the page shows; a part that is empty is said to be so, or left out.

    Attributes
    ----------
    run_id : str
        tagsage's name of the run.
    started : str
        When the run started, for people: ``22 November 2026, 02:00 UTC``.
    version : str
        tagsage's version.
    corpus_name : str
        What was read: ``bundled``, or file names.
    profile : CorpusProfile
        Numbers of the corpus.
    leaderboard : pandas.DataFrame
        One row a candidate, best first. Column ``candidate`` (``feature_set:classifier``), and
        any of the columns of :data:`tagsage.report.html.METRICS`, ``threshold``, ``fit_seconds``.
    per_tag : pandas.DataFrame
        The winner's scores, one row a target tag: ``tag``, ``precision``, ``recall``, ``f1``
        (float, 0 to 1), ``support`` (test articles with the tag), ``predicted`` (test articles it
        was assigned to) and, where known, ``average_precision``.
    split : mapping of str to int or float
        ``train_articles``, ``test_articles``, ``test_share``, ``seed``.
    predicted : Predicted
        Numbers of the predictions.
    trial : bool
        Whether other candidates than the configured ones were compared.
    promoted : bool or None
        Whether the winner is champion now; None: it was not asked.
    promotion_reason : str
        Why, as a sentence.
    checks : sequence of mapping
        The guards of promotion, see :class:`tagsage.evaluate.promotion.Check`; empty: none was
        tried.
    gain : mapping or None
        What the winner gains over the champion, see :class:`tagsage.evaluate.promotion.Gain`; None
        where the two were not compared.
    examples : sequence of Example
        A few articles with their predicted tags.
    graph : mapping of str to object
        What is known of the projection, in the order to show: label -> number or words.
    graphsage_losses : sequence of float
        Mean loss of each epoch.
    cost : mapping of str to object
        What was paid for the vectors, in the order to show: label -> number or words; empty when
        they cost nothing to make.
    quarantine : pandas.DataFrame
        Summary: columns ``file``, ``kind``, ``reason`` (str), ``rows`` (int).
    stages : pandas.DataFrame
        Columns ``stage`` (str), ``seconds`` (float), in the order they ran; those of one name are
        added up.
    settings : mapping of str to object
        The resolved settings.
    harvested : str
        How the harvest before the run ended; empty when there was none.
    comparison : Comparison or None
        None when there was no candidate on text, or none with lists.
    changes : Changes or None
        None: it is not known.
    checked : Checked or None
        None when nothing was checked.
    unusable : str
        Why the champion could not be used, and what to do; empty when it predicted. `predicted` and
        `examples` are then of the run that predicted last.
    notes : sequence of str
        Sentences to show under the leaderboard: what was left out, and why.
    """

    run_id: str
    started: str
    version: str
    corpus_name: str
    profile: CorpusProfile
    leaderboard: pd.DataFrame
    per_tag: pd.DataFrame
    split: Mapping[str, float]
    predicted: Predicted
    trial: bool = False
    promoted: bool | None = None
    promotion_reason: str = ""
    checks: Sequence[Mapping[str, Any]] = ()
    gain: Mapping[str, Any] | None = None
    examples: Sequence[Example] = ()
    graph: Mapping[str, Any] = field(default_factory=dict)
    graphsage_losses: Sequence[float] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    quarantine: pd.DataFrame = field(default_factory=pd.DataFrame)
    stages: pd.DataFrame = field(default_factory=pd.DataFrame)
    settings: Mapping[str, Any] = field(default_factory=dict)
    harvested: str = ""
    comparison: Comparison | None = None
    changes: Changes | None = None
    checked: Checked | None = None
    unusable: str = ""
    notes: Sequence[str] = ()
