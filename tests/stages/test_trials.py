"""Features that are made anew without the test articles."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.graph.lists import propagate_lists
from tagsage.graph.memberships import MembershipsConfig, factorise_memberships
from tagsage.settings import Settings
from tagsage.stages import trials

HIDDEN = np.array([3, 8, 11])
RANDOM = np.random.default_rng(0)
VECTORS = RANDOM.random((20, 4)).astype(np.float32)
DENSE = (RANDOM.random((20, 6)) < 0.35).astype(np.float32)


class Snapshot:
    def __init__(self, dense: np.ndarray) -> None:
        self.dense = dense

    def incidence(self) -> sp.csr_array:
        return sp.csr_array(self.dense)


def night_of(folder: Path, vectors: np.ndarray, sharpness: float = 0.0) -> SimpleNamespace:
    """A night that has artifacts, and nothing else."""
    folder.mkdir()
    np.save(folder / "vectors.npy", vectors)
    summary = {"hops": 2, "size_discount": 0.0, "topic_sharpness": sharpness}
    artifact = SimpleNamespace(path=folder, summary=summary)
    settings = Settings.resolve({"memberships_dimensions": 3})
    return SimpleNamespace(workspace=SimpleNamespace(open=lambda _: artifact), settings=settings)


def lists_without(
    folder: Path, vectors: np.ndarray, dense: np.ndarray, sharpness: float = 0.0
) -> list[np.ndarray]:
    made = folder / "lists"
    made.mkdir(parents=True)
    features = {"lists": "lists", "text": "text"}
    night = night_of(folder / "night", vectors, sharpness)
    trials._lists_without(night, made, Snapshot(dense), features, HIDDEN)
    return [np.load(made / f"hop{hop}.npy") for hop in (1, 2)]


def test_lists_of_the_others_know_nothing_of_hidden_articles(tmp_path):
    hops = lists_without(tmp_path / "one", VECTORS, DENSE)
    others = np.setdiff1d(np.arange(20), HIDDEN)
    expected = propagate_lists(sp.csr_array(DENSE[others]), VECTORS[others], hops=2)
    for made, whole in zip(hops, expected, strict=True):
        assert np.allclose(made[others], whole, atol=1e-6)
    changed_vectors, changed_lists = VECTORS.copy(), DENSE.copy()
    changed_vectors[HIDDEN] = 9
    changed_lists[HIDDEN] = 1
    again = lists_without(tmp_path / "other", changed_vectors, changed_lists)
    for made, other in zip(hops, again, strict=True):
        assert np.array_equal(made[others], other[others])


@pytest.mark.parametrize("sharpness", [0.0, 2.0])
def test_hidden_article_gets_what_it_would_get_if_it_alone_were_added(sharpness, tmp_path):
    hops = lists_without(tmp_path / "one", VECTORS, DENSE, sharpness)
    others = np.setdiff1d(np.arange(20), HIDDEN)
    for article in HIDDEN:
        known = DENSE[others].any(axis=0)
        together = [*others.tolist(), article]
        memberships = DENSE[together]
        # A list that nobody else is in is not known.
        memberships[-1] *= known
        (first,) = propagate_lists(
            sp.csr_array(memberships), VECTORS[together], hops=1, topic_sharpness=sharpness
        )
        assert np.allclose(hops[0][article], first[-1], atol=1e-5)


def test_memberships_are_factorised_without_the_hidden_articles(tmp_path):
    made = tmp_path / "memberships"
    made.mkdir()
    night = night_of(tmp_path / "night", VECTORS)
    trials._memberships_without(night, made, Snapshot(DENSE), {}, HIDDEN)
    embeddings = np.load(made / "embeddings.npy")
    emptied = DENSE.copy()
    emptied[HIDDEN] = 0
    config = MembershipsConfig(dimensions=3, seed=42)
    expected, factors = factorise_memberships(sp.csr_array(emptied), config)
    others = np.setdiff1d(np.arange(20), HIDDEN)
    assert np.allclose(embeddings[others], expected[others])
    assert np.allclose(embeddings[HIDDEN], factors.embed(sp.csr_array(DENSE[HIDDEN])))


@pytest.mark.parametrize("block", ["graphsage", "fastrp"])
def test_blocks_that_need_the_projection_are_not_measured(block, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "load_snapshot", lambda *_: Snapshot(DENSE))
    night = night_of(tmp_path / "night", VECTORS)
    part = trials.TrainingPart(np.arange(3), np.ones((3, 1), dtype=bool), ["a"], seed=0)
    features = {"text": "text", block: block, "linked": "linked"}
    candidate = f"text+{block}:ovr_logistic"
    with pytest.raises(trials.NotMeasuredError, match=f"{block} is not made anew"):
        trials.run_trial(night, "corpus", features, candidate, part, tmp_path, hidden=HIDDEN)


def test_an_article_in_lists_of_hidden_articles_alone_is_in_no_known_list(tmp_path):
    dense = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype=np.float32)
    trials._linked_without(tmp_path, Snapshot(dense), np.array([1]))
    assert np.load(tmp_path / "linked.npy").tolist() == [True, True, True, False]
    trials._linked_without(tmp_path, Snapshot(dense), np.array([1, 2]))
    assert np.load(tmp_path / "linked.npy").tolist() == [True, False, True, False]
