"""What every block does: fit a state, make features of articles with it, save it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from tagsage.files import read_json, write_json
from tagsage.graph.csr import load_csr, save_csr

if TYPE_CHECKING:
    from tagsage.features.articles import MarkedArticles
    from tagsage.features.known_articles import KnownArticles
    from tagsage.graph.csr import Csr
    from tagsage.runner import Runner
    from tagsage.settings import Settings

Part: TypeAlias = "npt.NDArray[np.float32] | Csr"

STATE_FILE = "state.json"
# Larger arrays are memory-mapped.
MAPPED_BYTES = 1 << 20


class Block(ABC):
    """A kind of feature, fitted: a function of an article and a small state.

    Training, evaluation, prediction, serving and explanations all call :meth:`transform`.
    """

    name: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()
    """The settings that a state depends on."""
    needs_lists: ClassVar[bool] = False
    """Whether it says nothing of an article in no list."""
    needs_vectors: ClassVar[bool] = False
    """Whether it is made of the articles' vectors."""
    needs_tags: ClassVar[bool] = False
    """Whether its state is made of tags."""
    sparse: ClassVar[bool] = False
    """Whether it has a column per word, list or author."""
    refreshable: ClassVar[bool] = False
    """Whether a state of another corpus has the same columns: weights fitted on the old one fit."""
    unit_rows: ClassVar[bool] = True
    """Whether classifiers that scale rows to unit length may do so, in parts of several columns."""

    @classmethod
    @abstractmethod
    def fit(cls, articles: MarkedArticles, settings: Settings, runner: Runner) -> Self:
        """Fit the state on those of some articles that were counted.

        States are sums over articles, so partitions don't matter. Only the settings named in
        `settings` are read.
        """

    def refreshed(self, articles: MarkedArticles, runner: Runner) -> Self:
        """Fit the state of a refreshable block again, on other articles, by its old settings."""
        del articles, runner
        raise NotImplementedError(f"{self.name} has other columns on another corpus")

    @abstractmethod
    def transform(self, articles: MarkedArticles) -> tuple[Part, ...]:
        """Return the features of any articles: dense parts or one sparse part, float32 [n, d].

        Where an article was counted in the fit, its own tags are left out. Parts are separate so
        that each can be scaled by itself.
        """

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return what the constructor takes, by name: arrays, sparse matrices, and JSON."""

    def columns(self, known: KnownArticles) -> npt.NDArray[np.object_]:
        """Return what each column of a sparse block stands for, [d]."""
        del known
        raise NotImplementedError(f"the columns of {self.name} have no names")

    def save(self, folder: Path) -> None:
        """Write the state as arrays and JSON into a folder, which is made."""
        save_state(folder, self.state())

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; large arrays are memory-mapped."""
        return cls(**load_state(folder))


def save_state(folder: Path, state: Mapping[str, Any]) -> None:
    """Write arrays, sparse matrices and JSON-able values into a folder, which is made."""
    values: dict[str, Any] = {}
    arrays: list[str] = []
    matrices: list[str] = []
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            np.save(folder / f"{name}.npy", value, allow_pickle=False)
            arrays.append(name)
        elif isinstance(value, sp.csr_array):
            save_csr(folder / name, value)
            matrices.append(name)
        else:
            values[name] = value
    write_json(folder / STATE_FILE, {"values": values, "arrays": arrays, "matrices": matrices})


def load_state(folder: Path) -> dict[str, Any]:
    """Read what :func:`save_state` wrote; large arrays are memory-mapped."""
    saved: Any = read_json(folder / STATE_FILE)
    state: dict[str, Any] = saved["values"]
    for name in saved["arrays"]:
        file = folder / f"{name}.npy"
        mapped = file.stat().st_size > MAPPED_BYTES
        state[name] = np.load(file, mmap_mode="r" if mapped else None, allow_pickle=False)
    for name in saved["matrices"]:
        state[name] = load_csr(folder / name)
    return state
