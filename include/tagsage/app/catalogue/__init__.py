"""The catalogue: one read-only SQLite file of a run, from which the pages are served."""
