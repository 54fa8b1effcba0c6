"""GraphSAGE: forward pass, loss, gradient, training, inference."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
import scipy.sparse as sp

from tagsage.errors import TagsageError
from tagsage.graph import arrays
from tagsage.graph.graphsage import infer as infer_module
from tagsage.graph.graphsage import network
from tagsage.graph.graphsage.config import GraphSageConfig
from tagsage.graph.graphsage.infer import (
    apply_layer,
    hidden_layers,
    infer_graphsage,
    unit_rows,
)
from tagsage.graph.graphsage.model import GraphSageModel, initial_weights
from tagsage.graph.graphsage.neighbours import layer_seed, sample_neighbours
from tagsage.graph.graphsage.train import _trees, train_graphsage

KINDS = [
    (aggregator, activation)
    for aggregator in ("mean", "pool")
    for activation in ("relu", "sigmoid")
]

# Compiled whole: one by one, every operation would be compiled by itself.
STATIC = ("aggregator", "activation")
FORWARD = jax.jit(network.forward, static_argnames=STATIC)
LOSS = jax.jit(network.loss, static_argnames=STATIC)
GRADIENT = jax.jit(jax.grad(network.loss), static_argnames=STATIC)


def random_graph(n: int = 14, density: float = 0.35, seed: int = 0) -> sp.csr_array:
    dense = np.random.default_rng(seed).random((n, n)) < density
    np.fill_diagonal(dense, val=False)
    dense[0] = False  # an isolated node
    return sp.csr_array(dense.astype(np.float32))


def random_features(n: int = 14, width: int = 5, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


def activate(name: str, x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, 0.01 * x) if name == "relu" else 1 / (1 + np.exp(-x))


def oracle_embedding(
    node: int,
    layer: int,
    graph: sp.csr_array,
    features: np.ndarray,
    weights: list[dict[str, np.ndarray]],
    config: GraphSageConfig,
    seeds: list[np.uint64],
) -> np.ndarray:
    """Embed one node after the formula, recursively, in double precision."""
    if layer < 0:
        return features[node].astype(float)

    def below(other: int) -> np.ndarray:
        return oracle_embedding(other, layer - 1, graph, features, weights, config, seeds)

    sampled, count = sample_neighbours(
        graph, np.array([node]), config.sample_sizes[layer], seeds[layer]
    )
    neighbours = [int(other) for other in sampled[0, : count[0]]]
    w = {name: value.astype(float) for name, value in weights[layer].items()}
    if config.aggregator == "mean":
        mean = np.mean([below(node), *map(below, neighbours)], axis=0)
        return activate(config.activation, w["weights"] @ mean)
    largest = np.zeros(config.dimensions)
    if neighbours:
        pooled = [
            activate(config.activation, w["pool"] @ below(other) + w["bias"])
            for other in neighbours
        ]
        largest = np.max(pooled, axis=0)
    return activate(config.activation, w["self"] @ below(node) + w["neighbours"] @ largest)


def oracle_rows(
    nodes: list[int],
    graph: sp.csr_array,
    features: np.ndarray,
    weights: list[dict[str, np.ndarray]],
    config: GraphSageConfig,
    seeds: list[np.uint64],
) -> np.ndarray:
    rows = []
    for node in nodes:
        row = oracle_embedding(
            node, len(config.sample_sizes) - 1, graph, features, weights, config, seeds
        )
        rows.append(row / (np.linalg.norm(row) + 1e-10))
    return np.array(rows)


def oracle_loss(
    targets: list[int],
    share: np.ndarray,
    graph: sp.csr_array,
    features: np.ndarray,
    weights: list[dict[str, np.ndarray]],
    config: GraphSageConfig,
    seeds: list[np.uint64],
    penalty: float,
) -> float:
    rows = oracle_rows(targets, graph, features, weights, config, seeds)
    # In single precision the small differences of the gradient test would drown.
    share = share.astype(float)
    total = 0.0
    m = len(share)
    for i in range(m):
        attraction = rows[i] @ rows[m + i]
        repulsion = rows[i] @ rows[2 * m + i]
        total -= share[i] * math.log(1 / (1 + math.exp(-attraction)))
        total -= share[i] * config.negative_weight * math.log(1 / (1 + math.exp(repulsion)))
    for layer in weights:
        for name, value in layer.items():
            if name != "bias":
                total += penalty * float((value.astype(float) ** 2).sum())
    return total


def config_of(aggregator: str, activation: str, **changes: object) -> GraphSageConfig:
    small = GraphSageConfig(
        dimensions=4, sample_sizes=(3, 2), aggregator=aggregator, activation=activation
    )
    return replace(small, **changes)


def weights_of(config: GraphSageConfig, width: int = 5) -> list[dict[str, np.ndarray]]:
    weights = initial_weights(config, width)
    for layer in weights:
        if "bias" in layer:
            # At its start of 0 a bias would hide an error in its use.
            layer["bias"] = np.linspace(-0.3, 0.4, config.dimensions).astype(np.float32)
    return weights


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
@pytest.mark.parametrize("sizes", [(3,), (3, 2), (2, 3, 2)])
def test_inference_gives_the_embeddings_of_the_formula(
    aggregator: str, activation: str, sizes: tuple[int, ...]
) -> None:
    config = config_of(aggregator, activation, sample_sizes=sizes)
    graph, features, weights = random_graph(), random_features(), weights_of(config)
    seeds = [layer_seed(9, 0, layer) for layer in range(len(sizes))]
    expected = oracle_rows(list(range(14)), graph, features, weights, config, seeds)
    got = infer_graphsage(GraphSageModel(config, weights), graph, features, seed=9)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=2e-6)


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
@pytest.mark.parametrize("sizes", [(3,), (3, 2), (2, 3, 2)])
def test_training_computes_the_embeddings_and_the_loss_of_the_formula(
    aggregator: str, activation: str, sizes: tuple[int, ...]
) -> None:
    config = config_of(aggregator, activation, sample_sizes=sizes)
    graph, features, weights = random_graph(), random_features(), weights_of(config)
    seeds = [layer_seed(9, 1, layer) for layer in range(len(sizes))]
    targets = np.array([[0, 1, 2, 3, 4, 5], [7, 7, 13, 0, 9, 2]])
    share = np.array([0.75, 0.25], dtype=np.float32)
    trees = list(_trees(graph, features, targets, config, seeds))
    assert len(trees) == 2
    for tree, nodes in zip(trees, targets.tolist(), strict=True):
        rows = FORWARD(weights, tree, aggregator=aggregator, activation=activation)
        expected = oracle_rows(nodes, graph, features, weights, config, seeds)
        np.testing.assert_allclose(rows, expected, atol=2e-6)
        value = LOSS(
            weights,
            tree,
            share,
            aggregator=aggregator,
            activation=activation,
            negative_weight=20.0,
            penalty=0.01,
        )
        wanted = oracle_loss(nodes, share, graph, features, weights, config, seeds, 0.01)
        assert float(value) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
def test_the_gradient_is_that_of_finite_differences(aggregator: str, activation: str) -> None:
    config = config_of(aggregator, activation)
    graph, features, weights = random_graph(), random_features(), weights_of(config)
    seeds = [layer_seed(9, 1, layer) for layer in range(2)]
    targets = [3, 8, 1, 4, 11, 6]
    share = np.array([0.5, 0.5], dtype=np.float32)
    (tree,) = _trees(graph, features, np.array([targets]), config, seeds)
    gradient = GRADIENT(
        weights,
        tree,
        share,
        aggregator=aggregator,
        activation=activation,
        negative_weight=20.0,
        penalty=0.1,
    )

    def value(layer: int, name: str, place: tuple[int, ...], step: float) -> float:
        moved = [{key: w.astype(float) for key, w in each.items()} for each in weights]
        moved[layer][name][place] += step
        return oracle_loss(targets, share, graph, features, moved, config, seeds, 0.1)

    for layer, matrices in enumerate(weights):
        for name, matrix in matrices.items():
            for place in [(0,) * matrix.ndim, (2,) * matrix.ndim, (3,) + (1,) * (matrix.ndim - 1)]:
                slope = value(layer, name, place, 1e-5) - value(layer, name, place, -1e-5)
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
    # Identity weights and isolated nodes: the features are the embeddings.
    features = np.array(rows, dtype=np.float32)
    width = features.shape[1]
    config = GraphSageConfig(dimensions=width, sample_sizes=(1,))
    empty = sp.csr_array((3, 3), dtype=np.float32)
    (tree,) = _trees(empty, features, np.array([[0, 1, 2]]), config, [layer_seed(1, 1, 0)])
    value = LOSS(
        [{"weights": np.eye(width, dtype=np.float32)}],
        tree,
        np.ones(1, dtype=np.float32),
        aggregator="mean",
        activation="relu",
        negative_weight=20.0,
        penalty=0.0,
    )
    assert float(value) == pytest.approx(expected, rel=1e-6)
    assert round(expected, 2) in {26.58, 14.56}


def test_one_step_of_adam_moves_each_weight_by_the_learning_rate() -> None:
    # Adam's first step is learning rate * g / (|g| + tiny), whatever the size of the gradient.
    config = config_of("mean", "relu")
    graph, features, weights = random_graph(), random_features(), weights_of(config)
    (tree,) = _trees(
        graph,
        features,
        np.array([[3, 8, 1, 4, 11, 6]]),
        config,
        [layer_seed(9, 1, layer) for layer in range(2)],
    )
    start = [{name: jax.numpy.asarray(w) for name, w in layer.items()} for layer in weights]
    stepped, optimiser, _ = network.training_step(
        start,
        network.start_optimiser(start),
        tree,
        np.array([0.5, 0.5], dtype=np.float32),
        aggregator="mean",
        activation="relu",
        negative_weight=20.0,
        penalty=0.0,
        learning_rate=0.01,
    )
    assert int(optimiser.steps) == 1
    for before, after in zip(weights, stepped, strict=True):
        move = np.abs(np.asarray(after["weights"]) - before["weights"])
        np.testing.assert_allclose(move, 0.01, rtol=1e-3)


def cliques(size: int = 20, count: int = 4) -> tuple[sp.csr_array, np.ndarray, np.ndarray]:
    clique = np.ones((size, size), dtype=np.float32) - np.eye(size, dtype=np.float32)
    graph = sp.csr_array(sp.block_diag([clique] * count), dtype=np.float32)
    random = np.random.default_rng(4)
    group = np.repeat(np.arange(count), size)
    centres = random.normal(size=(count, 16))
    # A common direction hides the groups, as in raw text vectors.
    features = 3 + 0.5 * centres[group] + random.normal(size=(len(group), 16))
    return graph, features.astype(np.float32), group


TRAINED = GraphSageConfig(
    dimensions=16, sample_sizes=(5, 5), epochs=15, batch_size=8, learning_rate=0.02, seed=3
)


def test_training_lowers_the_loss_and_draws_neighbours_together() -> None:
    graph, features, group = cliques()
    model = train_graphsage(graph, features, TRAINED)
    assert np.mean(model.epoch_losses[-3:]) < 0.8 * model.iteration_losses[0][0]
    embeddings = infer_graphsage(model, graph, features, seed=3)
    likeness = embeddings @ embeddings.T
    same = group[:, None] == group
    assert likeness[same].mean() > likeness[~same].mean() + 0.3


def digest(model: GraphSageModel) -> str:
    content = b"".join(layer[name].tobytes() for layer in model.weights for name in sorted(layer))
    return hashlib.sha256(content).hexdigest()


def trained_digest() -> str:
    graph, features, _ = cliques()
    return digest(train_graphsage(graph, features, replace(TRAINED, epochs=3)))


def test_the_same_seed_gives_the_same_model_in_another_process() -> None:
    script = (
        "import runpy, sys; "
        "print(runpy.run_path(sys.argv[1], run_name='other')['trained_digest']())"
    )
    other = subprocess.run(
        [sys.executable, "-c", script, __file__], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == trained_digest()


def test_another_seed_gives_another_model() -> None:
    graph, features, _ = cliques()
    short = replace(TRAINED, epochs=1)
    first = train_graphsage(graph, features, short)
    second = train_graphsage(graph, features, replace(short, seed=4))
    assert digest(first) != digest(second)


def test_training_ends_when_the_loss_stands_still() -> None:
    graph, features, _ = cliques()
    model = train_graphsage(graph, features, replace(TRAINED, tolerance=1e9))
    # The first loss has nothing to be compared with.
    assert [len(losses) for losses in model.iteration_losses] == [2]
    assert model.converged


def test_without_tolerance_all_epochs_and_iterations_run() -> None:
    graph, features, _ = cliques()
    model = train_graphsage(
        graph, features, replace(TRAINED, epochs=2, max_iterations=19, tolerance=0)
    )
    assert [len(losses) for losses in model.iteration_losses] == [19, 19]
    assert not model.converged
    assert model.epoch_losses == [losses[-1] for losses in model.iteration_losses]


def test_a_penalty_keeps_the_weights_smaller() -> None:
    graph, features, _ = cliques()
    free, held = (
        train_graphsage(graph, features, replace(TRAINED, penalty_l2=penalty))
        for penalty in (0.0, 1000.0)
    )
    size = [sum((w**2).sum() for x in model.weights for w in x.values()) for model in (free, held)]
    assert size[1] < 0.8 * size[0]


def test_pool_trains_too() -> None:
    graph, features, _ = cliques()
    model = train_graphsage(graph, features, replace(TRAINED, aggregator="pool"))
    assert np.mean(model.epoch_losses[-3:]) < model.iteration_losses[0][0]
    assert sorted(model.weights[0]) == ["bias", "neighbours", "pool", "self"]


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_nodes_with_zero_features_train_to_numbers_and_embed_to_zero(aggregator: str) -> None:
    graph, features, _ = cliques()
    features[:20] = 0  # the whole first clique: their means are zero too
    config = replace(TRAINED, epochs=2, aggregator=aggregator)
    model = train_graphsage(graph, features, config)
    embeddings = infer_graphsage(model, graph, features, seed=1)
    assert np.isfinite(embeddings).all()
    if aggregator == "mean":  # pool's trained bias is not zero
        assert not embeddings[:20].any()
    np.testing.assert_allclose(np.linalg.norm(embeddings[20:], axis=1), 1, rtol=1e-5)


def test_an_isolated_node_is_embedded_from_its_own_features_only() -> None:
    config = config_of("mean", "relu")
    weights = weights_of(config)
    features = random_features()
    model = GraphSageModel(config, weights)
    with_others = infer_graphsage(model, random_graph(), features, seed=1)
    alone = infer_graphsage(model, sp.csr_array((1, 1), dtype=np.float32), features[:1], seed=1)
    np.testing.assert_allclose(with_others[0], alone[0], rtol=1e-5)


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_inference_by_small_blocks_through_files_gives_the_same_embeddings(
    aggregator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(aggregator, "relu")
    model = GraphSageModel(config, weights_of(config))
    graph, features = random_graph(), random_features()
    expected = infer_graphsage(model, graph, features, seed=2)
    monkeypatch.setattr(infer_module, "BLOCK_NUMBERS", 70)
    monkeypatch.setattr(arrays, "MEMORY_NUMBERS", 1)
    out = np.lib.format.open_memmap(tmp_path / "e.npy", mode="w+", dtype=np.float32, shape=(14, 4))
    np.save(tmp_path / "f.npy", features.astype(np.float16))
    got = infer_graphsage(model, graph, np.load(tmp_path / "f.npy", mmap_mode="r"), seed=2, out=out)
    assert got is out
    np.testing.assert_allclose(got, expected, atol=5e-3)
    got = infer_graphsage(model, graph, features, seed=2, out=out)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("aggregator", "activation"), KINDS)
def test_a_node_has_the_same_embedding_alone_and_among_others(
    aggregator: str, activation: str
) -> None:
    config = config_of(aggregator, activation)
    model = GraphSageModel(config, weights_of(config))
    graph, features = random_graph(n=80), random_features(n=80)
    whole = infer_graphsage(model, graph, features, seed=2)
    values = [features, *hidden_layers(model, graph, features, seed=2)]
    for nodes in (np.array([5]), np.array([79, 0, 5, 5, 33])):
        own = features[nodes]
        for layer in range(2):
            own = apply_layer(
                model,
                layer,
                own,
                graph[nodes],
                np.arange(len(nodes)),
                values[layer],
                seed=2,
                keys=nodes,
            )
        assert np.array_equal(unit_rows(own), whole[nodes])


def test_inference_with_the_same_seed_repeats_itself_and_another_seed_samples_anew() -> None:
    config = config_of("mean", "relu")
    model = GraphSageModel(config, weights_of(config))
    graph, features = random_graph(density=0.8), random_features()
    first, again, other = (infer_graphsage(model, graph, features, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_a_saved_model_loads_as_it_was(aggregator: str, tmp_path: Path) -> None:
    config = config_of(aggregator, "sigmoid")
    model = GraphSageModel(config, weights_of(config), [[3.0, 2.0], [1.5]], converged=True)
    model.save(tmp_path / "model")
    loaded = GraphSageModel.load(tmp_path / "model")
    assert loaded.config == config
    assert loaded.iteration_losses == [[3.0, 2.0], [1.5]]
    assert loaded.converged
    assert loaded.epoch_losses == [2.0, 1.5]
    assert digest(loaded) == digest(model)
    assert loaded.features == 5


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"config": {"sample_sizes": [1], "x": 1}}'])
def test_a_broken_model_is_named_in_the_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(content, encoding="utf-8")
    with pytest.raises(TagsageError, match=rf"GraphSAGE model in {tmp_path}.*train it again"):
        GraphSageModel.load(tmp_path)


def test_a_folder_without_a_model_is_named_in_the_error(tmp_path: Path) -> None:
    with pytest.raises(TagsageError, match=rf"GraphSAGE model in {tmp_path}.*train it again"):
        GraphSageModel.load(tmp_path)


def test_a_graph_without_relationships_cannot_be_trained_on() -> None:
    with pytest.raises(TagsageError, match="no two of the sampled articles share a list"):
        train_graphsage(sp.csr_array((3, 3), dtype=np.float32), random_features(3), TRAINED)


def test_a_feature_that_is_not_a_number_is_refused_with_its_article() -> None:
    graph, features, _ = cliques()
    features[33, 2] = np.nan
    with pytest.raises(TagsageError, match="vector of article 33 holds a value that is not"):
        train_graphsage(graph, features, TRAINED)


def test_vectors_for_other_articles_are_refused() -> None:
    graph, features, _ = cliques()
    with pytest.raises(TagsageError, match=r"vectors of shape \(79, 16\) for 80 articles"):
        train_graphsage(graph, features[:-1], TRAINED)
    model = GraphSageModel(TRAINED, initial_weights(TRAINED, 16))
    with pytest.raises(TagsageError, match=r"wants vectors of 16 numbers .* \(80, 15\)"):
        infer_graphsage(model, graph, features[:, :15], seed=1)


def test_a_loss_that_is_not_finite_stops_training_in_plain_words() -> None:
    graph, features, _ = cliques()
    with pytest.raises(TagsageError, match=r"loss became nan in epoch \d+; lower its learning"):
        train_graphsage(graph, features, replace(TRAINED, learning_rate=1e38))


@pytest.mark.parametrize(
    ("aggregator", "activation", "bound"),
    [("mean", "relu", math.sqrt(2 / 50)), ("mean", "sigmoid", math.sqrt(2 / (40 + 50)))],
)
def test_initial_weights_fill_the_range_that_gds_uses(
    aggregator: str, activation: str, bound: float
) -> None:
    config = GraphSageConfig(dimensions=40, aggregator=aggregator, activation=activation)
    first = initial_weights(config, 50)[0]["weights"]
    assert first.shape == (40, 50)
    assert 0.98 * bound < np.abs(first).max() <= bound * (1 + 1e-6)
    assert abs(first.mean()) < 0.05 * bound


def test_importing_the_room_does_not_import_jax() -> None:
    code = "import sys, tagsage.graph.local; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
