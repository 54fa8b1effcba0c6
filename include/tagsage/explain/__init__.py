"""Why a model gives an article a tag."""
