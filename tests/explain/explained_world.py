"""A corpus whose tags follow from words and from lists, and a tagger fitted on it for real."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from tagsage.embed.lsa import LsaEmbedder
from tagsage.embed.text import article_texts
from tagsage.features import Articles, FeatureMatrix
from tagsage.learn.labels import label_matrix
from tagsage.registry.tagger import Tagger
from tagsage.store.snapshot import Snapshot
from tests.taggers import write_fitted

TOPICS = {
    "cooking": ("oven", "bread", "soup", "salt"),
    "cycling": ("wheel", "pedal", "chain", "hill"),
    "sailing": ("mast", "wind", "rope", "harbour"),
}
TAGS = sorted(TOPICS)
N, LISTS = 300, 45
DENSE, LINEAR = "text+lists+labels+authors", "words+list_ids+author_ids:linear"


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


def fit(
    folder: Path, corpus: Snapshot, candidate: str, *, dimensions: int = 8
) -> tuple[Tagger, FeatureMatrix]:
    """Fit a candidate on the tagged articles, and load it as it is served.

    The features that it was fitted on come with it.
    """
    texts = article_texts(corpus.articles)
    embedder = LsaEmbedder.fit(texts, dimensions=dimensions, seed=0)
    embedder.save(folder / "lsa")
    tags = corpus.articles["tags"].tolist()
    rows = np.flatnonzero([len(own) > 0 for own in tags])
    served, X = write_fitted(
        folder,
        Articles.of_snapshot(corpus, embedder.embed(texts)),
        rows,
        label_matrix([tags[row] for row in rows], TAGS),
        tags=TAGS,
        candidate=candidate,
        embedder=folder / "lsa",
        labels_prior_weight=3,
        authors_prior_weight=3,
        graphsage_dimensions=8,
        graphsage_epochs=2,
    )
    return Tagger.load(served), X
