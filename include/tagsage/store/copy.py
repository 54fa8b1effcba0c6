"""Copies one store's corpus, predictions and suggestions to another."""

from __future__ import annotations

import pandas as pd

from tagsage.corpus.model import Corpus, text_frame
from tagsage.errors import TagsageError
from tagsage.store.base import ArticleStore, LoadReport
from tagsage.store.snapshot import Snapshot


def copy_store(source: ArticleStore, target: ArticleStore, *, replace: bool) -> LoadReport:
    """Make a store hold what another holds, vectors excepted.

    With `replace`, another corpus and other predictions in the target are lost. Raises
    `TagsageError` when the source is empty, or the target holds something else and `replace` is
    false.
    """
    snapshot = source.snapshot()
    if not len(snapshot.articles):
        raise TagsageError("The store to copy from is empty; name the one that holds the corpus.")
    if not replace and not _is_copy(source, target, snapshot):
        msg = (
            "The store to copy to holds another corpus or other predictions; name an empty one, or "
            "let it be replaced with --replace."
        )
        raise TagsageError(msg)
    report = target.load(corpus_of(snapshot))
    target.restore_predictions(source.read_predictions())
    target.restore_suggestions(source.read_suggestions())
    return report


def corpus_of(snapshot: Snapshot) -> Corpus:
    """Return a snapshot as what a store loads."""
    keys = snapshot.articles["key"].to_numpy(dtype=object)
    memberships = text_frame({
        "list": snapshot.lists[snapshot.list_index],
        "article": keys[snapshot.article_index],
    })
    return Corpus(snapshot.articles, memberships, quarantine=pd.DataFrame(), digests={})


def _is_copy(source: ArticleStore, target: ArticleStore, snapshot: Snapshot) -> bool:
    """Return whether the target is empty, or a copy of the source, perhaps an interrupted one."""
    if target.counts()["articles"] == 0:
        return True
    if target.snapshot().digest != snapshot.digest:
        return False
    kept = ((target.read_predictions(), source.read_predictions()),
            (target.read_suggestions(), source.read_suggestions()))  # fmt: skip
    return all(held.empty or held.equals(ours) for held, ours in kept)
