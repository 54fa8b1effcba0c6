"""The catalogue that the pages in Airflow are served from, and the history that they draw."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tagsage import __version__
from tagsage.run_context import STARTED, RunContext, Token
from tagsage.stages.common import Ref, load_labels, load_snapshot, tracking_of
from tagsage.stages.compare import SCORED_FOLDER
from tagsage.stages.predict import UNUSABLE
from tagsage.stages.promote import Promoted

if TYPE_CHECKING:
    import pandas as pd

    from tagsage.store.snapshot import Snapshot
    from tagsage.workspace import Artifact

logger = logging.getLogger(__name__)

EXPLANATIONS_FILE = "explanations.parquet"


def catalogue(
    token: Token,
    corpus: Ref,
    split: Ref,
    board: Ref,
    promoted: Promoted,
    predicted: Ref,
    explained: Ref = "",
) -> str:
    """Write ``catalogue.db``, from which the pages are served, and remember the run.

    A trial is not remembered: the pages go on to tell of the last ordinary run, with the
    predictions of now.

    Parameters
    ----------
    token : dict
        The run.
    corpus, split, board, predicted : str
        Refs of the snapshot, the split, the leaderboard and the predictions.
    promoted : dict
        The decision.
    explained : str
        Ref of an artifact that holds ``explanations.parquet``; empty: there are none, and the
        pages show only what can be counted.

    Returns
    -------
    str
        Where the catalogue is.
    """
    from tagsage.app.catalogue.build import CatalogueData, build_catalogue
    from tagsage.app.catalogue.history import latest_runs, remember
    from tagsage.app.catalogue.schema import CATALOGUE_FILE
    from tagsage.evaluate.scored_candidate import ScoredCandidate

    run = RunContext.of(token)
    ranked = run.workspace.open(board)
    predictions = run.workspace.open(predicted)
    snapshot = load_snapshot(run, corpus)
    target_tags = load_labels(run, split).tags
    facts = _facts(run, snapshot, ranked, promoted, predictions)
    facts["counts"]["target_tags"] = len(target_tags)
    if run.is_trial:
        facts, per_tag = _last_ordinary(run, facts)
    else:
        remember(run.workspace, run.folder_name, _history(facts, ranked))
        best = ranked.summary["best"]
        per_tag = ScoredCandidate.load(run.workspace.open(best["ref"]).path / SCORED_FOLDER).per_tag
    data = CatalogueData(
        snapshot=snapshot,
        target_tags=learned_tags(target_tags, predictions.path / "predictions.parquet"),
        per_tag=per_tag,
        predictions=predictions.path / "predictions.parquet",
        facts={"run": facts, "runs": latest_runs(run.workspace)},
        explanations=run.workspace.open(explained).path / EXPLANATIONS_FILE if explained else None,
    )
    with run.workspace.scratch() as folder:
        file = folder / CATALOGUE_FILE
        counts = build_catalogue(data, file)
        where = run.workspace.publish(file, CATALOGUE_FILE)
    if counts["unknown"]:
        logger.warning(
            "%d predictions or explanations are of articles or tags that the corpus does not hold; "
            "they are left out.",
            counts["unknown"],
        )
    logger.info("catalogue: %s", counts)
    return where


def learned_tags(target_tags: Sequence[str], predictions: Path) -> list[str]:
    """Return this run's target tags, and those that an earlier run's champion still assigns.

    Parameters
    ----------
    target_tags : sequence of str
        This run's.
    predictions : pathlib.Path
        A Parquet file with a column ``tag``.
    """
    import pyarrow.parquet as pq

    given = pq.read_table(predictions, columns=["tag"]).column("tag").unique().to_pylist()
    return sorted({*target_tags, *given})


def _last_ordinary(run: RunContext, facts: dict[str, Any]) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what the catalogue tells of the last ordinary run, and its scores tag by tag.

    Without such a catalogue there is no leaderboard, and there are no scores.
    """
    import pandas as pd

    from tagsage.app.catalogue.build import SCORES
    from tagsage.app.catalogue.schema import CATALOGUE_FILE
    from tagsage.app.database import CatalogueError, NoCatalogueError, fact, reading

    told, rows = facts | {"leaderboard": []}, []
    try:
        with reading(run.workspace.local_folder() / CATALOGUE_FILE) as connection:
            told = fact(connection, "run")
            rows = connection.execute("SELECT * FROM tags WHERE f1 IS NOT NULL").fetchall()
    except (NoCatalogueError, CatalogueError) as error:
        logger.warning("the pages have no leaderboard before the next ordinary run: %s", error)
    now = {name: facts[name] for name in ("counts", "predicted")}
    columns = ["tag", *SCORES]
    return told | now, pd.DataFrame([dict(row) for row in rows], columns=columns)


def _facts(
    run: RunContext,
    snapshot: Snapshot,
    ranked: Artifact,
    promoted: Promoted,
    predictions: Artifact,
) -> dict[str, Any]:
    """Gather what the first page tells of the run."""
    import pandas as pd

    from tagsage.registry.runs import parent_run

    tracking = tracking_of(run.settings)
    leaderboard = pd.read_csv(ranked.path / "leaderboard.csv").to_dict("records")
    totals = {
        key: predictions.summary[key]
        for key in ("articles", "assigned", "tags", "version", "candidate", "by")
    }
    return {
        "run_id": run.run_id,
        "started": str(run.recorded(STARTED)),
        "version": __version__,
        "winner": promoted["winner"],
        "promoted": promoted["promoted"],
        "reason": promoted["reason"],
        "model_version": promoted["version"],
        "champion_version": promoted["champion_version"],
        "leaderboard": [
            {str(name): _plain(value) for name, value in row.items()} for row in leaderboard
        ],
        "split": ranked.summary["split"],
        "predicted": totals,
        "unusable": run.recorded(UNUSABLE) or "",
        "counts": {
            "articles": int((~snapshot.articles["is_stub"]).sum()),
            "stubs": int(snapshot.articles["is_stub"].sum()),
            "lists": len(snapshot.lists),
            "memberships": len(snapshot.article_index),
        },
        "mlflow": {
            "experiment": tracking.experiment_id,
            "run": parent_run(tracking, run.run_id),
        },
    }


def _history(facts: dict[str, Any], ranked: Artifact) -> dict[str, Any]:
    """Return what is remembered of the run when its catalogue is long replaced."""
    started = datetime.strptime(facts["started"], "%d %B %Y, %H:%M UTC").replace(tzinfo=UTC)
    kept = ("run_id", "started", "winner", "promoted", "model_version", "champion_version")
    return {
        "at": started.isoformat(timespec="minutes"),
        **{name: facts[name] for name in kept},
        "scores": {
            name: {key: _plain(value) for key, value in scores.items()}
            for name, scores in ranked.summary["candidates"].items()
        },
        "counts": facts["counts"],
        "predicted": facts["predicted"],
    }


def _plain(value: Any) -> Any:
    """Return a value that JSON has: no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
