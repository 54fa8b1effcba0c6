"""When the graph helps: the best candidate with lists beside the best on text, asked differently.

The leaderboard is *transductive*: a test article's text and lists were there when features were
made. Beyond it:

- ``inductive``: test articles and their memberships were not there; they come later.
- ``cold_start``: every test article is taken for being in no list.
- ``time``: trained on articles before a date, judged on those after it.
- ``split``: the transductive, inductive and cold-start questions on another split.
- ``share``: trained on a share of the training part: a learning curve.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.night import Night, Token
from tagsage.stages.common import (
    LEARN_CODE,
    MODEL_FOLDER,
    Blocks,
    Ref,
    assignment_config,
    feature_matrix,
    load_labels,
    load_snapshot,
    memberships_config,
    search_inputs,
)
from tagsage.stages.compare import fallback_of
from tagsage.stages.trials import NotMeasuredError, TrainingPart, run_trial

if TYPE_CHECKING:
    from tagsage.learn.candidate import FittedCandidate, Tagging
    from tagsage.learn.features import FeatureMatrix
    from tagsage.learn.labels import Labels

logger = logging.getLogger(__name__)

Row = dict[str, Any]

TEXT, GRAPH = "text", "graph"
# The feature sets that know an article's text alone.
TEXT_SETS = ("text", "words", "words+text", "text+words")
ROLES = (TEXT, GRAPH)
TRANSDUCTIVE, INDUCTIVE, COLD_START, TIME = "transductive", "inductive", "cold_start", "time"
SPLIT, SHARE = "split", "share"


def finalists(ranked: dict[str, Any]) -> dict[str, Row]:
    """Return the best candidate on text alone and the best that knows of lists.

    Parameters
    ----------
    ranked : dict
        The summary of the leaderboard.

    Returns
    -------
    dict of str to dict
        By role (``text``, ``graph``): ``candidate``, ``ref``, ``scores``. A role that no candidate
        has is left out.
    """
    from tagsage.learn.features import needs_lists

    found: dict[str, Row] = {}
    # Best first.
    for row in ranked["ranking"]:
        feature_set = row["candidate"].partition(":")[0]
        role = GRAPH if needs_lists(feature_set) else TEXT if feature_set in TEXT_SETS else ""
        if role:
            found.setdefault(role, row)
    return found


def questions(token: Token, board: Ref) -> list[str]:
    """Return what to ask besides the leaderboard: a task each.

    Returns
    -------
    list of str
        Such as ``inductive``, ``split 43``, ``share 0.5``; empty when the leaderboard has no
        candidate on text, or none with lists.
    """
    night = Night.of(token)
    settings = night.settings
    if len(finalists(night.workspace.open(board).summary)) < len(ROLES):
        logger.info("Without a candidate on text and one with lists nothing is asked of both.")
        return []
    further = range(settings.seed + 1, settings.seed + settings.splits)
    return [
        *settings.asked_questions(),
        *(f"{SPLIT} {seed}" for seed in further),
        *(f"{SHARE} {share:g}" for share in settings.asked_shares()),
    ]


def answer_question(
    token: Token, corpus: Ref, split: Ref, features: Blocks, board: Ref, question: str
) -> Ref:
    """Answer one question, for both finalists.

    Fills an artifact with a folder a line of its summary's ``rows``: what is known of the
    candidate there. ``reason`` says why a question has no answer.
    """
    night = Night.of(token)
    pair = finalists(night.workspace.open(board).summary)
    kind, _, argument = question.partition(" ")
    settings = night.settings
    inputs = {
        "corpus": corpus,
        "split": split,
        "features": features,
        "finalists": {role: row["ref"] for role, row in pair.items()},
        "question": question,
        "asked": settings.asked_questions() if kind == SPLIT else [],
        "memberships": vars(memberships_config(settings)),
        "assignment": vars(assignment_config(settings)),
        "test_share": settings.test_share,
        "min_tag_articles": settings.min_tag_articles,
        "seed": settings.seed,
        "search": search_inputs(settings),
    }

    def build(folder: Path) -> dict[str, Any]:
        bench = _Bench(night, corpus, split, features, pair, folder)
        try:
            rows = _ANSWERS[kind](bench, argument)
        except NotMeasuredError as error:
            return {"question": question, "rows": [], "reason": str(error)}
        return {"question": question, "rows": rows, "reason": ""}

    artifact = night.artifact(
        "question", inputs, build, code=(*LEARN_CODE, "graph"), label=question
    )
    logger.info("%s: %s", question, artifact.summary["reason"] or "answered")
    return artifact.ref


@dataclass(frozen=True)
class _Bench:
    """What answers are made with, and where they go."""

    night: Night
    corpus: Ref
    split: Ref
    features: Blocks
    pair: dict[str, Row]
    folder: Path

    def labels(self) -> Labels:
        return load_labels(self.night, self.split)

    def compared(self) -> FittedCandidate:
        """Return the candidate with lists as it was compared."""
        from tagsage.learn.candidate import FittedCandidate

        ref = self.pair[GRAPH]["ref"]
        return FittedCandidate.load(self.night.workspace.open(ref).path / MODEL_FOLDER)

    def trial(
        self,
        role: str,
        part: TrainingPart,
        *,
        hidden: Any = None,
        fallback: Tagging | None = None,
    ) -> tuple[FittedCandidate, FeatureMatrix]:
        with self.night.workspace.scratch() as folder:
            trial = run_trial(
                self.night,
                self.corpus,
                self.features,
                self.pair[role]["candidate"],
                part,
                folder,
                hidden=hidden,
                fallback=fallback,
            )
            return trial.fitted, trial.X

    def trials(self, part: TrainingPart) -> dict[str, tuple[FittedCandidate, FeatureMatrix]]:
        """Fit both; the one on text serves the other as fallback, where it is that."""
        text = self.trial(TEXT, part)
        same = fallback_of(self.pair[GRAPH]["candidate"]) == self.pair[TEXT]["candidate"]
        fallback = text[0].main if same else None
        return {TEXT: text, GRAPH: self.trial(GRAPH, part, fallback=fallback)}

    def judge(
        self,
        role: str,
        question: str,
        fitted: FittedCandidate,
        X: FeatureMatrix,
        test: tuple[Any, Any],
        **about: Any,
    ) -> Row:
        """Judge answers on test articles; keeps what is known, and returns the scores."""
        from tagsage.learn.judgement import Judgement

        rows, Y = test
        judged = Judgement.of(fitted, fitted.answer(X, rows), Y)
        name = f"{question}-{role}"
        judged.save(self.folder / name)
        return {
            "question": question,
            "role": role,
            "candidate": self.pair[role]["candidate"],
            "judged": name,
            **about,
            **judged.scores,
        }


def _answer_inductive(bench: _Bench, _: str) -> list[Row]:
    return _inductive(bench, bench.labels(), bench.night.settings.seed, bench.compared())


def _inductive(bench: _Bench, labels: Labels, seed: int, plain: FittedCandidate) -> list[Row]:
    part = TrainingPart(labels.train_rows, labels.Y_train, labels.tags, seed)
    # Text and author are known of an article that comes later: the fallback is the same.
    fitted, X = bench.trial(GRAPH, part, hidden=labels.test_rows, fallback=plain.fallback)
    test = (labels.test_rows, labels.Y_test)
    return [bench.judge(GRAPH, INDUCTIVE, fitted, X, test, seed=seed)]


def _answer_cold_start(bench: _Bench, _: str) -> list[Row]:
    night = bench.night
    X = feature_matrix(night, bench.features, bench.pair[GRAPH]["candidate"].partition(":")[0])
    return [_cold(bench, bench.compared(), X, bench.labels(), night.settings.seed)]


def _cold(
    bench: _Bench, fitted: FittedCandidate, X: FeatureMatrix, labels: Labels, seed: int
) -> Row:
    if not fitted.knows_list_free:
        raise NotMeasuredError("its features say nothing of an article in no list")
    test = (labels.test_rows, labels.Y_test)
    return bench.judge(GRAPH, COLD_START, fitted, X.unlinked(), test, seed=seed)


def _answer_time(bench: _Bench, _: str) -> list[Row]:
    from tagsage.learn.split import split_by_time

    night, labels = bench.night, bench.labels()
    dates = load_snapshot(night, bench.corpus).articles["date"].to_numpy()[labels.rows]
    parted = split_by_time(dates, test_share=night.settings.test_share)
    if parted is None:
        raise NotMeasuredError("the tagged articles have no dates to tell earlier from later ones")
    seed = night.settings.seed
    part = TrainingPart(labels.rows[parted.train], labels.Y[parted.train], labels.tags, seed)
    test = (labels.rows[parted.test], labels.Y[parted.test])
    since = str(dates[parted.test].min())[:10]
    return [
        bench.judge(role, TIME, *trial, test, seed=seed, since=since)
        for role, trial in bench.trials(part).items()
    ]


def _answer_split(bench: _Bench, argument: str) -> list[Row]:
    from tagsage.learn.labels import label_corpus

    night, seed = bench.night, int(argument)
    settings = night.settings
    labels = label_corpus(
        load_snapshot(night, bench.corpus).articles["tags"].tolist(),
        min_tag_articles=settings.min_tag_articles,
        test_share=settings.test_share,
        seed=seed,
    )
    part = TrainingPart(labels.train_rows, labels.Y_train, labels.tags, seed)
    test = (labels.test_rows, labels.Y_test)
    trials = bench.trials(part)
    rows = [
        bench.judge(role, TRANSDUCTIVE, *trial, test, seed=seed) for role, trial in trials.items()
    ]
    fitted, X = trials[GRAPH]
    if COLD_START in settings.asked_questions() and fitted.knows_list_free:
        rows.append(_cold(bench, fitted, X, labels, seed))
    if INDUCTIVE in settings.asked_questions():
        try:
            rows += _inductive(bench, labels, seed, fitted)
        except NotMeasuredError as error:
            logger.info("split %d: inductive: %s", seed, error)
    return rows


def _answer_share(bench: _Bench, argument: str) -> list[Row]:
    import numpy as np

    labels, seed, share = bench.labels(), bench.night.settings.seed, float(argument)
    # The same order for all shares: a smaller one is part of a larger one.
    order = np.random.default_rng(seed).permutation(len(labels.train))
    chosen = np.sort(order[: max(1, round(share * len(order)))])
    part = TrainingPart(labels.train_rows[chosen], labels.Y_train[chosen], labels.tags, seed)
    test = (labels.test_rows, labels.Y_test)
    return [
        bench.judge(role, SHARE, *trial, test, seed=seed, share=share)
        for role, trial in bench.trials(part).items()
    ]


_ANSWERS: dict[str, Callable[[_Bench, str], list[Row]]] = {
    INDUCTIVE: _answer_inductive,
    COLD_START: _answer_cold_start,
    TIME: _answer_time,
    SPLIT: _answer_split,
    SHARE: _answer_share,
}
