"""The default candidates, and how candidates are written: ``feature_set:classifier``.

A feature set is the names of blocks joined by ``+``.
"""

from __future__ import annotations

DEFAULT_CANDIDATES = ",".join((
    "words:linear",  # the baseline of every claim: text alone
    "words+char_ngrams:linear",  # the best on text alone
    "words+list_ids+author_ids:linear",  # the simplest model that knows lists
    # The best: the same columns, and what a network finds in dense features.
    "words+char_ngrams+list_ids+author_ids+text+lists+labels+authors:ensemble",
    "text:label_powerset",  # the study's two models
    "graphsage:label_powerset",
))
# The blocks that know an article's text alone.
TEXT_BLOCKS = frozenset({"text", "words", "char_ngrams"})


def is_text_alone(candidate: str) -> bool:
    """Return whether all blocks of a candidate, or of a feature set, are made of text alone."""
    return TEXT_BLOCKS.issuperset(candidate.partition(":")[0].split("+"))


def parse_candidates(text: str) -> list[tuple[str, str]]:
    """Return comma-separated candidates as (feature set, classifier) pairs, in the order given.

    Raises `ValueError` when a candidate is malformed or given twice; its parts are checked by
    :func:`tagsage.learn.candidate_names.check_candidates`.
    """
    pairs: list[tuple[str, str]] = []
    for item in text.split(","):
        feature_set, separator, classifier = item.strip().partition(":")
        if not separator or not all(feature_set.split("+")) or not classifier:
            raise ValueError(
                f"candidate {item.strip()!r} is not feature_set:classifier, with a feature_set of "
                "blocks joined by +"
            )
        if (feature_set, classifier) in pairs:
            raise ValueError(f"candidate {item.strip()!r} is given twice")
        pairs.append((feature_set, classifier))
    return pairs
