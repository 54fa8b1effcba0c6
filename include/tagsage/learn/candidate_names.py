"""What the name of a candidate means: ``feature_set:classifier``, blocks joined by ``+``."""

from __future__ import annotations

from collections.abc import Sequence

from tagsage.errors import NonRetryableError
from tagsage.features import BLOCKS, blocks_of, list_free_set, needs_lists
from tagsage.learn.classifiers import CLASSIFIERS, classifier_class


def check_candidates(pairs: Sequence[tuple[str, str]]) -> None:
    """Raise a NonRetryableError for unknown blocks or classifiers, or unsuitable combinations."""
    for feature_set, classifier in pairs:
        shown = f"Candidate {f'{feature_set}:{classifier}'[:200]!r}"
        try:
            blocks = blocks_of(feature_set)
        except ValueError as error:
            raise NonRetryableError(f"{shown}: {error}.") from error
        if classifier not in CLASSIFIERS:
            raise NonRetryableError(f"{shown}: the classifier is one of {', '.join(CLASSIFIERS)}.")
        sparse = [block for block in blocks if BLOCKS[block].sparse]
        if sparse and not classifier_class(classifier).sparse:
            takes = [name for name in CLASSIFIERS if classifier_class(name).sparse]
            raise NonRetryableError(
                f"{shown}: {sparse[0]} has a column per word, list or author, and only "
                f"{' and '.join(takes)} take so many."
            )


def fallback_of(candidate: str) -> str:
    """Return the candidate that predicts in its place for articles in no list; empty for none."""
    feature_set, _, classifier = candidate.partition(":")
    rest = list_free_set(feature_set)
    return f"{rest}:{classifier}" if rest and needs_lists(feature_set) else ""
