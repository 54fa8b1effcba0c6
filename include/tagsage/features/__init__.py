"""Features of articles: each block is a function of an article and a small state."""

from tagsage.features.articles import Articles
from tagsage.features.base import Block
from tagsage.features.registry import BLOCKS, load_block

__all__ = ["BLOCKS", "Articles", "Block", "load_block"]
