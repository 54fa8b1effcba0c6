"""What the lists say of an article: similarity, sampling, GraphSAGE, propagation over lists."""
