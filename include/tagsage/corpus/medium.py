"""The source `medium`: the study's published data set, for machines with Internet."""

from __future__ import annotations

from pathlib import Path

from tagsage.corpus.download import Limits, download

FILES = ("medium_articles.csv", "medium_lists.csv")


def download_medium(
    folder: Path, *, base_url: str, max_bytes: int, timeout_s: float
) -> tuple[Path, Path]:
    """Download the study's articles and lists, or find that the copies are up to date.

    Parameters
    ----------
    folder : pathlib.Path
        Where to; beside each file its origin and SHA-256 are noted (``<name>.sha256.json``).
    base_url : str
        The folder they are published in, https (or on this machine).
    max_bytes : int
        Largest size of one file.
    timeout_s : float
        Longest time for one file, in seconds.

    Returns
    -------
    tuple of (pathlib.Path, pathlib.Path)
        The files of articles and of lists, for
        :func:`tagsage.corpus.csv_source.read_csv_corpus`.

    Raises
    ------
    TagsageError
        As of :func:`tagsage.corpus.download.download`.
    """
    articles, lists = (folder / name for name in FILES)
    for file in (articles, lists):
        url = f"{base_url.rstrip('/')}/{file.name}"
        download(url, file, Limits(max_bytes=max_bytes, timeout_s=timeout_s))
    return articles, lists
