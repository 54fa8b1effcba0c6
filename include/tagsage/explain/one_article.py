"""One article of the corpus explained on request: found by its address, with the champion."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tagsage.corpus.keys import parse_address
from tagsage.embed.lsa import LsaEmbedder
from tagsage.embed.text import article_texts
from tagsage.errors import TagsageError
from tagsage.explain.explain import explain
from tagsage.explain.explanation import Explanation
from tagsage.explain.labelled_corpus import LabelledCorpus
from tagsage.explain.scorer import Scorer
from tagsage.files import read_json
from tagsage.registry.tagger import Tagger
from tagsage.store.snapshot import Snapshot
from tagsage.workspace import MANIFEST, Workspace

# An unknown address is compared with so many before and after it in the order of keys.
NEIGHBOURS = 2000


def find_article(snapshot: Snapshot, url: str) -> int:
    """Return the row of an article with a text; raises `TagsageError`, with the nearest."""
    address = parse_address(url)
    if address is None:
        raise TagsageError(f"{url[:200]!r} is not the address of an article; give its URL.")
    keys = pd.Index(snapshot.articles["key"])
    if address.key not in keys:
        # Keys are sorted, so those that begin alike stand near.
        place = int(keys.searchsorted(address.key))
        near = slice(max(0, place - NEIGHBOURS), place + NEIGHBOURS)
        urls = dict(zip(keys[near], snapshot.articles["url"].iloc[near], strict=True))
        close = [urls[key] for key in get_close_matches(address.key, urls, n=3)]
        hint = f"; the nearest are {', '.join(close)}" if close else ""
        raise TagsageError(f"The store holds no article {address.url[:200]}{hint}.")
    row = int(keys.get_loc(address.key))
    if snapshot.articles["is_stub"].iloc[row]:
        raise TagsageError(
            f"Only the address of {address.url} is known, from lists: without a text it gets no "
            "tags; harvest it or add it to the articles, then run again."
        )
    return row


def explain_article(
    tagger: Tagger, snapshot: Snapshot, workspace: Workspace, row: int, tag: str | None, top: int
) -> list[Explanation]:
    """Explain the `top` best tags of an article, or one tag; raises `TagsageError` if unknown."""
    tags = tagger.candidate.tags
    if tag is not None and tag not in tags:
        close = get_close_matches(tag, tags, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise TagsageError(f"The champion knows no tag {tag[:200]!r}{hint}; it has {len(tags):,}.")
    known = _known_vectors(workspace, snapshot, tagger)
    corpus = LabelledCorpus.of(snapshot, tags, known)
    if known is None:
        corpus = replace(corpus, vectors=_labelled_vectors(tagger, corpus.labelled, snapshot))
    vectors = None if known is None else known.__getitem__
    if tag is None:
        scores = Scorer(tagger, corpus, np.array([row]), vectors).scores()[0]
        columns = np.argsort(-scores, kind="stable")[:top].tolist()
    else:
        columns = [tags.index(tag)]
    return list(explain(tagger, corpus, [row] * len(columns), columns, vectors=vectors))


def _known_vectors(
    workspace: Workspace, snapshot: Snapshot, tagger: Tagger
) -> npt.NDArray[np.floating] | None:
    """Return the vectors that a run of this corpus left in the workspace; None without any."""
    embedder = tagger.embedder
    for file in workspace.local_path.glob("artifacts/*/vectors.npy"):
        made: Any = read_json(file.with_name(MANIFEST))
        corpus = made["inputs"].get("corpus", "")
        if not workspace.exists(corpus):
            continue
        vectors: npt.NDArray[np.floating] = np.load(file, mmap_mode="r", allow_pickle=False)
        same_model = (
            vectors.shape[1] == tagger.dimensions
            if embedder is None
            else made["summary"].get("model_id") == embedder.model_id
        )
        if same_model and workspace.open(corpus).summary["digest"] == snapshot.digest:
            return vectors
    if embedder is None and tagger.features.needs_vectors:
        raise TagsageError(
            "The champion was trained on precomputed vectors, and the workspace no longer holds "
            "those of the corpus as it is now; start a run with `tagsage run`."
        )
    return None


def _labelled_vectors(
    tagger: Tagger, labelled: npt.NDArray[np.bool_], snapshot: Snapshot
) -> npt.NDArray[np.float32] | None:
    """Embed the labelled articles where that is free; the others have zeros."""
    embedder = tagger.embedder
    if not isinstance(embedder, LsaEmbedder):
        return None
    vectors = np.zeros((len(labelled), embedder.dimensions), dtype=np.float32)
    vectors[labelled] = embedder.embed(article_texts(snapshot.articles[labelled]))
    return vectors
