"""What is kept of every night, so that the pages can show how scores went.

One small JSON file a run in ``history/`` of the workspace; a run that is done again replaces its
own. The pages read them from the catalogue.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tagsage.workspace import Workspace

logger = logging.getLogger(__name__)

FOLDER = "history"
RUNS_KEPT = 400
RUNS_SHOWN = 60
NEEDED = ("run_id", "started", "winner", "promoted", "scores")


def remember(workspace: Workspace, name: str, entry: Mapping[str, Any]) -> None:
    """Keep what is told of a run.

    Parameters
    ----------
    workspace : Workspace
        The workspace.
    name : str
        The run's id as a file's name.
    entry : mapping
        JSON-able: ``at``, when the run began (ISO 8601, UTC), :data:`NEEDED`, and what else is
        to be kept. ``scores`` are the metrics by candidate.
    """
    workspace.write_json(f"{FOLDER}/{name}.json", dict(entry))


def latest_runs(workspace: Workspace, shown: int = RUNS_SHOWN) -> list[dict[str, Any]]:
    """Return what was remembered of the latest runs, oldest first.

    Runs beyond :data:`RUNS_KEPT` are forgotten. A file that cannot be read is left out, and
    the log says so.
    """
    folder = workspace.root / FOLDER
    entries = []
    for file in sorted(folder.iterdir()) if folder.exists() else ():
        try:
            entry = json.loads(file.read_text(encoding="utf-8"))
            missing = [name for name in NEEDED if name not in entry]
            if missing:
                raise ValueError(f"it lacks {', '.join(missing)}")
            entries.append((datetime.fromisoformat(entry["at"]).timestamp(), file, entry))
        except (ValueError, KeyError, TypeError) as error:
            logger.warning("%s is left out of the history (%s); remove it.", file, error)
    entries.sort(key=lambda one: (one[0], one[1].name))
    for _, file, _ in entries[:-RUNS_KEPT]:
        file.unlink(missing_ok=True)
    return [entry for _, _, entry in entries[-shown:]]
