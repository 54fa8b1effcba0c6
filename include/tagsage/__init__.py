"""tagsage: retrain, every night, a model that tags articles from their text and their lists."""

__version__ = "0.1.0"
