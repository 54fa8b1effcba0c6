"""What the lists say about articles: similarity, sampling, GraphSAGE, random projections."""
