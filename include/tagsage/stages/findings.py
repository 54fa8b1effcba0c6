"""What the run's comparison amounts to: intervals, gains, slices, and what is told of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage.evaluate.scenario_names import GRAPH, ROLES, SHARE, TEXT, TIME, TRANSDUCTIVE
from tagsage.run_context import RunContext, Token
from tagsage.stages.common import LEARN_CODE, Ref, load_labels, load_snapshot, tracking_of
from tagsage.stages.compare import JUDGED_FOLDER
from tagsage.stages.scenarios import finalists

if TYPE_CHECKING:
    from tagsage.evaluate.judgement import Judgement
    from tagsage.report.data import Comparison

logger = logging.getLogger(__name__)

TABLES = ("intervals", "questions", "gains", "slices", "study")
"""Tables of the artifact and of the workspace, as CSV."""


def findings(token: Token, corpus: Ref, split: Ref, board: Ref, answered: Sequence[Ref]) -> Ref:
    """Put together what was found; publishes the tables.

    - ``intervals.csv``: each candidate's scores and its differences to the best one on text, with
      bootstrap intervals over the test articles;
    - ``questions.csv``: all scores of the best two candidates, question by question;
    - ``gains.csv``: what lists gain over text, question by question;
    - ``slices.csv``: their scores by lists, words, tags, and frequency of tags;
    - ``study.csv``: the study's own table.
    """
    run = RunContext.of(token)
    ranked = run.workspace.open(board).summary
    inputs = {
        "corpus": corpus,
        "split": split,
        "board": board,
        "answered": list(answered),
        "resamples": run.settings.bootstrap_resamples,
        "seed": run.settings.seed,
        "min_tag_articles": run.settings.min_tag_articles,
    }

    def build(folder: Path) -> dict[str, Any]:
        import numpy as np

        from tagsage.embed.text import article_texts
        from tagsage.evaluate.findings import findings_tables, records, sentences

        labels = load_labels(run, split)
        judged = _judged(run, ranked)
        pair = finalists(ranked)
        answers = [(ref, run.workspace.open(ref)) for ref in answered]
        rows = _rows(run, ranked, [artifact.summary for _, artifact in answers])
        snapshot = load_snapshot(run, corpus)
        tables = findings_tables(
            judged,
            labels,
            rows,
            pair={role: row["candidate"] for role, row in pair.items()},
            scenarios=_of_scenarios(answers),
            list_degree=np.diff(snapshot.incidence().indptr)[labels.test_rows],
            texts=article_texts(snapshot.articles.iloc[labels.test_rows]),
            settings=run.settings,
        )
        for name in TABLES:
            tables[name].to_csv(folder / f"{name}.csv", index=False)
        return {
            "finalists": {role: row["candidate"] for role, row in pair.items()},
            "sentences": sentences(
                tables["gains"], graph=pair[GRAPH]["candidate"], text=pair[TEXT]["candidate"]
            )
            if len(pair) == len(ROLES)
            else [],
            "gains": records(tables["gains"]),
            "study": records(tables["study"]),
            "not_measured": {
                artifact.summary["question"]: artifact.summary["reason"]
                for _, artifact in answers
                if artifact.summary["reason"]
            },
        }

    artifact = run.artifact("findings", inputs, build, code=(*LEARN_CODE, "embed"))
    for name in TABLES:
        run.workspace.publish(artifact.path / f"{name}.csv", f"{name}.csv")
    _log(run, board, artifact.ref)
    for sentence in artifact.summary["sentences"]:
        logger.info("%s", sentence)
    return artifact.ref


def comparison_of(run: RunContext, board: Ref, found: Ref) -> Comparison | None:
    """Return what is shown of the findings; None when there was nothing to compare."""
    import pandas as pd

    from tagsage.report.data import Comparison

    ranked = run.workspace.open(board).summary
    pair = finalists(ranked)
    if len(pair) < len(ROLES):
        return None
    artifact = run.workspace.open(found)
    judged = _judged(run, ranked)
    text, graph = (pair[role]["candidate"] for role in (TEXT, GRAPH))
    tables = {name: pd.read_csv(artifact.path / f"{name}.csv") for name in TABLES}
    asked = tables["questions"]
    shares = asked[asked["question"] == SHARE]
    whole = asked[(asked["question"] == TRANSDUCTIVE) & (asked["seed"] == run.settings.seed)]
    return Comparison(
        text=text,
        graph=graph,
        sentences=artifact.summary["sentences"],
        gains=tables["gains"],
        intervals=tables["intervals"],
        slices=tables["slices"],
        study=tables["study"],
        curves={name: judged[name].curve for name in (graph, text)},
        per_tag={name: judged[name].per_tag for name in (graph, text)},
        reliability=judged[graph].reliability,
        calibration_errors={name: judged[graph].scores[name] for name in ("ece", "ece_top_5")},
        learning=pd.concat([shares, whole.assign(share=1.0)]) if len(shares) else shares,
        not_measured=artifact.summary["not_measured"],
    )


def _log(run: RunContext, board: Ref, found: Ref) -> None:
    """Log tables, gains and figures to the run's run in MLflow."""
    import pandas as pd

    from tagsage.registry.runs import log_results
    from tagsage.report.figures import comparison_figures
    from tagsage.report.picture import save_pictures

    artifact = run.workspace.open(found)
    comparison = comparison_of(run, board, found)
    with run.workspace.scratch() as folder:
        pictures = comparison_figures(comparison) if comparison else []
        log_results(
            tracking_of(run.settings),
            run.run_id,
            metrics={
                f"gain_{row['question']}_{row['metric']}": row["gain"]
                for row in artifact.summary["gains"]
            },
            tags={"tagsage.findings": " ".join(artifact.summary["sentences"])},
            tables={f"{name}.csv": pd.read_csv(artifact.path / f"{name}.csv") for name in TABLES},
            figures=save_pictures(pictures, folder),
        )


def _judged(run: RunContext, ranked: dict[str, Any]) -> dict[str, Judgement]:
    from tagsage.evaluate.judgement import Judgement

    return {
        row["candidate"]: Judgement.load(run.workspace.open(row["ref"]).path / JUDGED_FOLDER)
        for row in ranked["ranking"]
    }


def _rows(
    run: RunContext, ranked: dict[str, Any], summaries: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Return the lines of ``questions.csv``: those of the run's split first."""
    rows = [
        {
            "question": TRANSDUCTIVE,
            "role": role,
            "candidate": row["candidate"],
            "seed": run.settings.seed,
            **row["scores"],
        }
        for role, row in finalists(ranked).items()
    ]
    return rows + [row for summary in summaries for row in summary["rows"]]


def _of_scenarios(answers: Sequence[Any]) -> dict[str, Judgement]:
    """Return what is known of the candidate with lists in the scenarios of the run's split."""
    from tagsage.evaluate.judgement import Judgement

    return {
        artifact.summary["question"]: Judgement.load(artifact.path / row["judged"])
        for _, artifact in answers
        for row in artifact.summary["rows"]
        # Other splits and times have other test articles.
        if " " not in artifact.summary["question"] and artifact.summary["question"] != TIME
    }
