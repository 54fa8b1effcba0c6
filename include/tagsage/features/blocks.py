"""The blocks by name."""

from __future__ import annotations

from tagsage.features.author_ids import AuthorIds
from tagsage.features.authors import Authors
from tagsage.features.base import Block
from tagsage.features.char_ngrams import CharNgrams
from tagsage.features.fastrp import FastRp
from tagsage.features.graphsage import GraphSage
from tagsage.features.labels import Labels
from tagsage.features.list_ids import ListIds
from tagsage.features.lists import Lists
from tagsage.features.memberships import Memberships
from tagsage.features.text import Text
from tagsage.features.words import Words

BLOCKS: dict[str, type[Block]] = {
    block.name: block
    for block in (
        Words,
        CharNgrams,
        ListIds,
        AuthorIds,
        Text,
        Lists,
        Labels,
        Authors,
        Memberships,
        GraphSage,
        FastRp,
    )
}
"""A new block is a class in a file of its own, and a name here."""


def blocks_of(feature_set: str) -> tuple[str, ...]:
    """Return the blocks that a feature set joins; a ValueError when one is unknown or repeated."""
    blocks = tuple(feature_set.split("+"))
    if set(blocks) - set(BLOCKS) or len(set(blocks)) < len(blocks):
        names = ", ".join(BLOCKS)
        raise ValueError(f"a feature set is made of some of {names}, each once, joined by +")
    return blocks


def needs_lists(feature_set: str) -> bool:
    """Return whether some block of a feature set has nothing for articles in no list."""
    return any(BLOCKS[block].needs_lists for block in blocks_of(feature_set))


def list_free_set(feature_set: str) -> str:
    """Return what is left of a feature set for an article in no list; empty for nothing."""
    return "+".join(block for block in blocks_of(feature_set) if not BLOCKS[block].needs_lists)
