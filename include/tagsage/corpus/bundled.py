"""The source `bundled`: the corpus that comes with the repository, ``data/debian-packages``."""

from __future__ import annotations

from pathlib import Path

from tagsage.errors import TagsageError

FOLDER = Path(__file__).resolve().parents[3] / "data" / "debian-packages"


def bundled_files() -> tuple[str, str]:
    """Return the bundled files of articles and lists; raises `TagsageError` without them."""
    files = FOLDER / "articles.csv.gz", FOLDER / "lists.csv.gz"
    for file in files:
        if not file.is_file():
            msg = (
                f"The bundled corpus lacks {file}; restore it from the repository, "
                "or name your own files with --articles and --lists."
            )
            raise TagsageError(msg)
    return str(files[0]), str(files[1])
