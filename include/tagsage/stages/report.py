"""Write the report of a run, ``report.html``, and its numbers, ``metrics.json``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tagsage import __version__
from tagsage.errors import NonRetryableError
from tagsage.files import write_json
from tagsage.run_context import REPORTED, RunContext, Token
from tagsage.stages.artifacts import VECTORS, Ref, load_scored
from tagsage.stages.backends import log_results, tracking_of
from tagsage.stages.candidates import compared, what_was_compared
from tagsage.stages.changes import CHANGES
from tagsage.stages.checks import QUARANTINE, checks_of, keep_profile
from tagsage.stages.compare import LEADERBOARD_FILE
from tagsage.stages.earlier_run import earlier_run, keep_run
from tagsage.stages.explain import EXPLANATIONS_FILE
from tagsage.stages.findings import comparison_of
from tagsage.stages.harvest import harvest_of
from tagsage.stages.notifications import METRICS, record_summary
from tagsage.stages.predict import UNUSABLE, WRITTEN
from tagsage.stages.promote import Promoted
from tagsage.stages.spending import cost_of, log_spending
from tagsage.stages.splitting import SPLIT_SENTENCE
from tagsage.stages.suggest import SUGGESTED
from tagsage.stages.tag_tables import EXAMPLES_FILE

if TYPE_CHECKING:
    from tagsage.report.report_data import Changes, ReportData

REPORT = "report.html"
SUGGESTIONS_SHOWN = 6
PREDICTED = ("articles", "assigned", "tags")


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

    Returns where the report is. Raises `NonRetryableError` at the end, when the champion could not
    be used to predict.
    """
    from tagsage.registry.runs import finish
    from tagsage.report.figures import leaderboard_bars, loss_curve
    from tagsage.report.html import render_report

    run = RunContext.of(token)
    data = _report_data(run, board, found, promoted, predicted, explored, explained)
    changes = _changes(run)
    metrics = _metrics(run, data, changes, board, found, promoted, predicted, explored)
    counts = {
        "predicted": {name: metrics["predictions"][name] for name in PREDICTED},
        "changes": changes.counts or {},
        "suggested": changes.suggested or {},
    }
    with run.workspace.scratch() as folder:
        render_report(data, folder / REPORT)
        write_json(folder / METRICS, metrics)
        where = run.workspace.publish(folder / REPORT, REPORT)
        record_summary(run, metrics, where)
        run.workspace.publish(folder / METRICS, METRICS)
        log_results(
            run,
            metrics={
                f"{kind}_{name}": value
                for kind, values in counts.items()
                for name, value in values.items()
            },
            tables={LEADERBOARD_FILE: data.leaderboard},
            pictures=[leaderboard_bars(data.leaderboard), loss_curve(data.graphsage_losses)],
            files={name: folder / name for name in (REPORT, METRICS)},
        )
    log_spending(run)
    keep_profile(run)
    if data.unusable:
        raise NonRetryableError(data.unusable)
    finish(tracking_of(run.settings), run.run_id, "FINISHED")
    if not run.is_trial:
        ranking = run.workspace.open(board).summary["ranking"]
        version = promoted["champion_version"] or promoted["version"]
        keep_run(run, version=version, compared=what_was_compared(run, ranking))
    run.record(REPORTED, {"report": where})
    return where


def _report_data(
    run: RunContext,
    board: Ref,
    found: Ref,
    promoted: Promoted,
    predicted: Ref,
    explored: Ref,
    explained: Ref,
) -> ReportData:
    import pandas as pd

    from tagsage.report.corpus_profile import CorpusProfile
    from tagsage.report.examples import read_examples
    from tagsage.report.report_data import Predicted, ReportData

    ranked, predictions, exploration = map(run.workspace.open, (board, predicted, explored))
    explanations = run.workspace.open(explained).path / EXPLANATIONS_FILE if explained else None
    unusable = str(run.recorded(UNUSABLE) or "")
    winner = run.workspace.open(found).summary["winner"]
    notes = (_compared_sentence(run), run.recorded(SPLIT_SENTENCE), winner and winner["sentence"])
    return ReportData(
        run_id=run.run_id,
        started=f"{run.started:%d %B %Y, %H:%M} UTC",
        version=__version__,
        corpus_name=run.settings.articles or run.settings.corpus,
        profile=CorpusProfile.from_json(exploration.summary["profile"]),
        leaderboard=pd.read_csv(ranked.path / LEADERBOARD_FILE),
        per_tag=load_scored(run, ranked.summary["best"]["ref"]).per_tag,
        split=ranked.summary["split"],
        predicted=Predicted(**{
            name: predictions.summary[name] for name in (*PREDICTED, "version", "candidate")
        }),
        trial=run.is_trial,
        promoted=promoted["promoted"],
        promotion_reason=promoted["reason"],
        checks=promoted["decision"]["checks"],
        gain=promoted["decision"]["gain"],
        examples=read_examples(predictions.path / EXAMPLES_FILE, explanations),
        graph=exploration.summary["graph"]["facts"],
        graphsage_losses=exploration.summary["graph"]["losses"],
        cost=cost_of(run),
        quarantine=pd.DataFrame(
            _quarantine(run)["counts"], columns=["file", "kind", "reason", "rows"]
        ),
        stages=pd.DataFrame(run.artifacts(), columns=["stage", "seconds"]),
        settings=run.settings.model_dump(mode="json"),
        harvested=harvest_of(run),
        comparison=comparison_of(run, board, found),
        changes=None if unusable else _changes(run),
        checked=checks_of(run),
        unusable=unusable,
        notes=[note for note in notes if note],
    )


def _metrics(
    run: RunContext,
    data: ReportData,
    changes: Changes,
    board: Ref,
    found: Ref,
    promoted: Promoted,
    predicted: Ref,
    explored: Ref,
) -> dict[str, Any]:
    ranked, findings, predictions, exploration = (
        run.workspace.open(ref).summary for ref in (board, found, predicted, explored)
    )
    return {
        "run_id": run.run_id,
        "trial": run.is_trial,
        "winner": promoted["winner"],
        "model_version": promoted["version"],
        "promoted": promoted["promoted"],
        "promotion_reason": promoted["reason"],
        "promotion": promoted["decision"],
        "candidates": ranked["candidates"],
        "compared": compared(run)["what"],
        "compared_because": compared(run)["why"],
        "reused": _reused(run),
        "findings": findings,
        "split": ranked["split"],
        "target_tags": ranked["split"]["target_tags"],
        "corpus": exploration["profile"]["counts"],
        "graph": exploration["graph"],
        "predicted_by": "nobody" if data.unusable else predictions["by"],
        "champion_unusable": data.unusable,
        "predictions": predictions,
        "predictions_written": changes.written,
        "changes": changes.counts,
        "suggestions": changes.suggested,
        "quarantine": _quarantine(run),
        "checks": asdict(data.checked) if data.checked else None,
        "cost": data.cost,
        "seconds": {stage["ref"]: stage["seconds"] for stage in run.artifacts()},
    }


def _compared_sentence(run: RunContext) -> str:
    found = compared(run)
    if found["what"] == "all":
        return ""
    names = ", ".join(found["candidates"])
    return f"Only the best candidates of an earlier run are compared ({names}): {found['why']}."


def _reused(run: RunContext) -> list[str]:
    """Return the names of the artifacts that the last run had made, or used, too."""
    earlier = earlier_run(run).get("artifacts", {})
    used = {artifact["stage"]: artifact["ref"] for artifact in run.artifacts()}
    return [name for name, ref in used.items() if earlier.get(name) == ref]


def _quarantine(run: RunContext) -> dict[str, Any]:
    """Return how many rows of the source, and texts, were not used as they came, and why."""
    of_source = run.recorded(QUARANTINE) or {"rows": 0, "counts": []}
    vectors = run.recorded(VECTORS)
    of_texts = run.workspace.open(vectors).summary.get("quarantine", []) if vectors else []
    return {
        "rows": of_source["rows"] + sum(count["rows"] for count in of_texts),
        "counts": [*of_source["counts"], *of_texts],
    }


def _changes(run: RunContext) -> Changes:
    from tagsage.report.examples import read_examples
    from tagsage.report.report_data import ChangedArticle, Changes

    counts, articles = None, []
    if ref := run.recorded(CHANGES):
        compared = run.workspace.open(ref).summary
        counts = compared["counts"]
        articles = [ChangedArticle(**item) for item in compared["examples"]]
    suggested, suggestions = None, []
    if ref := run.recorded(SUGGESTED):
        artifact = run.workspace.open(ref)
        suggested = {
            name: artifact.summary[name] for name in ("tagged_articles", "articles", "tags")
        }
        suggestions = read_examples(artifact.path / EXAMPLES_FILE)[:SUGGESTIONS_SHOWN]
    return Changes(counts, run.recorded(WRITTEN) or {}, articles, suggested, suggestions)
