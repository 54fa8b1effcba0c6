"""The last finished run: what it was made of, and what this run may take over from it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from upath import UPath

from tagsage.files import sha256_of
from tagsage.run_context import RunContext
from tagsage.stages.artifacts import Ref
from tagsage.stages.backends import tracking_of
from tagsage.workspace import code_digest

# In the workspace: the last finished run. A run that goes on beyond its checks marks it replaced.
FINISHED = "runs/finished.json"
REPLACED = "replaced"
# What a run records: the last finished run as it was when this one asked first.
EARLIER = "earlier_run"
ALL_CODE = (
    *("corpus", "store", "embed", "graph", "runner", "features", "learn", "evaluate", "registry"),
    *("explain", "report", "app", "stages"),
)


def earlier_run(run: RunContext) -> dict[str, Any]:
    """Return what :func:`keep_run` had kept when this run asked first; empty for nothing."""
    earlier: dict[str, Any] = run.record_once(
        EARLIER, lambda: run.workspace.read_json(FINISHED) or {}
    )
    return earlier


def earlier_artifact(run: RunContext, name: str) -> Ref:
    """Return an artifact of the last finished run; empty when settings or code were others."""
    earlier = earlier_run(run)
    ref = str(earlier.get("artifacts", {}).get(name, ""))
    is_usable = ref and earlier["recipe"] == recipe(run) and run.workspace.exists(ref)
    return ref if is_usable else ""


def recipe(run: RunContext) -> str:
    """Digest the settings and the code that a run's results depend on, but not its input."""
    inputs = {"articles", "lists", "vectors", "compare"}
    settings = run.settings.model_dump(mode="json", exclude=inputs)
    parts = [settings, code_digest(tuple(sorted(ALL_CODE)))]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def vectors_digest(run: RunContext) -> str:
    """Digest the file of vectors; empty without one."""
    return sha256_of(UPath(run.settings.vectors)) if run.settings.vectors else ""


def keep_run(run: RunContext, *, version: str, compared: dict[str, Any]) -> None:
    """Keep what the next run asks about this one, which is finished, and no trial.

    `version` of the model predicted; `compared` is what
    :func:`~tagsage.stages.candidates.what_was_compared` says of the candidates.
    """
    value = {
        "run_id": run.run_id,
        "recipe": recipe(run),
        "champion": champion_of(run, version),
        "vectors": vectors_digest(run),
        "artifacts": {used["stage"]: used["ref"] for used in run.artifacts()},
        **compared,
    }
    run.workspace.write_json(FINISHED, value)


def champion_of(run: RunContext, version: str = "") -> str:
    """Return a name of the champion, or of a version, that no other store's model has."""
    from tagsage.registry.versions import registered_model

    model = registered_model(tracking_of(run.settings), run.settings.registered_model)
    found = model.version(version) if version else model.champion
    return f"{found.number} {found.run_id}" if found else ""
