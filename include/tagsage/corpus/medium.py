"""The source `medium`: the study's published data set, downloaded once."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pooch
import requests

from tagsage.errors import TagsageError
from tagsage.files import atomic_file
from tagsage.redact import redact

URL = "https://raw.githubusercontent.com/tomasonjo/blog-datasets/main/medium/"
FILES = ("medium_articles.csv", "medium_lists.csv")
MAX_BYTES = 2_000_000_000  # of a file
MAX_SECONDS = 600.0  # for a file
SILENCE_S = 30.0  # without data for so long, the download fails
RETRIES = 3


def medium_files(folder: Path) -> tuple[str, str]:
    """Return the study's files, downloaded if need be; raises `TagsageError` when that fails."""
    pooch.get_logger().setLevel(logging.WARNING)
    registry = dict.fromkeys(FILES)  # without digests: files in the folder are used as they are
    published = pooch.create(folder, URL, registry=registry, retry_if_failed=RETRIES)
    try:
        articles, lists = (published.fetch(name, downloader=_download) for name in FILES)
    except (requests.RequestException, OSError) as error:
        msg = (
            f"The data set {URL} could not be downloaded to {folder} ({error}); "
            "try again later, or name files of your own with --articles and --lists."
        )
        raise TagsageError(redact(msg)) from error
    return articles, lists


def _download(url: str, output_file: str, _: Any) -> None:
    """Download a file as pooch's own downloader does, with limits of size and time."""
    ends = time.monotonic() + MAX_SECONDS
    name, size = redact(url), 0
    with (
        requests.get(url, stream=True, timeout=SILENCE_S) as response,
        # pooch renames it next: after a power cut it must be complete.
        atomic_file(Path(output_file)) as file,
    ):
        response.raise_for_status()
        for piece in response.iter_content(1 << 16):
            size += len(piece)
            if size > MAX_BYTES:
                raise TagsageError(f"{name} is larger than the {MAX_BYTES:,} bytes allowed.")
            if time.monotonic() > ends:
                msg = f"{name} did not come within {MAX_SECONDS:g} s; try again later."
                raise TagsageError(msg)
            file.write(piece)
