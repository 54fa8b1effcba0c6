"""The catalogue: one read-only SQLite file of a night, from which the pages are served."""
