"""GraphSAGE: embeddings of articles from their own vectors and those of their neighbours."""
