"""What people see of a run: the exploration of the corpus, the report, and the end."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage import __version__
from tagsage.errors import NonRetryableError
from tagsage.run_context import STARTED, RunContext, Token, artifacts_of_run, latest_runs
from tagsage.stages.changes import CHANGED_EXAMPLES_FILE, CHANGES
from tagsage.stages.checks import checks_of, keep_profile
from tagsage.stages.common import (
    GRAPH_CODE,
    QUARANTINE,
    Ref,
    load_labels,
    load_snapshot,
    tracking_of,
    vectors_folder,
)
from tagsage.stages.compare import SCORED_FOLDER
from tagsage.stages.embed import VECTORS
from tagsage.stages.explain import EXPLANATIONS_FILE
from tagsage.stages.findings import comparison_of
from tagsage.stages.graph import engine_of
from tagsage.stages.harvest import harvest_of
from tagsage.stages.ingest import REPORTED
from tagsage.stages.messages import keep_summary
from tagsage.stages.predict import EXAMPLES_FILE, UNUSABLE, WRITTEN
from tagsage.stages.promote import Promoted
from tagsage.stages.spending import cost_of, log_spending
from tagsage.stages.splitting import SPLIT_SENTENCE
from tagsage.stages.suggest import SUGGESTED

if TYPE_CHECKING:
    from tagsage.report.data import Changes, Example

logger = logging.getLogger(__name__)

RUNS_KEPT = 3
SUGGESTIONS_SHOWN = 6


def eda(
    token: Token,
    corpus: Ref,
    split: Ref,
    similarity: Ref,
    components: Ref,
    sample: Ref,
    graphsage: Ref,
) -> Ref:
    """Count what there is in the corpus and in the projection; draw the study's figures."""
    import numpy as np

    from tagsage.graph.base import DEGREES_FILE
    from tagsage.registry.runs import log_results
    from tagsage.report.eda import profile_corpus
    from tagsage.report.figures import corpus_pictures
    from tagsage.report.picture import save_pictures

    run = RunContext.of(token)
    graph = {
        "similarity": similarity,
        "components": components,
        "sample": sample,
        "graphsage": graphsage,
    }

    def build(folder: Path) -> dict[str, Any]:
        snapshot = load_snapshot(run, corpus)
        neighbours = (
            np.load(run.workspace.open(similarity).path / DEGREES_FILE) if similarity else None
        )
        profile = profile_corpus(
            snapshot.articles,
            snapshot.article_index,
            snapshot.list_index,
            n_lists=len(snapshot.lists),
            target_tags=load_labels(run, split).tags,
            neighbours=neighbours,
        )
        save_pictures(corpus_pictures(profile, seed=run.settings.seed), folder)
        return {"profile": profile.to_json(), "graph": _graph_facts(run, graph)}

    inputs = {"corpus": corpus, "split": split, "graph": dict(graph)}
    artifact = run.artifact("eda", inputs, build, code=(*GRAPH_CODE, "report"))
    log_results(
        tracking_of(run.settings),
        run.run_id,
        metrics={f"corpus_{name}": n for name, n in artifact.summary["profile"]["counts"].items()},
        series={"graphsage_loss": artifact.summary["graph"]["losses"]},
        figures={file.name: file for file in sorted(artifact.path.glob("*.png"))},
    )
    return artifact.ref


def _graph_facts(run: RunContext, graph: Mapping[str, Ref]) -> dict[str, Any]:
    """Gather what the graph stages said of themselves, in words for the report."""
    summaries = {
        stage: run.workspace.open(ref).summary if ref else {} for stage, ref in graph.items()
    }
    facts = {
        "Articles joined": summaries["similarity"].get("articles_joined"),
        "Relationships (SIMILAR)": summaries["similarity"].get("relationships"),
        "Components": summaries["components"].get("components"),
        "Articles in the largest component": summaries["components"].get("largest_component"),
        "Articles in the training sample": summaries["sample"].get("articles"),
        "Relationships in the sample": summaries["sample"].get("relationships"),
    }
    return {
        "facts": {name: value for name, value in facts.items() if value is not None},
        "losses": summaries["graphsage"].get("epoch_losses", []),
    }


def report(
    token: Token,
    board: Ref,
    found: Ref,
    promoted: Promoted,
    predicted: Ref,
    explored: Ref,
    explained: Ref,
) -> str:
    """Write ``report.html`` and ``metrics.json``, log both, and call the run finished.

    Returns
    -------
    str
        Where the report is.

    Raises
    ------
    NonRetryableError
        When all that is done, and the champion could not be used to predict.
    """
    import pandas as pd

    from tagsage.evaluate.scored_candidate import ScoredCandidate
    from tagsage.registry.runs import finish, log_results
    from tagsage.report.data import Predicted, ReportData
    from tagsage.report.eda import CorpusProfile
    from tagsage.report.figures import leaderboard_bars, loss_curve
    from tagsage.report.html import render_report
    from tagsage.report.picture import save_pictures

    run = RunContext.of(token)
    ranked = run.workspace.open(board)
    predictions = run.workspace.open(predicted)
    exploration = run.workspace.open(explored).summary
    best = ranked.summary["best"]
    findings = run.workspace.open(found).summary
    quarantine = _quarantine(run)
    checked = checks_of(run)
    stages = run.artifacts()
    totals = {key: predictions.summary[key] for key in ("articles", "assigned", "tags")}
    by = {key: predictions.summary[key] for key in ("version", "candidate")}
    changes = _changes(run)
    unusable = str(run.recorded(UNUSABLE) or "")
    data = ReportData(
        run_id=run.run_id,
        started=str(run.recorded(STARTED)),
        version=__version__,
        corpus_name=run.settings.articles or run.settings.corpus,
        profile=CorpusProfile.from_json(exploration["profile"]),
        leaderboard=pd.read_csv(ranked.path / "leaderboard.csv"),
        per_tag=ScoredCandidate.load(run.workspace.open(best["ref"]).path / SCORED_FOLDER).per_tag,
        split=ranked.summary["split"],
        predicted=Predicted(**totals, **by),
        trial=run.is_trial,
        promoted=promoted["promoted"],
        promotion_reason=promoted["reason"],
        examples=_examples(
            predictions.path / EXAMPLES_FILE,
            run.workspace.open(explained).path / EXPLANATIONS_FILE if explained else None,
        ),
        graph=exploration["graph"]["facts"],
        graphsage_losses=exploration["graph"]["losses"],
        cost=cost_of(run),
        harvested=harvest_of(run),
        comparison=comparison_of(run, board, found),
        checks=promoted["decision"]["checks"],
        changes=None if unusable else changes,
        unusable=unusable,
        checked=checked,
        gain=promoted["decision"]["gain"],
        notes=[*filter(None, [run.recorded(SPLIT_SENTENCE)])],
        quarantine=pd.DataFrame(quarantine["counts"], columns=["file", "kind", "reason", "rows"]),
        stages=pd.DataFrame(stages, columns=["stage", "seconds"]),
        settings=run.settings.model_dump(mode="json"),
    )
    metrics = {
        "run_id": run.run_id,
        "trial": run.is_trial,
        "winner": promoted["winner"],
        "model_version": promoted["version"],
        "promoted": promoted["promoted"],
        "promotion_reason": promoted["reason"],
        "promotion": promoted["decision"],
        "candidates": ranked.summary["candidates"],
        "findings": findings,
        "split": ranked.summary["split"],
        "target_tags": ranked.summary["split"]["target_tags"],
        "corpus": exploration["profile"]["counts"],
        "graph": exploration["graph"],
        "predicted_by": "nobody" if unusable else predictions.summary["by"],
        "champion_unusable": unusable,
        "predictions": predictions.summary,
        "predictions_written": changes.written,
        "changes": changes.counts,
        "suggestions": changes.suggested,
        "quarantine": quarantine,
        "checks": asdict(checked) if checked else None,
        "cost": data.cost,
        "seconds": {stage["ref"]: stage["seconds"] for stage in stages},
    }
    with run.workspace.scratch() as folder:
        render_report(data, folder / "report.html")
        (folder / "metrics.json").write_text(json.dumps(metrics, indent=1), encoding="utf-8")
        where = run.workspace.publish(folder / "report.html", "report.html")
        keep_summary(run, metrics, where)
        run.workspace.publish(folder / "metrics.json", "metrics.json")
        log_results(
            tracking_of(run.settings),
            run.run_id,
            metrics={
                **{f"predicted_{name}": value for name, value in totals.items()},
                **{f"changes_{name}": value for name, value in (changes.counts or {}).items()},
                **{f"suggested_{name}": value for name, value in (changes.suggested or {}).items()},
            },
            tables={"leaderboard.csv": data.leaderboard},
            figures=save_pictures(
                [leaderboard_bars(data.leaderboard), loss_curve(data.graphsage_losses)], folder
            ),
            files={name: folder / name for name in ("report.html", "metrics.json")},
        )
    log_spending(run)
    keep_profile(run)
    if unusable:
        raise NonRetryableError(unusable)
    finish(tracking_of(run.settings), run.run_id, "FINISHED")
    run.record(REPORTED, {"report": where})
    return where


def _quarantine(run: RunContext) -> dict[str, Any]:
    """Return the counts of what was not taken as it came: rows of files, and texts."""
    noted = run.recorded(QUARANTINE) or {"rows": 0, "counts": []}
    vectors = run.recorded(VECTORS)
    counts = run.workspace.open(vectors).summary.get("quarantine", []) if vectors else []
    return {
        "rows": noted["rows"] + sum(count["rows"] for count in counts),
        "counts": [*noted["counts"], *counts],
    }


def _changes(run: RunContext) -> Changes:
    """Gather what is new in the predictions, and what is suggested."""
    from tagsage.report.data import ChangedArticle, Changes

    counts, articles = None, []
    if ref := run.recorded(CHANGES):
        compared = run.workspace.open(ref)
        counts = {name: n for name, n in compared.summary.items() if name != "listed"}
        examples = (compared.path / CHANGED_EXAMPLES_FILE).read_text(encoding="utf-8")
        articles = [ChangedArticle(**item) for item in json.loads(examples)]
    suggested, suggestions = None, []
    if ref := run.recorded(SUGGESTED):
        artifact = run.workspace.open(ref)
        suggested = {
            name: artifact.summary[name] for name in ("tagged_articles", "articles", "tags")
        }
        suggestions = _examples(artifact.path / EXAMPLES_FILE)[:SUGGESTIONS_SHOWN]
    return Changes(
        counts=counts,
        written=run.recorded(WRITTEN) or {},
        articles=articles,
        suggested=suggested,
        suggestions=suggestions,
    )


def _examples(file: Path, explanations: Path | None = None) -> list[Example]:
    """Read what the report shows of articles and their tags, with why where that was explained."""
    import pyarrow.parquet as pq

    from tagsage.explain.explanations import Explanation
    from tagsage.report.data import Example, PredictedTag

    items = json.loads(file.read_text(encoding="utf-8"))
    shown = ("story", "in", [item["url"] for item in items])
    rows = []
    if items and explanations is not None:
        rows = pq.read_table(explanations, filters=[shown]).to_pylist()
    because = {(row["story"], row["tag"]): Explanation.of(row).sentence() for row in rows}
    return [
        Example(
            title=item["title"],
            subtitle=item["subtitle"],
            url=item["url"],
            tags=[
                PredictedTag(**tag, because=because.get((item["url"], tag["tag"]), ""))
                for tag in item["tags"]
            ],
        )
        for item in items
    ]


def teardown(token: Token | None) -> None:
    """End the run: drop what engines hold, call an unfinished run failed, remove old files.

    Runs whatever happened before; there is no token when not even the start succeeded. The files
    of the last runs are kept, so that a failed one can be continued; older ones are removed.
    """
    if token is None:
        return
    run = RunContext.of(token)
    try:
        engine_of(run).teardown()
    finally:
        _end(run)


def _end(run: RunContext) -> None:
    from tagsage.embed.plan import prune
    from tagsage.registry.runs import finish

    if not run.recorded(REPORTED):
        finish(tracking_of(run.settings), run.run_id, "FAILED")
        # A run that failed has spent, too.
        log_spending(run)
        return
    kept = latest_runs(run.workspace, RUNS_KEPT)
    artifacts = [artifact for name in kept for artifact in artifacts_of_run(run.workspace, name)]
    removed = run.workspace.prune({artifact["ref"] for artifact in artifacts})
    plans = [artifact["ref"] for artifact in artifacts if artifact["stage"] == "plan"]
    models = {
        run.workspace.open(plan).summary["model_id"] for plan in plans if run.workspace.exists(plan)
    }
    folder = vectors_folder(run)
    removed += prune(folder, models)
    for other in folder.parent.glob(f"lsa-{16 * '[0-9a-f]'}"):
        if other != folder:
            shutil.rmtree(other, ignore_errors=True)
            removed += 1
    logger.info("removed %d artifacts and models of older runs", removed)
