"""One run: a run's identity, its settings and its place in the workspace.

Tasks run in processes of their own, so what goes from one to the next is small and JSON-able: the
*token* of the run (run id and resolved settings) and the refs of artifacts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from tagsage.settings import Settings
from tagsage.workspace import Artifact, Workspace

Token = dict[str, Any]

# What every run records: when it started, whether it is a trial, and that it is finished.
STARTED, TRIAL, REPORTED = "started", "trial", "reported"


@dataclass(frozen=True)
class RunContext:
    """A run under way: its name, its place in the workspace, and its settings, resolved once."""

    run_id: str
    settings: Settings

    @classmethod
    def of(cls, token: Mapping[str, Any]) -> RunContext:
        """Return the run that a token stands for."""
        return cls(token["run_id"], Settings.model_validate(token["settings"]))

    def token(self) -> Token:
        """Return what other tasks need to take part in this run; JSON-able."""
        return {"run_id": self.run_id, "settings": self.settings.model_dump(mode="json")}

    @cached_property
    def workspace(self) -> Workspace:
        """The workspace of the run."""
        return Workspace(self.settings.workspace)

    @property
    def started(self) -> datetime:
        """When the run began, in UTC; the same for all tries of its tasks."""
        return datetime.fromisoformat(str(self.recorded(STARTED)))

    @property
    def is_trial(self) -> bool:
        """Whether it compares other candidates than the configured ones, beside a champion."""
        return bool(self.recorded(TRIAL))

    def artifact(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        build: Callable[[Path], dict[str, Any] | None],
        *,
        code: tuple[str, ...],
        label: str = "",
    ) -> Artifact:
        """Find or build an artifact and record that this run uses it (see `Workspace.artifact`).

        `label` tells apart the artifacts of one stage; a later one of the same label takes its
        place.
        """
        artifact = self.workspace.artifact(stage, inputs, build, code=code)
        self._record_use(artifact, f"{stage} {label}".strip())
        return artifact

    def reuse(self, ref: str, name: str) -> Artifact:
        """Open an artifact of an earlier run and record that this run uses it, too.

        `name` is that under which :meth:`artifacts` has it: its stage, and its label behind.
        """
        artifact = self.workspace.open(ref)
        self._record_use(artifact, name)
        return artifact

    def _record_use(self, artifact: Artifact, name: str) -> None:
        used = {"ref": artifact.ref, "stage": name, "seconds": artifact.seconds}
        record = f"artifacts/{file_name(name)}"
        if self.recorded(record) != used:
            self.record(record, used)

    def record(self, name: str, value: object) -> None:
        """Keep a small fact of this run under its folder in the workspace."""
        self.workspace.write_json(f"runs/{file_name(self.run_id)}/{name}.json", value)

    def recorded(self, name: str) -> Any | None:
        """Return what `record` kept, or None."""
        return self.workspace.read_json(f"runs/{file_name(self.run_id)}/{name}.json")

    def record_once(self, name: str, find: Callable[[], Any]) -> Any:
        """Return a fact of this run; the first call finds it, by `find`, and records it.

        So a task that runs again gets the same fact as before. `find` does not return None.
        """
        value = self.recorded(name)
        if value is None:
            value = find()
            self.record(name, value)
        return value

    def artifacts(self) -> list[dict[str, Any]]:
        """Return what this run used: ref, stage, seconds it took to make; in the order of use."""
        return artifacts_of_run(self.workspace, file_name(self.run_id))


def file_name(text: str) -> str:
    """Return a text as a name that every file system takes."""
    return re.sub(r"[^A-Za-z0-9.+_-]+", "_", text)


def artifacts_of_run(workspace: Workspace, folder_name: str) -> list[dict[str, Any]]:
    """Return the artifacts that a run used, oldest first."""
    folder = workspace.root / "runs" / folder_name / "artifacts"
    if not folder.exists():
        return []
    files = sorted(folder.iterdir(), key=lambda file: (file.stat().st_mtime, file.name))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def latest_runs(workspace: Workspace, keep: int) -> list[str]:
    """Return the folder names of the latest `keep` runs; the records of older ones are removed."""
    runs = workspace.root / "runs"
    last_used = {}
    for folder in runs.iterdir() if runs.exists() else ():
        # A run's name may be anything, so it is known by its first record.
        if (folder / f"{STARTED}.json").exists():
            times = [file.stat().st_mtime for file in folder.rglob("*.json")]
            last_used[folder.name] = max(times)
    newest_first = sorted(last_used, key=lambda name: (last_used[name], name), reverse=True)
    for name in newest_first[keep:]:
        (runs / name).fs.rm((runs / name).path, recursive=True)
    return newest_first[:keep]
