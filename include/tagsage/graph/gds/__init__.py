"""The engine `gds`: the study's graph path inside a Neo4j server with Graph Data Science."""
