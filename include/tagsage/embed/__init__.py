"""Text to vectors: embedders and the cache of what they returned."""
