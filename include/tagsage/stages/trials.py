"""A candidate fitted on another training part than the night's, its features made anew for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tagsage.errors import TagsageError
from tagsage.night import Night
from tagsage.stages.blocks import fit_block
from tagsage.stages.common import (
    LINKED,
    LINKED_FILE,
    Blocks,
    Ref,
    assignment_config,
    load_snapshot,
    matrix_of,
    memberships_config,
    search_of,
)
from tagsage.stages.labels import propagate_parts

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from tagsage.graph.csr import Csr
    from tagsage.learn.candidate import FittedCandidate, Tagging
    from tagsage.learn.features import FeatureMatrix
    from tagsage.store.snapshot import Snapshot


class NotMeasuredError(TagsageError):
    """A question that the corpus or a candidate's features leave without an answer."""


@dataclass(frozen=True)
class TrainingPart:
    """What a trial learns from.

    Attributes
    ----------
    rows : int64 array, shape [m]
        Article indices.
    Y : bool array, shape [m, L]
        Their tags.
    tags : list of str, length L
        The tags of the columns.
    seed : int
        Seed of the fit.
    """

    rows: npt.NDArray[np.int64]
    Y: npt.NDArray[np.bool_]
    tags: list[str]
    seed: int


@dataclass(frozen=True)
class Trial:
    """A fitted candidate and the features it was fitted on."""

    fitted: FittedCandidate
    X: FeatureMatrix


def run_trial(
    night: Night,
    corpus: Ref,
    features: Blocks,
    candidate: str,
    part: TrainingPart,
    folder: Path,
    *,
    hidden: npt.NDArray[np.int64] | None = None,
    fallback: Tagging | None = None,
) -> Trial:
    """Fit a candidate on another training part.

    Parameters
    ----------
    night : Night
        The night.
    corpus : str
        Ref of the snapshot.
    features : dict of str to str
        The night's blocks; what depends on the training part or on hidden articles is made anew.
    candidate : str
        ``feature_set:classifier``.
    part : TrainingPart
        What is learned from; no other label is read.
    folder : pathlib.Path
        An existing empty folder; takes blocks that are made anew.
    hidden : int64 array, optional
        Articles that are not there while list features are built: they are in no list then. Their
        features are made of what the lists say without them, as those of articles that come later.
    fallback : Tagging, optional
        The candidate's fallback on this training part, where it was fitted already.

    Raises
    ------
    NotMeasuredError
        When articles are hidden and the features need the projection, which is not made anew.
    """
    from tagsage.features import BLOCKS
    from tagsage.learn.features import LABEL_BLOCKS, PROJECTION_BLOCKS, blocks_of, needs_lists
    from tagsage.learn.fitting import fit_candidate

    feature_set, _, classifier = candidate.partition(":")
    blocks = blocks_of(feature_set)
    kept = [*blocks, *([LINKED] if needs_lists(feature_set) else [])]
    folders = {block: night.workspace.open(features[block]).path for block in kept}
    snapshot = load_snapshot(night, corpus)
    made_of_labels = [block for block in blocks if block in LABEL_BLOCKS]
    for block in made_of_labels:
        folders[block] = folder / block
        folders[block].mkdir()
        propagate_parts(
            night, folders[block], snapshot, part.rows, part.Y, block, seed=part.seed, hidden=hidden
        )
    if hidden is not None:
        for block in blocks:
            if block in PROJECTION_BLOCKS:
                raise NotMeasuredError(f"{block} is not made anew without the test articles")
            if block in BLOCKS:
                (folder / block).mkdir()
                fit_block(folder / block, block, snapshot, hidden=hidden)
                folders[block] = folder / block
            if block in _BUILDERS:
                (folder / block).mkdir()
                _BUILDERS[block](night, folder / block, snapshot, features, hidden)
                folders[block] = folder / block
        if LINKED in folders:
            folders[LINKED] = folder
            _linked_without(folder, snapshot, hidden)
    X = matrix_of(folders, feature_set)
    fitted = fit_candidate(
        X,
        part.Y,
        part.rows,
        tags=part.tags,
        classifier=classifier,
        seed=part.seed,
        tuning=matrix_of(folders, feature_set, tuning=True) if made_of_labels else None,
        assignment=assignment_config(night.settings),
        fallback=fallback,
        search=search_of(night.settings),
    )
    return Trial(fitted, X)


def _linked_without(folder: Path, snapshot: Snapshot, hidden: npt.NDArray[np.int64]) -> None:
    """Tell which articles are in a list that is known without the hidden articles."""
    import numpy as np

    from tagsage.graph.csr import without_rows

    incidence = snapshot.incidence()
    sizes = np.bincount(without_rows(incidence, hidden).indices, minlength=incidence.shape[1])
    known = sizes > 0
    np.save(folder / LINKED_FILE, incidence @ known.astype(np.float32) > 0)


def _lists_without(
    night: Night,
    folder: Path,
    snapshot: Snapshot,
    features: Blocks,
    hidden: npt.NDArray[np.int64],
) -> None:
    """Propagate vectors over the lists of the others, and these to the hidden articles."""
    import numpy as np

    from tagsage.graph.arrays import create_array
    from tagsage.graph.base import hop_file
    from tagsage.graph.csr import without_rows
    from tagsage.graph.list_vectors import ListVectors
    from tagsage.graph.lists import propagate_lists

    about = night.workspace.open(features["lists"]).summary
    discount, sharpness = about["size_discount"], about["topic_sharpness"]
    vectors = np.load(night.workspace.open(features["text"]).path / "vectors.npy", mmap_mode="r")
    incidence = snapshot.incidence()
    others = without_rows(incidence, hidden)
    hops = propagate_lists(
        others,
        vectors,
        hops=about["hops"],
        size_discount=discount,
        topic_sharpness=sharpness,
        out=lambda hop: create_array(folder / hop_file(hop), vectors.shape),
    )
    members: Csr = incidence[hidden]
    before, own = vectors, np.asarray(vectors[hidden], dtype=np.float32)
    fit = ListVectors.of(others, vectors, discount).fit(members, own, sharpness)
    for hop in hops:
        own = ListVectors.of(others, before, discount).propagate(members, own, fit)
        hop[hidden] = own
        before = hop


def _memberships_without(
    night: Night,
    folder: Path,
    snapshot: Snapshot,
    features: Blocks,
    hidden: npt.NDArray[np.int64],
) -> None:
    """Factorise the memberships of the others, and embed the hidden articles by their lists."""
    from tagsage.graph.arrays import create_array
    from tagsage.graph.csr import without_rows
    from tagsage.graph.memberships import MEMBERSHIPS_FILE, factorise_memberships

    del features
    incidence = snapshot.incidence()
    embeddings, factors = factorise_memberships(
        without_rows(incidence, hidden),
        memberships_config(night.settings),
        out=lambda k: create_array(folder / MEMBERSHIPS_FILE, (incidence.shape[0], k)),
    )
    embeddings[hidden] = factors.embed(incidence[hidden])


_Builder = Callable[[Night, Path, "Snapshot", Blocks, "npt.NDArray[np.int64]"], None]
_BUILDERS: dict[str, _Builder] = {"lists": _lists_without, "memberships": _memberships_without}
