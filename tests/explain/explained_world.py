"""A corpus whose tags follow from words and from lists, and a tagger fitted on it for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tagsage.graph.labels import LabelsConfig, propagate_labels
from tagsage.graph.lists import propagate_lists

from tagsage.features import BLOCKS as FEATURE_BLOCKS
from tagsage.features import Articles
from tagsage.features.matrix import FeatureMatrix
from tagsage.learn.fitting import fit_candidate
from tagsage.learn.targets import label_matrix
from tagsage.registry.servable import Tagger, write_served
from tagsage.runner import LocalRunner
from tagsage.store.snapshot import Snapshot
from tagsage.vectors.lsa import LsaEmbedder
from tagsage.vectors.text import article_texts

TOPICS = {
    "cooking": ("oven", "bread", "soup", "salt"),
    "cycling": ("wheel", "pedal", "chain", "hill"),
    "sailing": ("mast", "wind", "rope", "harbour"),
}
TAGS = sorted(TOPICS)
N, LISTS = 300, 45
BLOCKS = "text+lists+labels+authors"


def snapshot(seed: int = 0) -> Snapshot:
    """Return 300 articles of three topics, a third without tags, in 45 lists of mostly one topic.

    Every tenth article is in no list, two thirds have words that say nothing.
    """
    rng = np.random.default_rng(seed)
    topic = rng.integers(0, 3, N)
    words = [list(TOPICS[TAGS[one]]) for one in topic]
    # Some write of what is not their topic.
    about_other = rng.random(N) < 0.2
    words = [words[place - 1] if about_other[place] else words[place] for place in range(N)]
    titles = [
        " ".join(rng.choice(own, 2)) if place % 3 == 1 else f"notes of day {place % 20}"
        for place, own in enumerate(words)
    ]
    articles = pd.DataFrame({
        "key": [f"site.example/{place:03d}" for place in range(N)],
        "url": [f"https://site.example/{place:03d}" for place in range(N)],
        "title": titles,
        "subtitle": ["and more" if place % 2 else "" for place in range(N)],
        "author": [f"Author {one} {place % 40}" for place, one in enumerate(topic)],
        "tags": [[TAGS[one]] if place % 3 else [] for place, one in enumerate(topic)],
        "is_stub": False,
    })
    about = np.arange(LISTS) % 3
    chance = np.where(topic[:, None] == about[None, :], 0.08, 0.025)
    member = rng.random((N, LISTS)) < chance
    member[::10] = False
    list_index, article_index = np.nonzero(member.T)
    names = np.array([f"list {place:02d}" for place in range(LISTS)], dtype=object)
    return Snapshot(articles, names, article_index.astype(np.int32), list_index.astype(np.int32))


def fit_linear(folder: Path, corpus: Snapshot) -> tuple[Tagger, FeatureMatrix]:
    """Fit a linear tagger on words, lists and authors, and load it as it is served."""
    articles = Articles.of_snapshot(corpus)
    blocks = {name: block.fit(articles, LocalRunner()) for name, block in FEATURE_BLOCKS.items()}
    for name, block in blocks.items():
        block.save(folder / name)
    X = FeatureMatrix([block.transform(articles) for block in blocks.values()], kinds=list(blocks))
    tags = corpus.articles["tags"].tolist()
    rows = np.flatnonzero([len(own) > 0 for own in tags])
    Y = label_matrix([tags[row] for row in rows], TAGS)
    fit_candidate(X, Y, rows, tags=TAGS, classifier="linear", seed=0).save(folder / "candidate")
    served = folder / "served"
    served.mkdir()
    write_served(
        served,
        candidate=folder / "candidate",
        feature_set="+".join(blocks),
        dimensions=0,
        embedder=None,
        sparse={name: folder / name for name in blocks},
        incidence=corpus.incidence(),
        article_keys=corpus.articles["key"].tolist(),
    )
    return Tagger.load(served), X


def fit(
    folder: Path, corpus: Snapshot, classifier: str = "ovr_logistic"
) -> tuple[Tagger, FeatureMatrix]:
    """Fit a tagger on text, lists, labels and authors, and load it as it is served.

    The features that it was fitted on come with it.
    """
    texts = article_texts(corpus.articles)
    embedder = LsaEmbedder.fit(texts, dimensions=8, max_terms=100, seed=0)
    embedder.save(folder / "lsa")
    vectors = embedder.embed(texts)
    tags = corpus.articles["tags"].tolist()
    rows = np.flatnonzero([len(own) > 0 for own in tags])
    Y = label_matrix([tags[row] for row in rows], TAGS)
    incidence = corpus.incidence()
    authors, authorship = corpus.authorship()
    hops = propagate_lists(incidence, vectors, hops=2, size_discount=0.5)
    config = LabelsConfig(prior_weight=3)
    labels = propagate_labels(incidence, rows, Y, config)
    of_authors = propagate_labels(authorship, rows, Y, config)
    labels.lists.save(folder / "labels")
    of_authors.lists.save(folder / "authors")
    X = FeatureMatrix(
        [vectors, *hops, *labels[:2], *of_authors[:2]],
        kinds=["text", "lists", "lists", "labels", "labels", "authors", "authors"],
        linked=np.diff(incidence.indptr) > 0,
    )
    fitted = fit_candidate(X, Y, rows, tags=TAGS, classifier=classifier, seed=0)
    fitted.save(folder / "candidate")
    served = folder / "served"
    served.mkdir()
    write_served(
        served,
        candidate=folder / "candidate",
        feature_set=BLOCKS,
        dimensions=8,
        embedder=folder / "lsa",
        list_names=corpus.lists,
        incidence=incidence,
        hop_inputs=[vectors, hops[0]],
        size_discount=0.5,
        list_labels=folder / "labels",
        author_names=authors,
        author_labels=folder / "authors",
        article_keys=corpus.articles["key"].tolist(),
    )
    return Tagger.load(served), X
