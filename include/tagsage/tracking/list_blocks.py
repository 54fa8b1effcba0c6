"""What a tagger keeps of the corpus's lists: their means of vectors, and their counts of labels."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from tagsage.graph.csr import FloatArray
from tagsage.graph.labels import ListLabels, Own
from tagsage.graph.list_vectors import ListVectors
from tagsage.graph.memberships import ListFactors
from tagsage.tracking.inputs import used_columns

if TYPE_CHECKING:
    from tagsage.graph.csr import Csr

_NAMES = "names.json"


@dataclass(frozen=True)
class NamedListVectors:
    """The mean vectors of the corpus's lists, hop by hop, by the lists' names.

    Attributes
    ----------
    index : dict of str to int
        Row of each list's name.
    hops : list of ListVectors
        One a hop: the means of the members' vectors, of the hop before.
    topic_sharpness : float
        Of an article's fit to a list's topic.
    """

    index: dict[str, int]
    hops: list[ListVectors]
    topic_sharpness: float = 0.0

    def features(
        self,
        members: Csr,
        vectors: FloatArray,
        *,
        inside: npt.NDArray[np.bool_] | None = None,
        counted: FloatArray | None = None,
    ) -> list[FloatArray]:
        """Return the propagated vectors of articles, one array [n, d] a hop.

        Parameters
        ----------
        members : csr_array, shape [n, n_lists]
            Which article is in which list, as ones.
        vectors : float32 array, shape [n, d]
            The articles' own vectors.
        inside : bool array, shape [n], optional
            Which are among the articles that the means are of; their own vectors count in the
            means already. By default none is.
        counted : float32 array, shape [n, d], optional
            Of those `inside`, what the means hold of them, when it is not `vectors`. The first hop
            is set right for that; what further hops know of them through other articles is not.
        """
        members, used = used_columns(members)
        result: list[FloatArray] = []
        hops = [hop.select(used) for hop in self.hops]
        sharpness = self.topic_sharpness
        if inside is None:
            inside = np.zeros(len(vectors), dtype=np.bool_)
        fit = (
            hops[0].fit(members, vectors, sharpness, inside=inside, counted=counted)
            if hops
            else None
        )
        outside = ~inside[:, None]
        own = vectors * outside
        moved = None if counted is None else (vectors - counted) * inside[:, None]
        for hop in hops:
            result.append(hop.propagate(members, own, fit, moved))
            moved = None
            own = result[-1] * outside
        return result

    @classmethod
    def load(cls, folder: Path, hops: int, topic_sharpness: float = 0.0) -> Self:
        """Read what :func:`write_list_vectors` wrote; the means are memory-mapped."""
        of_hops = [_load_hop(folder, hop) for hop in range(1, hops + 1)]
        return cls(_load_names(folder), of_hops, topic_sharpness)


@dataclass(frozen=True)
class NamedListLabels:
    """What the lists of the corpus say of tags, by the lists' names.

    Attributes
    ----------
    index : dict of str to int
        Row of each list's name.
    lists : ListLabels
        Sums and counts of the articles that the tagger was fitted on.
    """

    index: dict[str, int]
    lists: ListLabels

    def features(self, members: Csr, own: Own | None = None) -> list[FloatArray]:
        """Return the propagated labels of articles: shares [n, L] and evidence [n, 1].

        Parameters
        ----------
        members : csr_array, shape [n, n_lists]
            Which article is in which list, as ones.
        own : Own, optional
            What is counted of the articles themselves, and is left out.
        """
        members, used = used_columns(members)
        return list(self.lists.of(used).features(members, own))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_named_lists` wrote."""
        return cls(_load_names(folder), ListLabels.load(folder))


@dataclass(frozen=True)
class NamedListFactors:
    """The factors of the corpus's lists, by the lists' names.

    Attributes
    ----------
    index : dict of str to int
        Row of each list's name.
    lists : ListFactors
        The factors.
    """

    index: dict[str, int]
    lists: ListFactors

    def features(self, members: Csr) -> FloatArray:
        """Return the embeddings of new articles, float32 [n, k].

        Parameters
        ----------
        members : csr_array, shape [n, n_lists]
            Which article is in which list, as ones.
        """
        members, used = used_columns(members)
        return self.lists.of(used).embed(members)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :func:`write_named_lists` wrote."""
        return cls(_load_names(folder), ListFactors.load(folder))


def write_list_vectors(
    folder: Path,
    names: npt.NDArray[Any],
    incidence: Csr,
    hop_inputs: Sequence[npt.NDArray[np.floating]],
    size_discount: float,
) -> None:
    """Write what :class:`NamedListVectors` needs to a folder, which is made.

    Parameters
    ----------
    folder : pathlib.Path
        Does not exist yet.
    names : str array, shape [n_lists]
        The lists' names.
    incidence, hop_inputs, size_discount
        See :func:`tagsage.tracking.write_featuriser.write_featuriser`.
    """
    folder.mkdir()
    _write_names(folder, names)
    for hop, vectors in enumerate(hop_inputs, start=1):
        of_hop = ListVectors.of(incidence, vectors, size_discount)
        # Half precision halves what every version keeps; it moves a feature by less than 0.1%.
        np.save(folder / f"means{hop}.npy", of_hop.means.astype(np.float16), allow_pickle=False)
        np.save(folder / f"weights{hop}.npy", of_hop.weights, allow_pickle=False)
        if of_hop.known is not None:
            np.save(folder / f"known{hop}.npy", of_hop.known, allow_pickle=False)


def _load_hop(folder: Path, hop: int) -> ListVectors:
    means = np.load(folder / f"means{hop}.npy", mmap_mode="r", allow_pickle=False)
    weights = np.load(folder / f"weights{hop}.npy", allow_pickle=False)
    # Champions of before that was kept do not have it.
    file = folder / f"known{hop}.npy"
    return ListVectors(means, weights, np.load(file, allow_pickle=False) if file.exists() else None)


def write_named_lists(folder: Path, names: npt.NDArray[Any], lists: Path) -> None:
    """Write what was saved of lists, with their names, to a folder, which is made.

    Parameters
    ----------
    folder : pathlib.Path
        Does not exist yet.
    names : str array, shape [n_lists]
        The lists' names.
    lists : pathlib.Path
        Folder of the saved :class:`~tagsage.graph.labels.ListLabels` or
        :class:`~tagsage.graph.memberships.ListFactors`.
    """
    shutil.copytree(lists, folder)
    _write_names(folder, names)


def _write_names(folder: Path, names: npt.NDArray[Any]) -> None:
    (folder / _NAMES).write_text(json.dumps([str(name) for name in names]), encoding="utf-8")


def _load_names(folder: Path) -> dict[str, int]:
    names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
    return {name: row for row, name in enumerate(names)}
