"""From one store to another, nothing lost."""

from __future__ import annotations

import pandas as pd

from tagsage.corpus.model import Corpus, text_frame
from tagsage.errors import TagsageError
from tagsage.store.base import ArticleStore, InterruptedLoadError, LoadReport
from tagsage.store.snapshot import Snapshot


def copy_store(source: ArticleStore, target: ArticleStore, *, replace: bool) -> LoadReport:
    """Make a store hold what another holds: articles, lists, memberships and predictions.

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
    predictions = source.read_predictions()
    if not len(snapshot.articles):
        raise TagsageError("The store to copy from is empty; name the one that holds the corpus.")
    if not replace and not _may_load(target, snapshot, predictions):
        msg = (
            "The store to copy to holds another corpus or other predictions; name an empty one, or "
            "let it be replaced with --replace."
        )
        raise TagsageError(msg)
    report = target.load(corpus_of(snapshot))
    made_by = {
        name: "" if predictions.empty else str(predictions[name].iloc[0])
        for name in ("run_id", "model_version")
    }
    target.write_predictions(predictions, **made_by)
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


def _may_load(target: ArticleStore, snapshot: Snapshot, predictions: pd.DataFrame) -> bool:
    """Tell whether a snapshot and predictions can take the place of the target's without a loss."""
    if target.counts()["articles"] == 0:
        return True
    try:
        same = target.snapshot().digest == snapshot.digest
    except InterruptedLoadError:
        return False
    held = target.read_predictions()
    return same and (held.empty or held.equals(predictions))
