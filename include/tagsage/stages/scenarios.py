"""When the graph helps: the best candidate with lists beside the best on text, in each scenario.

See :mod:`tagsage.evaluate.scenarios`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.evaluate.scenario_names import (
    COLD_START,
    GRAPH,
    INDUCTIVE,
    ROLES,
    SHARE,
    SPLIT,
    TEXT,
    TIME,
    TRANSDUCTIVE,
)
from tagsage.run_context import RunContext, Token
from tagsage.stages.common import (
    KNOWN,
    LEARN_CODE,
    MODEL_FOLDER,
    VECTORS,
    Blocks,
    Ref,
    articles_of,
    assignment_inputs,
    load_labels,
    load_snapshot,
    search_inputs,
    search_of,
)

if TYPE_CHECKING:
    from tagsage.evaluate.scenarios import Conditions, Trained, TrainingPart
    from tagsage.features import FeatureMatrix, FeatureSet
    from tagsage.learn.candidate import FittedCandidate, Tagging
    from tagsage.learn.labels import Labels

logger = logging.getLogger(__name__)

Row = dict[str, Any]


def finalists(ranked: dict[str, Any]) -> dict[str, Row]:
    """Return the best candidate on text alone and the best that knows of lists, by role."""
    from tagsage.evaluate.scenarios import best_of_roles

    return best_of_roles(ranked["ranking"])


def scenarios(token: Token, board: Ref) -> list[str]:
    """Return what to ask besides the leaderboard: a task each.

    Returns
    -------
    list of str
        Such as ``inductive``, ``split 43``, ``share 0.5``; empty when the leaderboard has no
        candidate on text, or none with lists.
    """
    run = RunContext.of(token)
    settings = run.settings
    if len(finalists(run.workspace.open(board).summary)) < len(ROLES):
        logger.info("Without a candidate on text and one with lists nothing is asked of both.")
        return []
    further = range(settings.seed + 1, settings.seed + settings.splits)
    return [
        *settings.asked_questions(),
        *(f"{SPLIT} {seed}" for seed in further),
        *(f"{SHARE} {share:g}" for share in settings.asked_shares()),
    ]


def evaluate_scenario(
    token: Token, corpus: Ref, split: Ref, features: Blocks, board: Ref, question: str
) -> Ref:
    """Evaluate both finalists in one scenario.

    Fills an artifact with a folder a line of its summary's ``rows``: what is known of the
    candidate there. ``reason`` says why a question has no answer.
    """
    from tagsage.evaluate.scenarios import NotMeasuredError

    run = RunContext.of(token)
    pair = finalists(run.workspace.open(board).summary)
    kind, _, argument = question.partition(" ")
    settings = run.settings
    inputs = {
        "corpus": corpus,
        "split": split,
        "features": features,
        "finalists": {role: row["ref"] for role, row in pair.items()},
        "question": question,
        "asked": settings.asked_questions() if kind == SPLIT else [],
        "settings": _block_settings(run, [row["candidate"] for row in pair.values()]),
        "assignment": assignment_inputs(settings),
        "test_share": settings.test_share,
        "min_tag_articles": settings.min_tag_articles,
        "seed": settings.seed,
        "search": search_inputs(settings),
    }

    def build(folder: Path) -> dict[str, Any]:
        bench = _Bench(run, corpus, split, features, pair, folder)
        try:
            rows = _SCENARIOS[kind](bench, argument)
        except NotMeasuredError as error:
            return {"question": question, "rows": [], "reason": str(error)}
        return {"question": question, "rows": rows, "reason": ""}

    artifact = run.artifact(
        "question", inputs, build, code=(*LEARN_CODE, "embed", "graph"), label=question
    )
    logger.info("%s: %s", question, artifact.summary["reason"] or "answered")
    return artifact.ref


@dataclass(frozen=True)
class _Bench:
    """What answers are made with, and where they go."""

    run: RunContext
    corpus: Ref
    split: Ref
    features: Blocks
    pair: dict[str, Row]
    folder: Path

    def labels(self) -> Labels:
        return load_labels(self.run, self.split)

    def compared(self) -> FittedCandidate:
        """Return the candidate with lists as it was compared."""
        from tagsage.learn.candidate import FittedCandidate

        ref = self.pair[GRAPH]["ref"]
        return FittedCandidate.load(self.run.workspace.open(ref).path / MODEL_FOLDER)

    @cached_property
    def conditions(self) -> Conditions:
        from tagsage.evaluate.scenarios import Conditions

        settings, workspace = self.run.settings, self.run.workspace
        blocks = {name: ref for name, ref in self.features.items() if name not in {VECTORS, KNOWN}}
        return Conditions(
            articles_of(self.run, self.corpus, self.features[VECTORS]),
            {name: workspace.open(ref).path for name, ref in blocks.items()},
            settings,
            settings,
            search_of(settings),
        )

    def train(
        self,
        role: str,
        part: TrainingPart,
        *,
        hidden: Any = None,
        fallback: Tagging | None = None,
    ) -> Trained:
        with self.run.workspace.scratch() as folder:
            candidate = self.pair[role]["candidate"]
            return self.conditions.train(candidate, part, folder, hidden=hidden, fallback=fallback)

    def train_both(self, part: TrainingPart) -> dict[str, Trained]:
        """Fit both; the one on text serves the other as fallback, where it is that."""
        from tagsage.evaluate.scenarios import fallback_of

        text = self.train(TEXT, part)
        same = fallback_of(self.pair[GRAPH]["candidate"]) == self.pair[TEXT]["candidate"]
        fallback = text.fitted.main if same else None
        return {TEXT: text, GRAPH: self.train(GRAPH, part, fallback=fallback)}

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
        from tagsage.evaluate.judgement import Judgement

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


def _block_settings(run: RunContext, candidates: list[str]) -> dict[str, Any]:
    """Return the settings that the candidates' blocks depend on."""
    from tagsage.features import BLOCKS, blocks_of

    blocks = {block for name in candidates for block in blocks_of(name.partition(":")[0])}
    names = sorted({name for block in blocks for name in BLOCKS[block].settings})
    return {name: getattr(run.settings, name) for name in names}


def _inductive(bench: _Bench, _: str) -> list[Row]:
    seed = bench.run.settings.seed
    return [_without_test_articles(bench, bench.labels(), seed, bench.compared())]


def _without_test_articles(bench: _Bench, labels: Labels, seed: int, plain: FittedCandidate) -> Row:
    from tagsage.evaluate.scenarios import TrainingPart

    part = TrainingPart(labels.train_rows, labels.Y_train, labels.tags, seed)
    # Text and author are known of an article that comes later: the fallback is the same, unless
    # its words are counted anew.
    same = plain.fallback if _counts_nothing(bench.pair[GRAPH]["candidate"]) else None
    trained = bench.train(GRAPH, part, hidden=labels.test_rows, fallback=same)
    test = (labels.test_rows, labels.Y_test)
    return bench.judge(GRAPH, INDUCTIVE, trained.fitted, trained.X, test, seed=seed)


def _counts_nothing(candidate: str) -> bool:
    """Return whether its fallback is the same whichever articles are hidden."""
    from tagsage.features import list_free_set

    return list_free_set(candidate.partition(":")[0]) == "text"


def _cold_start(bench: _Bench, _: str) -> list[Row]:
    from tagsage.evaluate.scenarios import load_blocks
    from tagsage.features import Known

    run = bench.run
    known = Known.load(run.workspace.open(bench.features[KNOWN]).path)
    feature_set = bench.pair[GRAPH]["candidate"].partition(":")[0]
    features = load_blocks(known, bench.conditions.folders, feature_set)
    seed = run.settings.seed
    return [_cold(bench, bench.compared(), features, bench.labels(), seed)]


def _cold(
    bench: _Bench, fitted: FittedCandidate, features: FeatureSet, labels: Labels, seed: int
) -> Row:
    import numpy as np

    from tagsage.evaluate.scenarios import NotMeasuredError, as_in_no_list

    if not fitted.knows_list_free:
        raise NotMeasuredError("its features say nothing of an article in no list")
    X = as_in_no_list(features, bench.conditions.articles, labels.test_rows)
    test = (np.arange(len(X)), labels.Y_test)
    return bench.judge(GRAPH, COLD_START, fitted, X, test, seed=seed)


def _time(bench: _Bench, _: str) -> list[Row]:
    from tagsage.evaluate.scenarios import NotMeasuredError, TrainingPart
    from tagsage.learn.split import split_by_time

    run, labels = bench.run, bench.labels()
    dates = load_snapshot(run, bench.corpus).articles["date"].to_numpy()[labels.rows]
    parted = split_by_time(dates, test_share=run.settings.test_share)
    if parted is None:
        raise NotMeasuredError("the tagged articles have no dates to tell earlier from later ones")
    seed = run.settings.seed
    part = TrainingPart(labels.rows[parted.train], labels.Y[parted.train], labels.tags, seed)
    test = (labels.rows[parted.test], labels.Y[parted.test])
    since = str(dates[parted.test].min())[:10]
    return [
        bench.judge(role, TIME, trained.fitted, trained.X, test, seed=seed, since=since)
        for role, trained in bench.train_both(part).items()
    ]


def _split(bench: _Bench, argument: str) -> list[Row]:
    from tagsage.evaluate.scenarios import TrainingPart
    from tagsage.learn.labels import label_corpus

    run, seed = bench.run, int(argument)
    settings = run.settings
    labels = label_corpus(
        load_snapshot(run, bench.corpus).articles["tags"].tolist(),
        min_tag_articles=settings.min_tag_articles,
        test_share=settings.test_share,
        seed=seed,
    )
    part = TrainingPart(labels.train_rows, labels.Y_train, labels.tags, seed)
    test = (labels.test_rows, labels.Y_test)
    both = bench.train_both(part)
    rows = [
        bench.judge(role, TRANSDUCTIVE, trained.fitted, trained.X, test, seed=seed)
        for role, trained in both.items()
    ]
    trained = both[GRAPH]
    if COLD_START in settings.asked_questions() and trained.fitted.knows_list_free:
        rows.append(_cold(bench, trained.fitted, trained.features, labels, seed))
    if INDUCTIVE in settings.asked_questions():
        rows.append(_without_test_articles(bench, labels, seed, trained.fitted))
    return rows


def _share(bench: _Bench, argument: str) -> list[Row]:
    import numpy as np

    from tagsage.evaluate.scenarios import TrainingPart

    labels, seed, share = bench.labels(), bench.run.settings.seed, float(argument)
    # The same order for all shares: a smaller one is part of a larger one.
    order = np.random.default_rng(seed).permutation(len(labels.train))
    chosen = np.sort(order[: max(1, round(share * len(order)))])
    part = TrainingPart(labels.train_rows[chosen], labels.Y_train[chosen], labels.tags, seed)
    test = (labels.test_rows, labels.Y_test)
    return [
        bench.judge(role, SHARE, trained.fitted, trained.X, test, seed=seed, share=share)
        for role, trained in bench.train_both(part).items()
    ]


_SCENARIOS: dict[str, Callable[[_Bench, str], list[Row]]] = {
    INDUCTIVE: _inductive,
    COLD_START: _cold_start,
    TIME: _time,
    SPLIT: _split,
    SHARE: _share,
}
