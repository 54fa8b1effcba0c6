"""From one store to another, nothing lost."""

from __future__ import annotations

import pandas as pd

from tagsage.corpus.model import Corpus, text_frame
from tagsage.errors import TagsageError
from tagsage.store.base import ArticleStore, InterruptedLoadError, LoadReport
from tagsage.store.snapshot import Snapshot


def copy_store(source: ArticleStore, target: ArticleStore, *, replace: bool) -> LoadReport:
    """Make a store hold what another holds: the corpus, predictions and suggestions.

    Vectors are not copied: every night writes its own. A copy that was killed is run again.

    Parameters
    ----------
    source, target : ArticleStore
        Two different stores.
    replace : bool
        Whether the target may hold another corpus or other predictions, which are lost then.

    Returns
    -------
    LoadReport
        What changed in the target.

    Raises
    ------
    TagsageError
        When the source is empty, when the target holds something else and `replace` is false, or
        when it was changed meanwhile.
    """
    snapshot = source.snapshot()
    predictions, suggestions = source.read_predictions(), source.read_suggestions()
    if not len(snapshot.articles):
        raise TagsageError("The store to copy from is empty; name the one that holds the corpus.")
    if not replace and not _may_load(target, snapshot, predictions, suggestions):
        msg = (
            "The store to copy to holds another corpus or other predictions; name an empty one, or "
            "let it be replaced with --replace."
        )
        raise TagsageError(msg)
    report = target.load(corpus_of(snapshot))
    target.restore_predictions(predictions)
    target.restore_suggestions(suggestions)
    if target.snapshot().digest != snapshot.digest:
        msg = "The store copied to was loaded by another process meanwhile; copy again."
        raise TagsageError(msg)
    return report


def corpus_of(snapshot: Snapshot) -> Corpus:
    """Return a snapshot as what a store loads."""
    keys = snapshot.articles["key"].to_numpy(dtype=object)
    memberships = text_frame({
        "list": snapshot.lists[snapshot.list_index],
        "article": keys[snapshot.article_index],
    })
    return Corpus(snapshot.articles, memberships, quarantine=pd.DataFrame(), digests={})


def _are_among(some: pd.DataFrame, others: pd.DataFrame) -> bool:
    """Tell whether all rows of a frame are rows of another, too."""
    return len(some.merge(others, how="inner")) == len(some)


def _may_load(
    target: ArticleStore, snapshot: Snapshot, predictions: pd.DataFrame, suggestions: pd.DataFrame
) -> bool:
    """Tell whether the source's content can take the place of the target's without a loss."""
    if target.counts()["articles"] == 0:
        return True
    try:
        same = target.snapshot().digest == snapshot.digest
    except InterruptedLoadError:
        return False
    return (
        same
        # A copy that was killed has written some of them.
        and _are_among(target.read_predictions(), predictions)
        and _are_among(target.read_suggestions(), suggestions)
    )
