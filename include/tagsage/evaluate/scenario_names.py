"""What scenarios, and the two candidates that are compared in them, are called."""

TEXT, GRAPH = "text", "graph"
ROLES = (TEXT, GRAPH)
TRANSDUCTIVE, INDUCTIVE, COLD_START, TIME = "transductive", "inductive", "cold_start", "time"
SPLIT, SHARE = "split", "share"
# The feature sets that know an article's text alone.
TEXT_SETS = ("text", "words", "words+text", "text+words")
