"""What every graph engine promises: the same numbers, or, where chance has a part, alike."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from tests.conftest import connection_to
from tests.graph.conftest import MakeCorpus, corpus_maker, members_of, pairs_in

# -- a graph worked out by hand ------------------------------------------------------------------
# Lists: a 0, b 1, c 2, d 3, e 4. The pair 0, 1; the group 2 to 5; 6 in no list; 7 alone in its.
HAND = members_of([{3}, {3}, {0, 1}, {0}, {0, 1, 2}, {2}, set(), {4}], 5)


def both_ways(pairs: dict[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    return {key: round(v, 6) for (i, j), v in pairs.items() for key in ((i, j), (j, i))}


BY_HAND = {
    "everything": (
        {},
        both_ways({(0, 1): 1, (2, 3): 1 / 2, (2, 4): 2 / 3, (3, 4): 1 / 3, (4, 5): 1 / 3}),
        [0, 0, 1, 1, 1, 1, 2, 3],
    ),
    "one neighbour each, so that rows are not symmetric": (
        {"similarity_top_k": 1},
        {**both_ways({(0, 1): 1, (2, 4): 2 / 3}), (3, 2): 0.5, (5, 4): round(1 / 3, 6)},
        [0, 0, 1, 1, 1, 1, 2, 3],
    ),
    "without list a, which counts nowhere": (
        {"similarity_max_list_size": 2},
        both_ways({(0, 1): 1, (2, 4): 1 / 2, (4, 5): 1 / 2}),
        [0, 0, 1, 2, 1, 1, 3, 4],
    ),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_neighbours_and_components_are_those_worked_out_by_hand(
    make_corpus: MakeCorpus, name: str
) -> None:
    settings, pairs, labels = BY_HAND[name]
    with make_corpus(HAND, np.eye(8, dtype=np.float32)).opened(**settings) as graph:
        degrees = graph.similarity()
        assert degrees.dtype == np.int64
        assert degrees.tolist() == np.bincount([i for i, _ in pairs], minlength=8).tolist()
        assert pairs_in(graph) == pairs
        found = graph.components()
    assert found.dtype == np.int32
    assert found.tolist() == labels


# -- a random graph against the pairwise comparison ----------------------------------------------
def compare_all(lists_of: list[set[int]]) -> dict[tuple[int, int], float]:
    return {
        (i, j): round(len(mine & theirs) / len(mine | theirs), 6)
        for i, mine in enumerate(lists_of)
        for j, theirs in enumerate(lists_of)
        if i != j and mine & theirs
    }


def random_lists(articles: int, lists: int, share: float) -> list[set[int]]:
    chosen = np.random.default_rng(0).random((articles, lists)) < share
    return [set(np.flatnonzero(row).tolist()) for row in chosen]


LISTS_OF = random_lists(40, 12, 0.15)
VECTORS = np.random.default_rng(3).normal(size=(40, 6)).astype(np.float32)


def test_a_random_graph_is_joined_and_sampled(make_corpus: MakeCorpus) -> None:
    expected = compare_all(LISTS_OF)
    assert len(expected) > 100
    with make_corpus(members_of(LISTS_OF, 12), VECTORS).opened() as graph:
        graph.similarity()
        assert pairs_in(graph) == expected
        sample = graph.sample(0)
    articles = sample.articles
    assert articles.dtype == np.int32
    assert len(articles) == 20
    assert 0 in articles
    assert np.array_equal(articles, np.unique(articles))
    inside = set(articles.tolist())
    assert sample.relationships == sum(inside.issuperset(pair) for pair in expected)


@pytest.mark.parametrize("aggregator", ["mean", "pool"])
def test_every_article_is_embedded_with_length_one(make_corpus: MakeCorpus, aggregator) -> None:
    corpus = make_corpus(members_of(LISTS_OF, 12), VECTORS)
    done, embeddings = corpus.study(graphsage_aggregator=aggregator)
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (40, 8)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, rtol=1e-5)
    assert (done["trained"], done["sampled"], done["trained_on"]) == (True, 20, 20)
    assert (len(done["epoch_losses"]), done["converged"]) == (2, False)
    assert done["relationships"] == len(compare_all(LISTS_OF))
    assert done["zero_embeddings"] == 0
    json.dumps(done, allow_nan=False)


# -- corpora with next to nothing in them --------------------------------------------------------
@pytest.mark.parametrize("lists_of", [[set()] * 6, [{i} for i in range(6)], [{0}], []])
def test_where_nothing_joins_two_articles_the_embeddings_are_zeros(
    make_corpus: MakeCorpus, lists_of: list[set[int]]
) -> None:
    n = len(lists_of)
    corpus = make_corpus(members_of(lists_of, 6), np.ones((n, 4), dtype=np.float32))
    done, embeddings = corpus.study()
    assert (done["relationships"], done["components"], done["sampled"]) == (0, n, 0)
    assert (done["trained"], done["epoch_losses"], done["zero_embeddings"]) == (False, [], n)
    assert embeddings.shape == (n, 8)
    assert not embeddings.any()


def test_when_the_sample_has_no_relationship_the_whole_graph_is_trained_on(
    make_corpus: MakeCorpus,
) -> None:
    corpus = make_corpus(members_of([{0}, {0}, set(), set()], 1), np.eye(4, dtype=np.float32))
    done, _ = corpus.study(sample_ratio=0.2)
    assert (done["sampled"], done["sampled_relationships"]) == (1, 0)
    assert (done["trained"], done["trained_on"]) == (True, 4)


# -- where chance has a part, the engines are alike ----------------------------------------------
@pytest.fixture(scope="module")
def make_either(neo4j_server: Any, tmp_path_factory: Any) -> dict[str, MakeCorpus]:
    """Make corpora with both engines for the same test."""
    return {
        "local": corpus_maker(tmp_path_factory.mktemp("local"), None),
        "gds": corpus_maker(tmp_path_factory.mktemp("gds"), connection_to(neo4j_server)),
    }


def distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the chi-square of two rows of counts over equally many draws."""
    return float(((first - second) ** 2 / np.maximum(first + second, 1)).sum())


@pytest.mark.neo4j
@pytest.mark.slow
def test_walks_visit_the_articles_as_often_in_both_engines(
    make_either: dict[str, MakeCorpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 200 times a star of eight with a path that hangs on it; each pair has a list of its own.
    edges = np.array([(0, i) for i in range(1, 8)] + [(i, i + 1) for i in range(7, 12)])
    copies = np.arange(200)[:, None, None]
    articles = (13 * copies + edges).ravel()
    lists = np.repeat(np.arange(200 * len(edges)), 2)
    ones = np.ones(len(articles), dtype=np.float32)
    members = sp.csr_array((ones, (articles, lists)), shape=(200 * 13, 200 * len(edges)))
    visits: dict[tuple[str, float], np.ndarray] = {}
    for kind, make in make_either.items():
        corpus = make(members, np.ones((200 * 13, 1), dtype=np.float32))
        for restart in (0.1, 0.4):
            for module in ("sampling", "gds"):
                monkeypatch.setattr(f"tagsage.graph.{module}.RESTART_PROBABILITY", restart)
            draws = []
            for seed in range(5):
                with corpus.opened(sample_ratio=0.2, seed=seed) as graph:
                    graph.similarity()
                    draws.append(graph.sample(0).articles)
            visits[kind, restart] = np.bincount(np.concatenate(draws) % 13, minlength=13)
    # Of the same walks it was 0.1 to 0.4, of walks that restart more often above 37.
    assert distance(visits["local", 0.1], visits["gds", 0.1]) < 5
    assert distance(visits["local", 0.4], visits["gds", 0.1]) > 20
    assert distance(visits["local", 0.1], visits["gds", 0.4]) > 20


@pytest.mark.neo4j
@pytest.mark.slow
def test_graphsage_learns_alike_in_both_engines(make_either: dict[str, MakeCorpus]) -> None:
    random = np.random.default_rng(5)
    group = np.arange(120) % 6
    lists_of = [set((4 * g + random.choice(4, 2, replace=False)).tolist()) for g in group]
    vectors = (random.normal(size=(120, 12)) + 0.6 * np.eye(12)[group]).astype(np.float32)
    losses: dict[str, np.ndarray] = {}
    for kind, make in make_either.items():
        corpus = make(members_of(lists_of, 24), vectors)
        curves = []
        for seed in range(1, 6):
            done, embeddings = corpus.study(
                graphsage_dimensions=16,
                graphsage_sample_sizes="5,5",
                graphsage_search_depth=3,
                graphsage_epochs=4,
                graphsage_learning_rate=0.01,
                # All batches of 30 in each iteration.
                graphsage_batch_size=30,
                sample_ratio=1.0,
                seed=seed,
            )
            curves.append(done["epoch_losses"])
            likeness = embeddings @ embeddings.T
            np.fill_diagonal(likeness, -1)
            nearest = group[likeness.argmax(axis=1)]
            # The vectors alone find one in seven, as chance does.
            assert (nearest == group).mean() > 0.8, (kind, seed)
        losses[kind] = np.mean(curves, axis=0)
    # One seed's losses vary by about 1 and 0.6. Untrained, the loss is above 20.
    np.testing.assert_allclose(losses["gds"][0], losses["local"][0], atol=2)
    np.testing.assert_allclose(losses["gds"][-1], losses["local"][-1], atol=1.2)


@pytest.mark.neo4j
def test_at_a_tie_the_engines_keep_as_many_and_equally_similar_articles(
    neo4j_server: Any, tmp_path_factory: Any
) -> None:
    # Two columns a case: what joins all, and a better pair that comes early, late, or not at all.
    cases = [
        [{0}] * 5,
        [{0, 1}, {0}, {0}, {0}, {0, 1}],
        [{0, 1}, {0, 1}, {0}, {0}, {0}],
        [{0}, {0, 1}, {0}, {0, 1}, {0}, {0, 1}, {0}, {0, 1}],
    ]
    kept: dict[str, list[dict[tuple[int, int], float]]] = {}
    for kind, connection in (("local", None), ("gds", connection_to(neo4j_server))):
        # Ids in the order of indices, so that "lower" means the same to both.
        make = corpus_maker(tmp_path_factory.mktemp(kind), connection, shuffled=False)
        kept[kind] = []
        for lists_of in cases:
            corpus = make(members_of(lists_of, 2), np.eye(len(lists_of), dtype=np.float32))
            with corpus.opened(similarity_top_k=2) as graph:
                graph.similarity()
                kept[kind].append(pairs_in(graph))
    for ours, theirs in zip(kept["local"], kept["gds"], strict=True):
        scores = [sorted((i, score) for (i, _), score in pairs.items()) for pairs in (ours, theirs)]
        assert scores[0] == scores[1]
    # Who comes first stays at a tie; but when a better one displaces one of them, the server may
    # drop the lowest: its queue puts equals in front of each other.
    assert kept["local"][0] == kept["gds"][0]
    assert {j for i, j in kept["local"][1] if i == 0} == {1, 4}
