"""What was not taken as it came: rejected, repaired and superseded rows, with the reason."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from tagsage.errors import TagsageError

CONTENT_LIMIT = 500
EXAMPLE_LIMIT = 40
REJECTED, REPAIRED, SUPERSEDED = "rejected", "repaired", "superseded"


@dataclass(frozen=True)
class Repairs:
    """Values of one column that were changed for one reason.

    Attributes
    ----------
    file, column, reason : str
        Where, and why.
    example : str
        The first such value; cut at 40 characters.
    accepted : str
        What is taken as it comes.
    changed, rows : int
        How many values were changed, and how many rows the file has.
    """

    file: str
    column: str
    reason: str
    example: str
    accepted: str
    changed: int = 0
    rows: int = 0


class RejectedShareError(TagsageError):
    """Too many rows of a file were rejected.

    Attributes
    ----------
    quarantine : pandas.DataFrame
        Everything recorded until then, so that it can still be written.
    """

    def __init__(self, message: str, quarantine: pd.DataFrame) -> None:
        super().__init__(message)
        self.quarantine = quarantine


class Quarantine:
    """Collects rows with the reason why they were not taken as they came."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, int, str, str, str]] = []
        self._repairs: dict[tuple[str, str, str], Repairs] = {}

    def add(self, file: str, line: int, kind: str, reason: str, content: str) -> None:
        """Record one row.

        Parameters
        ----------
        file : str
            The file's name.
        line : int
            Where the row begins, from 1.
        kind : str
            ``rejected``, ``repaired`` or ``superseded``.
        reason : str
            Why, in words that are the same for every row of this fault: they are counted.
        content : str
            The row; cut at 500 characters.
        """
        # A NUL would end the text early in many a program that shows it.
        shown = content[:CONTENT_LIMIT].rstrip("\r\n").replace("\0", "␀")
        self._rows.append((file, line, kind, reason, shown))

    def repair(
        self, file: str, line: int, reason: str, content: str, *, value: tuple[str, str, str]
    ) -> None:
        """Record one row as repaired, as :meth:`add` does, and count the value that was changed.

        `value` is the column, what stood there, and what would be taken as it comes.
        """
        self.add(file, line, REPAIRED, reason, content)
        column, was, accepted = value
        example = was[:EXAMPLE_LIMIT].replace("\0", "␀")
        key = (file, column, reason)
        known = self._repairs.get(key) or Repairs(file, column, reason, example, accepted)
        self._repairs[key] = replace(known, changed=known.changed + 1)

    def repairs(self, rows: Mapping[str, int]) -> list[Repairs]:
        """Return what :meth:`repair` counted; `rows` says how many rows each file has."""
        return [replace(one, rows=rows[one.file]) for one in self._repairs.values()]

    def frame(self) -> pd.DataFrame:
        """Return what was recorded, as in :class:`tagsage.corpus.model.Corpus`."""
        columns = list(zip(*self._rows, strict=True)) or [()] * 5
        return pd.DataFrame({
            "file": pd.array(columns[0], dtype="str"),
            "line": pd.array(columns[1], dtype="int64").to_numpy(),
            "kind": pd.array(columns[2], dtype="str"),
            "reason": pd.array(columns[3], dtype="str"),
            "content": pd.array(columns[4], dtype="str"),
        })

    def rejected(self, file: str) -> list[tuple[int, str]]:
        """Return line and reason of every rejected row of a file."""
        return [(row[1], row[3]) for row in self._rows if row[0] == file and row[2] == REJECTED]

    def check_share(self, file: str, rows: int, max_rejected_share: float) -> None:
        """Stop when too large a share of a file's rows was rejected.

        Parameters
        ----------
        file : str
            The file's name.
        rows : int
            How many rows it has, the rejected ones included.
        max_rejected_share : float
            The largest share allowed, 0 to 1.

        Raises
        ------
        RejectedShareError
            With the three commonest reasons and where each occurs first.
        """
        rejected = self.rejected(file)
        if len(rejected) <= max_rejected_share * rows:
            return
        first: dict[str, int] = {}
        for line, reason in rejected:
            first.setdefault(reason, line)
        commonest = Counter(reason for _, reason in rejected).most_common(3)
        told = "; ".join(f"{why} ({n:,}, first at line {first[why]})" for why, n in commonest)
        msg = (
            f"{file}: {len(rejected):,} of {rows:,} rows were rejected "
            f"({len(rejected) / rows:.1%}), more than max_rejected_share={max_rejected_share:g} "
            f"allows: {told}. Mend the file, or raise max_rejected_share."
        )
        raise RejectedShareError(msg, self.frame())


def write_quarantine(quarantine: pd.DataFrame, folder: Path) -> None:
    """Write ``quarantine.csv`` and ``summary.json``, each whole or not at all.

    Parameters
    ----------
    quarantine : pandas.DataFrame
        As in :class:`tagsage.corpus.model.Corpus`.
    folder : pathlib.Path
        Where to; made when it does not exist. The summary holds the total and, the most frequent
        first, how many rows there are of every file, kind and reason.
    """
    folder.mkdir(parents=True, exist_ok=True)
    groups = (
        quarantine.groupby(["file", "kind", "reason"], sort=True).size().reset_index(name="rows")
    )
    counts = groups.sort_values("rows", ascending=False, kind="stable").to_dict("records")
    summary = json.dumps({"rows": len(quarantine), "counts": counts}, indent=1, ensure_ascii=False)

    def write_rows(file: Path) -> None:
        quarantine.to_csv(file, index=False, lineterminator="\n")

    def write_summary(file: Path) -> None:
        file.write_text(summary + "\n", encoding="utf-8")

    _replace(folder / "quarantine.csv", write_rows)
    _replace(folder / "summary.json", write_summary)


def _replace(target: Path, write: Callable[[Path], None]) -> None:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    try:
        write(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
