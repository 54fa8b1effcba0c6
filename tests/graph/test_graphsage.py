"""GraphSAGE: forward pass, loss, gradient, training, inference."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph import arrays
from tagsage.graph.graphsage import model as model_module
from tagsage.graph.graphsage import network
from tagsage.graph.graphsage import train as train_module
from tagsage.graph.graphsage.model import (
    GraphSageModel,
    apply_layer,
    hidden_layers,
    infer_graphsage,
    layer_seed,
    sample_neighbours,
    unit_rows,
)
from tagsage.graph.graphsage.train import initial_weights, sample_trees, train_graphsage
from tagsage.settings import Settings
from tests.graph.conftest import settings_of

KINDS = [
    (aggregator, activation)
    for aggregator in ("mean", "pool")
    for activation in ("relu", "sigmoid")
]

# Compiled whole: one by one, every operation would be compiled by itself.
FORWARD = jax.jit(network.forward, static_argnames="activation")
LOSS = jax.jit(network.loss, static_argnames="activation")
GRADIENT = jax.jit(jax.grad(network.loss), static_argnames="activation")


def random_graph(n: int = 14, density: float = 0.35) -> sp.csr_array:
    dense = np.random.default_rng(0).random((n, n)) < density
    np.fill_diagonal(dense, val=False)
    dense[0] = False  # an isolated node
    return sp.csr_array(dense.astype(np.float32))


def random_vectors(n: int = 14) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(n, 5)).astype(np.float32)


def small_settings(aggregator: str, activation: str, sizes: str = "3,2") -> Settings:
    return settings_of(
        graphsage_dimensions=4,
        graphsage_sample_sizes=sizes,
        graphsage_aggregator=aggregator,
        graphsage_activation=activation,
        seed=9,
    )


def random_model(aggregator: str, activation: str, sizes: str = "3,2") -> GraphSageModel:
    settings = small_settings(aggregator, activation, sizes)
    weights = initial_weights(5, settings)
    for layer in weights:
        if "bias" in layer:
            # At its start of 0 a bias would hide an error in its use.
            layer["bias"] = np.linspace(-0.3, 0.4, 4).astype(np.float32)
    return GraphSageModel(weights, settings.sample_sizes(), activation, seed=9)


def activate(name: str, x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.01 * x) if name == "relu" else 1 / (1 + np.exp(-x))


class Oracle:
    """Embeds and judges one node after the other by the formula, in double precision."""

    def __init__(self, model: GraphSageModel, graph: Any, vectors: Any, *, epoch: int = 0) -> None:
        self.model, self.graph, self.vectors = model, graph, vectors
        layers = range(len(model.weights))
        self.seeds = [layer_seed(model.seed, epoch, layer) for layer in layers]
        self.weights = [
            {name: value.astype(float) for name, value in layer.items()} for layer in model.weights
        ]

    def embed(self, node: int, layer: int) -> np.ndarray:
        if layer < 0:
            return self.vectors[node].astype(float)
        size, act = self.model.sample_sizes[layer], self.model.activation
        sampled, count = sample_neighbours(self.graph, np.array([node]), size, self.seeds[layer])
        own = self.embed(node, layer - 1)
        others = [self.embed(int(other), layer - 1) for other in sampled[0, : count[0]]]
        w = self.weights[layer]
        if "weights" in w:
            return activate(act, w["weights"] @ np.mean([own, *others], axis=0))
        pooled = [activate(act, w["pool"] @ other + w["bias"]) for other in others]
        largest = np.max(pooled, axis=0) if pooled else np.zeros(len(w["bias"]))
        return activate(act, w["self"] @ own + w["neighbours"] @ largest)

    def rows(self, nodes: Any) -> np.ndarray:
        rows = [self.embed(int(node), len(self.weights) - 1) for node in nodes]
        return np.array([row / (np.linalg.norm(row) + 1e-10) for row in rows])

    def loss(self, targets: Any, share: np.ndarray) -> float:
        nodes, positives, negatives = self.rows(targets).reshape(3, len(share), -1)
        total = 0.0
        for i, weight in enumerate(share.astype(float)):
            attraction, repulsion = nodes[i] @ positives[i], nodes[i] @ negatives[i]
            total -= weight * math.log(1 / (1 + math.exp(-attraction)))
            total -= weight * 20 * math.log(1 / (1 + math.exp(repulsion)))
        return total


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
@pytest.mark.parametrize("sizes", ["3", "3,2", "2,3,2"])
def test_inference_gives_the_embeddings_of_the_formula(aggregator, activation, sizes) -> None:
    model, graph = random_model(aggregator, activation, sizes), random_graph()
    vectors = random_vectors()
    found = infer_graphsage(model, graph, vectors)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, Oracle(model, graph, vectors).rows(range(14)), atol=2e-6)


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
def test_training_computes_the_embeddings_and_the_loss_of_the_formula(
    aggregator, activation
) -> None:
    sizes = "2,3,2"
    model = random_model(aggregator, activation, sizes)
    graph, vectors = random_graph(), random_vectors()
    oracle = Oracle(model, graph, vectors, epoch=1)
    targets = np.array([[0, 1, 2, 3, 4, 5], [7, 7, 13, 0, 9, 2]])
    share = np.array([0.75, 0.25], dtype=np.float32)
    settings = small_settings(aggregator, activation, sizes)
    trees = list(sample_trees(graph, vectors, targets, settings, oracle.seeds))
    for tree, nodes in zip(trees, targets, strict=True):
        rows = FORWARD(model.weights, tree, activation=activation)
        np.testing.assert_allclose(rows, oracle.rows(nodes), atol=2e-6)
        value = LOSS(model.weights, tree, share, activation=activation)
        assert float(value) == pytest.approx(oracle.loss(nodes, share), rel=1e-5)


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
def test_the_gradient_is_that_of_finite_differences(aggregator: str, activation: str) -> None:
    model, graph, vectors = random_model(aggregator, activation), random_graph(), random_vectors()
    oracle = Oracle(model, graph, vectors, epoch=1)
    targets, share = [3, 8, 1, 4, 11, 6], np.array([0.5, 0.5], dtype=np.float32)
    settings = small_settings(aggregator, activation)
    (tree,) = sample_trees(graph, vectors, np.array([targets]), settings, oracle.seeds)
    gradient = GRADIENT(model.weights, tree, share, activation=activation)

    def loss_at(layer: int, name: str, place: tuple[int, ...], step: float) -> float:
        oracle.weights[layer][name][place] += step
        value = oracle.loss(targets, share)
        oracle.weights[layer][name][place] -= step
        return value

    for layer, matrices in enumerate(model.weights):
        for name, matrix in matrices.items():
            for place in [(0,) * matrix.ndim, (2,) * matrix.ndim, (3,) + (1,) * (matrix.ndim - 1)]:
                slope = loss_at(layer, name, place, 1e-5) - loss_at(layer, name, place, -1e-5)
                assert float(gradient[layer][name][place]) == pytest.approx(
                    slope / 2e-5, rel=2e-3, abs=2e-4
                )


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # Landmarks at weight 20: everything alike, everything orthogonal.
        ([[1, 0], [1, 0], [1, 0]], math.log(1 + math.exp(-1)) + 20 * math.log(1 + math.e)),
        ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], 21 * math.log(2)),
    ],
)
def test_the_loss_has_the_landmarks_known_of_gds(rows: list[list[int]], expected: float) -> None:
    # Identity weights and isolated nodes: the vectors are the embeddings.
    vectors = np.array(rows, dtype=np.float32)
    settings = settings_of(graphsage_sample_sizes="1")
    empty = sp.csr_array((3, 3), dtype=np.float32)
    seeds = [layer_seed(1, 1, 0)]
    (tree,) = sample_trees(empty, vectors, np.array([[0, 1, 2]]), settings, seeds)
    weights = [{"weights": np.eye(vectors.shape[1], dtype=np.float32)}]
    value = LOSS(weights, tree, np.ones(1, dtype=np.float32), activation="relu")
    assert float(value) == pytest.approx(expected, rel=1e-6)
    assert round(expected, 2) in {26.58, 14.56}


# -- training ------------------------------------------------------------------------------------
def cliques(size: int = 20, count: int = 4) -> tuple[sp.csr_array, np.ndarray, np.ndarray]:
    clique = np.ones((size, size), dtype=np.float32) - np.eye(size, dtype=np.float32)
    graph = sp.csr_array(sp.block_diag([clique] * count), dtype=np.float32)
    random = np.random.default_rng(4)
    group = np.repeat(np.arange(count), size)
    centres = random.normal(size=(count, 16))
    # A common direction hides the groups, as in raw text vectors.
    vectors = 3 + 0.5 * centres[group] + random.normal(size=(len(group), 16))
    return graph, vectors.astype(np.float32), group


def training(**changes: Any) -> Settings:
    usual = {
        "graphsage_dimensions": 16,
        "graphsage_sample_sizes": "5,5",
        "graphsage_epochs": 15,
        "graphsage_batch_size": 8,
        "graphsage_learning_rate": 0.02,
        "seed": 3,
    }
    return Settings(**{**usual, **changes})


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_training_lowers_the_loss_and_draws_neighbours_together(aggregator: str) -> None:
    graph, vectors, group = cliques()
    model = train_graphsage(graph, vectors, training(graphsage_aggregator=aggregator))
    assert model.epoch_losses == [losses[-1] for losses in model.iteration_losses]
    assert np.mean(model.epoch_losses[-3:]) < 0.9 * model.iteration_losses[0][0]
    embeddings = infer_graphsage(model, graph, vectors)
    likeness = embeddings @ embeddings.T
    same = group[:, None] == group
    assert likeness[same].mean() > likeness[~same].mean() + 0.2


def digest(model: GraphSageModel) -> str:
    content = b"".join(layer[name].tobytes() for layer in model.weights for name in sorted(layer))
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("tolerance", "iterations", "converged"), [(1e9, [2], True), (0, [10, 10], False)]
)
def test_training_ends_when_the_loss_stands_still(
    tolerance, iterations, converged, monkeypatch
) -> None:
    monkeypatch.setattr(train_module, "TOLERANCE", tolerance)
    graph, vectors, _ = cliques()
    model = train_graphsage(graph, vectors, training(graphsage_epochs=2))
    # The first loss has nothing to be compared with.
    assert [len(losses) for losses in model.iteration_losses] == iterations
    assert model.converged is converged


def test_a_loss_that_is_not_finite_stops_training_in_plain_words() -> None:
    graph, vectors, _ = cliques()
    with pytest.raises(TagsageError, match=r"became nan in epoch \d+; lower graphsage_learning"):
        train_graphsage(graph, vectors, training(graphsage_learning_rate=1e38))


@pytest.mark.parametrize(
    ("activation", "bound"), [("relu", math.sqrt(2 / 50)), ("sigmoid", math.sqrt(2 / (40 + 50)))]
)
def test_initial_weights_fill_the_range_that_gds_uses(activation: str, bound: float) -> None:
    settings = settings_of(graphsage_dimensions=40, graphsage_activation=activation)
    first = initial_weights(50, settings)[0]["weights"]
    assert first.shape == (40, 50)
    assert 0.98 * bound < np.abs(first).max() <= bound * (1 + 1e-6)
    assert abs(first.mean()) < 0.05 * bound


# -- inference -----------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_inference_by_small_blocks_through_files_gives_the_same_embeddings(
    aggregator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, graph, vectors = random_model(aggregator, "relu"), random_graph(), random_vectors()
    expected = infer_graphsage(model, graph, vectors)
    monkeypatch.setattr(model_module, "BLOCK_NUMBERS", 70)
    monkeypatch.setattr(arrays, "MEMORY_NUMBERS", 1)
    np.save(tmp_path / "f.npy", vectors)
    found = infer_graphsage(model, graph, np.load(tmp_path / "f.npy", mmap_mode="r"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
def test_a_node_has_the_same_embedding_alone_and_among_others(
    aggregator: str, activation: str
) -> None:
    model = random_model(aggregator, activation)
    graph, vectors = random_graph(n=80), random_vectors(n=80)
    whole = infer_graphsage(model, graph, vectors)
    values = [vectors, *hidden_layers(model, graph, vectors)]
    for nodes in (np.array([5]), np.array([79, 0, 5, 5, 33])):
        own = vectors[nodes]
        rows = np.arange(len(nodes))
        for layer in range(2):
            own = apply_layer(model, layer, own, graph[nodes], rows, values[layer], keys=nodes)
        assert np.array_equal(unit_rows(own), whole[nodes])


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_a_saved_model_loads_as_it_was(aggregator: str, tmp_path: Path) -> None:
    made = random_model(aggregator, "sigmoid")
    model = GraphSageModel(made.weights, (3, 2), "sigmoid", 9, [[3.0, 2.0], [1.5]], converged=True)
    model.save(tmp_path / "model")
    loaded = GraphSageModel.load(tmp_path / "model")
    assert digest(loaded) == digest(model)
    assert {**vars(loaded), "weights": None} == {**vars(model), "weights": None}
    assert (loaded.epoch_losses, loaded.dimensions) == ([2.0, 1.5], 4)


@pytest.mark.parametrize("content", [None, "", "[]", "{}"])
def test_a_model_that_is_missing_or_broken_is_named_in_the_error(content, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "model.json").write_text(content, encoding="utf-8")
    with pytest.raises(TagsageError, match=rf"{tmp_path}"):
        GraphSageModel.load(tmp_path)
