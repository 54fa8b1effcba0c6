"""Why an article has a tag: what of its words, lists and author speaks for it."""
