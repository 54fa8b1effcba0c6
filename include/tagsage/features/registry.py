"""The blocks by name."""

from __future__ import annotations

from pathlib import Path

from tagsage.features.author_ids import AuthorIds
from tagsage.features.base import Block
from tagsage.features.list_ids import ListIds
from tagsage.features.words import Words

BLOCKS: dict[str, type[Block]] = {block.name: block for block in (Words, ListIds, AuthorIds)}
"""A new block is a class in a file of its own, and a name here."""


def load_block(name: str, folder: Path) -> Block:
    """Read a fitted block that was saved."""
    return BLOCKS[name].load(folder)
