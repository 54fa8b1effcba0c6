"""What is kept of a version's test: which articles were held out, and which tags they got.

The assigned tags are those of the compared model, which was fitted on the training part only. So a
later run can compare its winner with them on articles that neither has learned from. The champion
itself was refitted on all labelled articles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.errors import TagsageError
from tagsage.features.articles import IdArray
from tagsage.files import read_json, write_json
from tagsage.graph.csr import load_csr, save_csr
from tagsage.learn.labels import IntArray
from tagsage.learn.split import NEW, TEST, TRAIN

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

_ABOUT, _ASSIGNED = "frozen.json", "assigned"
_IDS = ("test", "train", "tagged")


@dataclass(frozen=True)
class FrozenTest:
    """The test of a version; articles are numbered by :func:`tagsage.features.article_ids`."""

    tags: list[str]
    test: IdArray
    train: IdArray
    tagged: IdArray  # all articles that had tags: later ones are fresh
    assigned: Csr  # float64 [len(test), L]
    scores: dict[str, float]  # the compared model's
    test_share: float
    seed: int

    def save(self, folder: Path) -> None:
        """Write arrays and JSON into a folder, which is made."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _IDS:
            np.save(folder / f"{name}.npy", getattr(self, name), allow_pickle=False)
        save_csr(folder / _ASSIGNED, self.assigned)
        names = ("tags", "scores", "test_share", "seed")
        write_json(folder / _ABOUT, {name: getattr(self, name) for name in names})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; a TagsageError says when it is damaged."""
        try:
            ids = {name: np.load(folder / f"{name}.npy", allow_pickle=False) for name in _IDS}
            # Sums are exact in double precision alone.
            assigned = load_csr(folder / _ASSIGNED).astype(np.float64)
            about = read_json(folder / _ABOUT) or {}
            kept = cls(**ids, assigned=assigned, **about)
            if assigned.shape != (len(kept.test), len(kept.tags)):
                raise ValueError(f"assigned tags of the shape {assigned.shape}")
        except (OSError, EOFError, ValueError, TypeError, TagsageError) as error:
            msg = f"The frozen test in {folder} is damaged ({error}); run the run again."
            raise TagsageError(msg) from error
        return kept

    def parts(self, ids: IdArray) -> npt.NDArray[np.int8]:
        """Return which part each article was in: ``TEST``, ``TRAIN`` or ``NEW``, int8 [n]."""
        parts = np.full(len(ids), NEW, dtype=np.int8)
        parts[np.isin(ids, self.train)] = TRAIN
        parts[np.isin(ids, self.test)] = TEST
        return parts

    def common(self, test: IdArray, tags: Sequence[str]) -> tuple[IntArray, IntArray, Csr]:
        """Return rows and columns of what another test part and its target tags share with this.

        They are positions there; and what the version's model assigned, [rows, columns].
        """
        _, rows, own_rows = np.intersect1d(test, self.test, return_indices=True)
        order = np.argsort(rows)
        own = pd.Index(self.tags).get_indexer(pd.Index(list(tags)))
        columns = np.flatnonzero(own >= 0)
        assigned: Csr = self.assigned[own_rows[order]][:, own[columns]]
        return rows[order], columns, assigned
