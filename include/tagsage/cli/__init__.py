"""The command line: ``tagsage run``, ``show``, ``tag``, ``harvest``, ``export``, and more.

One module per group of commands. Exit status: 0 done, 1 a failure explained in one sentence,
2 wrong usage.
"""

from tagsage.cli.application import app, main

__all__ = ["app", "main"]
