"""Features of articles: each block is a function of an article and a small state."""

from tagsage.features.articles import Articles, article_ids
from tagsage.features.base import Block
from tagsage.features.blocks import BLOCKS, blocks_of, list_free_set, needs_lists
from tagsage.features.feature_set import FeatureSet
from tagsage.features.known_articles import KnownArticles
from tagsage.features.matrix import FeatureMatrix

__all__ = [
    "BLOCKS",
    "Articles",
    "Block",
    "FeatureMatrix",
    "FeatureSet",
    "KnownArticles",
    "article_ids",
    "blocks_of",
    "list_free_set",
    "needs_lists",
]
