"""What all benchmarks share: measuring in a fresh process, comparing side by side, printing.

A measurement runs in a process of its own, so that neither memory nor warm caches of one variant
reach the next. Arguments are handed over before the clock starts.
"""

from __future__ import annotations

import gc
import math
import os
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import cloudpickle

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("numpy", "scipy", "scikit-learn", "pandas", "jax")
MB = 1024 * 1024
# The scores that tables of candidates show, by the name of the metric.
SCORES = {"micro_f1": "micro-F1", "macro_f1": "macro-F1", "p_at_5": "P@5", "lrap": "LRAP"}
# The child reports in a file: what it prints itself goes to the terminal.
CHILD = "import sys; from benchmarks.runner import _child; _child(*sys.argv[1:])"


class MeasureError(RuntimeError):
    """The measured callable failed, was killed or took too long."""


@dataclass(frozen=True)
class Measure(Generic[T]):
    """One measurement; unpacks as ``result, seconds, peak_mb``.

    Attributes
    ----------
    result : object
        What the callable returned.
    seconds : float
        Wall-clock time of the call alone.
    peak_mb : float
        Largest resident memory of the process during the call, in MiB; memory-mapped pages count,
        child processes do not.
    baseline_mb : float
        Resident memory just before the call: the interpreter, what is imported, the arguments.
    """

    result: T
    seconds: float
    peak_mb: float
    baseline_mb: float

    def __iter__(self) -> Iterator[Any]:
        return iter((self.result, self.seconds, self.peak_mb))

    @property
    def extra_mb(self) -> float:
        """What the call itself needed at its peak, in MiB."""
        return max(self.peak_mb - self.baseline_mb, 0.0)


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes
    ----------
    name : str
        The variant.
    seconds, peak_mb, extra_mb : float
        As in :class:`Measure`; NaN prints as a dash.
    columns : mapping
        Further cells by heading; the same headings in all rows.
    """

    name: str
    seconds: float
    peak_mb: float = float("nan")
    extra_mb: float = float("nan")
    columns: Mapping[str, object] = field(default_factory=dict)


def measure(call: Callable[[], T], *, timeout_s: float | None = None) -> Measure[T]:
    """Run a callable once in a fresh process and measure it.

    Parameters
    ----------
    call : callable
        Takes no argument; closures, lambdas and partials are fine. To leave compilation or reading
        out of the time, give a callable made by :func:`prepared`.
    timeout_s : float, optional
        Give up after this many seconds, start of the process included.

    Returns
    -------
    Measure
        Result, seconds and memory.

    Raises
    ------
    MeasureError
        When the callable raises, its process is killed, or the time is over.
    """
    with tempfile.TemporaryDirectory() as folder:
        request, answer = Path(folder) / "request", Path(folder) / "answer"
        request.write_bytes(cloudpickle.dumps(call))
        path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
        try:
            status = subprocess.run(
                [sys.executable, "-c", CHILD, str(request), str(answer)],
                env=os.environ | {"PYTHONPATH": path},
                timeout=timeout_s,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired as error:
            raise MeasureError(f"took longer than {timeout_s:g} s") from error
        if status < 0:
            raise MeasureError(f"was killed by signal {-status} (9: often out of memory)")
        if status > 0:
            raise MeasureError("failed; its trace is above")
        measured: Measure[T] = cloudpickle.loads(answer.read_bytes())
        return measured


def _child(request: str, answer: str) -> None:
    call = cloudpickle.loads(Path(request).read_bytes())
    if isinstance(call, _Prepared):
        call = call.finish()
    gc.collect()
    reset_peak()
    baseline = memory("VmRSS")
    started = time.perf_counter()
    result = call()
    seconds = time.perf_counter() - started
    peak = max(memory("VmHWM"), baseline)
    measured = Measure(result, seconds, peak, baseline)
    Path(answer).write_bytes(cloudpickle.dumps(measured))


@dataclass(frozen=True)
class _Prepared:
    prepare: Callable[[], Any]
    call: Callable[[Any], Any]

    def finish(self) -> Callable[[], Any]:
        ready = self.prepare()
        return lambda: self.call(ready)

    def __call__(self) -> Any:
        return self.call(self.prepare())


def prepared(prepare: Callable[[], Any], call: Callable[[Any], T]) -> Callable[[], T]:
    """Return a callable for :func:`measure` whose preparation is not measured.

    Parameters
    ----------
    prepare : callable
        Runs first in the fresh process: imports, reads, compiles; returns what `call` takes.
    call : callable
        What is measured.

    Returns
    -------
    callable
        ``call(prepare())``, of which :func:`measure` measures only the outer call.
    """
    return _Prepared(prepare, call)


def reset_peak(pid: int | None = None) -> None:
    """Let the peak of a process, by default this one, start from now (Linux)."""
    try:
        Path(f"/proc/{pid or 'self'}/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # elsewhere the peak of the whole process is reported


def memory(name: str, pid: int | None = None) -> float:
    """Return a memory figure of a process, by default this one, in MiB.

    Parameters
    ----------
    name : str
        ``VmRSS``, what is resident now, or ``VmHWM``, the peak.
    pid : int, optional
        Another process; NaN where the system does not tell.
    """
    # Not ru_maxrss where it can be helped: on Linux that starts at the parent's memory at the fork.
    status = Path(f"/proc/{pid or 'self'}/status")
    if status.exists():
        found = re.search(rf"^{name}:\s+(\d+) kB", status.read_text(encoding="ascii"), re.MULTILINE)
        if found:
            return int(found[1]) * 1024 / MB
    if pid is not None:
        return math.nan
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MB


def side_by_side(
    variants: Mapping[str, Callable[[], Any]],
    *,
    repeats: int = 5,
    columns: Callable[[Any], Mapping[str, object]] | None = None,
) -> list[Row]:
    """Measure variants in turn, A B A B ..., and take medians.

    Interleaved, because a machine that slows down meanwhile then slows all variants.

    Parameters
    ----------
    variants : mapping
        Callables by name; the first is the reference of the ratios.
    repeats : int
        Rounds, at least 1.
    columns : callable, optional
        Makes further cells from a variant's last result.

    Returns
    -------
    list of Row
        One a variant, in order: median seconds, median memory.
    """
    if repeats < 1:
        raise ValueError(f"{repeats=} must be at least 1")
    measured: dict[str, list[Measure[Any]]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, call in variants.items():
            measured[name].append(measure(call))
    return [
        Row(
            name,
            statistics.median(one.seconds for one in runs),
            statistics.median(one.peak_mb for one in runs),
            statistics.median(one.extra_mb for one in runs),
            columns(runs[-1].result) if columns else {},
        )
        for name, runs in measured.items()
    ]


def table(rows: Sequence[Row]) -> str:
    """Return a Markdown table with the ratio of each row's time to the first row's.

    Parameters
    ----------
    rows : sequence of Row
        At least one.

    Returns
    -------
    str
        The table; a ratio of 2.00 means twice the time of the first row.
    """
    extra = list(rows[0].columns)
    headings = ["", "seconds", "ratio", "peak MiB", "of it the call's", *extra]
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)]]
    for row in rows:
        ratio = row.seconds / rows[0].seconds if rows[0].seconds else float("nan")
        cells = [row.name, number(row.seconds, 3), number(ratio, 2)]
        cells += [number(row.peak_mb, 0), number(row.extra_mb, 0)]
        cells += [str(row.columns[heading]) for heading in extra]
        lines.append([cell.replace("|", r"\|") for cell in cells])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float, digits: int) -> str:
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def machine() -> str:
    """Return one line that names the machine: cores, processor, memory, Python, libraries."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    libraries = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    return (
        f"{cores} cores of {_processor()}, {memory:.0f} GiB; {platform.system()} "
        f"{platform.machine()}; Python {platform.python_version()}, {libraries}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(
            r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.MULTILINE
        )
        if found:
            return found[1].strip()
    return platform.processor() or "an unnamed processor"
