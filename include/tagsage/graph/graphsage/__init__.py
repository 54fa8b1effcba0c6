"""GraphSAGE without labels, as ``graphSage`` of Neo4j GDS 2.13: model and inference, training."""
