"""The names of candidates: a feature set, joined of blocks by ``+``, and a classifier."""

from __future__ import annotations

# What a feature set is made of, joined by +.
SPARSE_BLOCKS = ("words", "list_ids", "author_ids")
BLOCKS = (
    *SPARSE_BLOCKS,
    *("text", "graphsage", "fastrp", "lists", "memberships", "labels", "authors"),
)
LINEAR = "linear"
CLASSIFIERS = (
    LINEAR,
    "label_powerset",
    "ovr_logistic",
    "classifier_chain",
    "mlp",
    "mlknn",
    "boosting",
    "ensemble",
)

DEFAULT_CANDIDATES = ",".join((
    "words:linear",  # the baseline of every claim: text alone
    "words+list_ids+author_ids:linear",  # the simplest model that knows lists
    "text+lists+labels+authors:mlp",  # the best on dense features
    "text:label_powerset",  # the study's two models
    "text+graphsage:label_powerset",
))


def parse_candidates(text: str) -> list[tuple[str, str]]:
    """Return comma-separated candidates as (feature set, classifier) pairs, in the order given.

    Raises
    ------
    ValueError
        When a candidate is malformed, unknown or given twice.
    """
    pairs: list[tuple[str, str]] = []
    for item in text.split(","):
        feature_set, separator, classifier = item.strip().partition(":")
        blocks = feature_set.split("+")
        known = set(blocks) <= set(BLOCKS) and len(set(blocks)) == len(blocks)
        if not separator or not known or classifier not in CLASSIFIERS:
            raise ValueError(
                f"candidate {item.strip()!r} is not feature_set:classifier with a feature_set "
                f"of some of {', '.join(BLOCKS)}, each once, joined by +, and classifier in "
                f"{', '.join(CLASSIFIERS)}"
            )
        if classifier != LINEAR and not set(SPARSE_BLOCKS).isdisjoint(blocks):
            raise ValueError(
                f"candidate {item.strip()!r} has a column per word, list or author, and only the "
                f"classifier {LINEAR} takes so many"
            )
        if (feature_set, classifier) in pairs:
            raise ValueError(f"candidate {item.strip()!r} is given twice")
        pairs.append((feature_set, classifier))
    return pairs
