"""The quarantine: rejected, repaired and superseded rows, with the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tagsage.errors import TagsageError
from tagsage.files import write_text

CONTENT_LIMIT = 500
EXAMPLE_LIMIT = 40
REJECTED, REPAIRED, SUPERSEDED = "rejected", "repaired", "superseded"


@dataclass(frozen=True)
class Repairs:
    """Values of one column that were changed for one reason; `accepted` describes a good one."""

    file: str
    column: str
    reason: str
    example: str  # the first such value
    accepted: str
    changed: int = 0  # how many values
    rows: int = 0


class RejectedShareError(TagsageError):
    """Too many rows of a file were rejected; `quarantine` has the records so far."""

    def __init__(self, message: str, quarantine: pd.DataFrame) -> None:
        super().__init__(message)
        self.quarantine = quarantine


class Quarantine:
    """Collects rows that were not taken unchanged, with the reason."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, str, str, str]] = []
        self._repairs: dict[tuple[str, str, str], Repairs] = {}

    def add(self, file: str, line: int, kind: str, reason: str, content: str) -> None:
        """Record one row, which begins on `line` (from 1), as rejected, repaired or superseded.

        Rows are counted by `reason`, so it is the same text for every row with the same fault.
        """
        # A NUL would end the text early in many programs.
        shown = content[:CONTENT_LIMIT].rstrip("\r\n").replace("\0", "␀")
        self._rows.append((file, line, kind, reason, shown))

    def repair(
        self, file: str, line: int, reason: str, content: str, *, value: tuple[str, str, str]
    ) -> None:
        """Record a repaired row; `value` is column, old value, and what would be accepted."""
        self.add(file, line, REPAIRED, reason, content)
        column, was, accepted = value
        example = was[:EXAMPLE_LIMIT].replace("\0", "␀")
        key = (file, column, reason)
        known = self._repairs.get(key) or Repairs(file, column, reason, example, accepted)
        self._repairs[key] = replace(known, changed=known.changed + 1)

    def repairs(self, rows: Mapping[str, int]) -> list[Repairs]:
        """Return the counted repairs; `rows` has the number of rows per file."""
        return [replace(one, rows=rows[one.file]) for one in self._repairs.values()]

    def frame(self) -> pd.DataFrame:
        """Return the records, as in :class:`tagsage.corpus.model.Corpus`."""
        kinds = {"file": "str", "line": "int64", "kind": "str", "reason": "str", "content": "str"}
        return pd.DataFrame(self._rows, columns=[*kinds]).astype(kinds)

    def check_share(self, file: str, rows: int, max_rejected_share: float) -> None:
        """Raise `RejectedShareError` when too large a share of a file's rows was rejected."""
        lines_by_reason: dict[str, list[int]] = {}
        for where, line, kind, reason, _ in self._rows:
            if where == file and kind == REJECTED:
                lines_by_reason.setdefault(reason, []).append(line)
        rejected = sum(map(len, lines_by_reason.values()))
        if rejected <= max_rejected_share * rows:
            return
        commonest = sorted(lines_by_reason.items(), key=lambda item: -len(item[1]))[:3]
        reasons = "; ".join(
            f"{why} ({len(lines):,}, first at line {lines[0]})" for why, lines in commonest
        )
        msg = (
            f"{file}: {rejected:,} of {rows:,} rows were rejected "
            f"({rejected / rows:.1%}), more than max_rejected_share={max_rejected_share:g} "
            f"allows: {reasons}. Mend the file, or raise max_rejected_share."
        )
        raise RejectedShareError(msg, self.frame())


def write_quarantine(quarantine: pd.DataFrame, folder: Path) -> None:
    """Write ``quarantine.csv``, and ``summary.json`` with the counts per file, kind and reason."""
    groups = quarantine.groupby(["file", "kind", "reason"], sort=True).size()
    counts = groups.reset_index(name="rows").sort_values("rows", ascending=False, kind="stable")
    summary = {"rows": len(quarantine), "counts": counts.to_dict("records")}
    rows = quarantine.to_csv(index=False, lineterminator="\n")
    write_text(folder / "quarantine.csv", rows)
    write_text(folder / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
