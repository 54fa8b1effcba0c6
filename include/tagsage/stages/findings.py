"""What the run's comparison amounts to: intervals, gains, slices, and sentences about them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.run_context import RunContext, Token
from tagsage.stages.artifacts import LEARN_CODE, Ref, load_labels, load_scored, load_snapshot
from tagsage.stages.backends import log_results
from tagsage.stages.scenarios import best_candidates

if TYPE_CHECKING:
    from tagsage.evaluate.findings import ScenarioResults
    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.learn.labels import Labels
    from tagsage.report.report_data import Comparison
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

TABLES = ("intervals", "scenarios", "gains", "slices", "study")
"""Tables of the artifact and of the workspace, as CSV."""


def findings(token: Token, corpus: Ref, split: Ref, board: Ref, evaluated: Sequence[Ref]) -> Ref:
    """Put together what was found; publishes the tables.

    - ``intervals.csv``: each candidate's scores and its differences to the best one on text, with
      bootstrap intervals over the test articles;
    - ``scenarios.csv``: all scores of the best two candidates, scenario by scenario;
    - ``gains.csv``: what lists gain over text, scenario by scenario;
    - ``slices.csv``: their scores by lists, words, tags, and frequency of tags;
    - ``study.csv``: the study's own table.
    """
    run = RunContext.of(token)
    inputs = {
        "corpus": corpus,
        "split": split,
        "board": board,
        "evaluated": list(evaluated),
        "seed": run.settings.seed,
        "min_tag_articles": run.settings.min_tag_articles,
    }

    def build(folder: Path) -> dict[str, Any]:
        import numpy as np

        from tagsage.embed.text import article_texts
        from tagsage.evaluate.findings import findings_tables, records, sentences
        from tagsage.evaluate.study import study_table

        labels, snapshot = load_labels(run, split), load_snapshot(run, corpus)
        best, artifacts = best_candidates(run, board), [run.workspace.open(r) for r in evaluated]
        transductive = [
            {
                "scenario": "transductive",
                "role": role,
                "candidate": row["candidate"],
                "seed": run.settings.seed,
                **row["scores"],
            }
            for role, row in best.items()
        ]
        names = {role: row["candidate"] for role, row in best.items()}
        scored = _scored(run, board)
        tables = findings_tables(
            scored,
            labels,
            transductive + [row for artifact in artifacts for row in artifact.summary["rows"]],
            best=names,
            scenarios=_scenario_results(labels, artifacts),
            list_degree=np.diff(snapshot.incidence().indptr)[labels.test_rows],
            texts=article_texts(snapshot.articles.iloc[labels.test_rows]),
            settings=run.settings,
        )
        ranking = run.workspace.open(board).summary["ranking"]
        tables["study"] = study_table({row["candidate"]: row["study"] for row in ranking})
        for name in TABLES:
            tables[name].to_csv(folder / f"{name}.csv", index=False)
        return {
            "best": names,
            "sentences": sentences(tables["gains"], **names) if len(names) == 2 else [],
            "winner": _winner(scored, labels, seed=run.settings.seed),
            "gains": records(tables["gains"]),
            "study": records(tables["study"]),
            "not_measured": {
                artifact.summary["scenario"]: artifact.summary["reason"]
                for artifact in artifacts
                if artifact.summary["reason"]
            },
        }

    artifact = run.artifact("findings", inputs, build, code=(*LEARN_CODE, "embed"))
    for name in TABLES:
        run.workspace.publish(artifact.path / f"{name}.csv", f"{name}.csv")
    _log(run, board, artifact)
    for sentence in artifact.summary["sentences"]:
        logger.info("%s", sentence)
    return artifact.ref


def comparison_of(run: RunContext, board: Ref, found: Ref) -> Comparison | None:
    """Return what is shown of the findings; None when there was nothing to compare."""
    import pandas as pd

    from tagsage.report.report_data import Comparison

    artifact = run.workspace.open(found)
    names = artifact.summary["best"]
    if len(names) < 2:
        return None
    scored = _scored(run, board)
    text, graph = names["text"], names["graph"]
    tables = {name: pd.read_csv(artifact.path / f"{name}.csv") for name in TABLES}
    lines = tables["scenarios"]
    shares = lines[lines["scenario"] == "share"]
    whole = lines[(lines["scenario"] == "transductive") & (lines["seed"] == run.settings.seed)]
    return Comparison(
        text=text,
        graph=graph,
        sentences=artifact.summary["sentences"],
        gains=tables["gains"],
        intervals=tables["intervals"],
        slices=tables["slices"],
        study=tables["study"],
        curves={name: scored[name].curve for name in (graph, text)},
        per_tag={name: scored[name].per_tag for name in (graph, text)},
        reliability=scored[graph].reliability,
        calibration_errors={name: scored[graph].scores[name] for name in ("ece", "ece_top_5")},
        learning=pd.concat([shares, whole.assign(share=1.0)]) if len(shares) else shares,
        not_measured=artifact.summary["not_measured"],
    )


def _log(run: RunContext, board: Ref, artifact: Artifact) -> None:
    import pandas as pd

    from tagsage.report.figures import comparison_figures

    comparison = comparison_of(run, board, artifact.ref)
    log_results(
        run,
        metrics={
            f"gain_{row['scenario']}_{row['metric']}": row["gain"]
            for row in artifact.summary["gains"]
        },
        tags={"tagsage.findings": " ".join(artifact.summary["sentences"])},
        tables={f"{name}.csv": pd.read_csv(artifact.path / f"{name}.csv") for name in TABLES},
        pictures=comparison_figures(comparison) if comparison else [],
    )


def _winner(
    scored: dict[str, ScoredCandidate], labels: Labels, *, seed: int
) -> dict[str, Any] | None:
    """Return the winner, corrected for having been chosen, with a sentence; None where one is all.

    `scored` is in the order of the leaderboard.
    """
    from tagsage.evaluate.bootstrap import corrected_winner
    from tagsage.evaluate.findings import winner_sentence

    if len(scored) < 2:
        return None
    results = {name: one.results for name, one in scored.items()}
    families = labels.families[labels.test]
    winner = corrected_winner(labels.Y_test, results, clusters=families, seed=seed)
    return {**asdict(winner), "sentence": winner_sentence(winner, len(scored))}


def _scored(run: RunContext, board: Ref) -> dict[str, ScoredCandidate]:
    return {
        row["candidate"]: load_scored(run, row["ref"])
        for row in run.workspace.open(board).summary["ranking"]
    }


def _scenario_results(labels: Labels, artifacts: Sequence[Artifact]) -> dict[str, ScenarioResults]:
    """Return what the best two scored in the scenarios on the run's split, or on one by them."""
    import numpy as np

    from tagsage.evaluate.findings import ScenarioResults
    from tagsage.evaluate.scenarios import COLD_START, GROUPED, INDUCTIVE, TEST_FILE, TIME
    from tagsage.evaluate.scored_candidate import ScoredCandidate

    found = {}
    for artifact in artifacts:
        scenario = artifact.summary["scenario"]
        if scenario not in {INDUCTIVE, COLD_START, TIME, GROUPED} or artifact.summary["reason"]:
            continue
        scored = {
            row["role"]: ScoredCandidate.load(artifact.path / row["folder"]).results
            for row in artifact.summary["rows"]
        }
        file = artifact.path / TEST_FILE
        test = np.load(file, allow_pickle=False) if file.exists() else labels.test
        found[scenario] = ScenarioResults(test, **scored)
    return found
