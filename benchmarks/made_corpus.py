"""A corpus of any size in the shape of the study's, made up so that there is something to learn.

Every article has a hidden topic. Its words, tags, lists and author are drawn from the topic's own
more often than from all, each with Zipf's frequencies. Target tags are the same however many
articles there are; words, authors, lists and rare tags grow with them.
"""

from __future__ import annotations

import gzip
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

# The study's corpus.
ARTICLES, LISTS, MEMBERSHIPS = 55_000, 4_000, 87_000
TOPICS = 160  # each with a target tag of its own
TAGGED = 0.5
TITLE_WORDS, SUBTITLE_WORDS, MORE_TAGS = 6, 9, 1.5  # means
ARTICLES_PER_AUTHOR, ARTICLES_PER_RARE_TAG = 5, 20
OWN = 0.5  # so often a draw is the topic's own
CHUNK = 200_000
SYLLABLES = [c + v for c in "bdfgklmnprstvz" for v in ("a", "e", "i", "o", "u")]

IntArray = npt.NDArray[np.int64]


def write_corpus(folder: Path, articles: int, *, seed: int = 0) -> None:
    """Write ``articles.csv.gz`` and ``lists.csv.gz`` into an existing folder."""
    random = np.random.default_rng(seed)
    topics = _zipf(random, articles, TOPICS)
    urls = _urls(articles)
    words = _words(round(30_000 * (articles / ARTICLES) ** 0.5))
    with _csv(
        folder / "articles.csv.gz", "story", "title", "subtitle", "date", "author", "tags"
    ) as out:
        for start in range(0, articles, CHUNK):
            part = slice(start, start + CHUNK)
            out.write_batch(_article_rows(random, topics[part], urls[part], words, articles))
    article, of_list = _memberships(random, topics)
    names = pc.binary_join_element_wise("list ", pa.array(of_list).cast(pa.string()), "")
    with _csv(folder / "lists.csv.gz", "list", "article") as out:
        out.write_batch(pa.record_batch([names, urls.take(pa.array(article))], ["list", "article"]))


def _article_rows(
    random: np.random.Generator, topics: IntArray, urls: pa.Array, words: pa.Array, articles: int
) -> pa.RecordBatch:
    n = len(topics)
    authors = _own_or_any(random, topics, max(articles // ARTICLES_PER_AUTHOR, TOPICS))
    days = np.datetime64("2018-01-01") + random.integers(0, 2900, n)
    columns = {
        "story": urls,
        "title": _texts(random, topics, words, 1 + random.poisson(TITLE_WORDS, n)),
        "subtitle": _texts(random, topics, words, random.poisson(SUBTITLE_WORDS, n)),
        "date": pa.array(days).cast(pa.string()),
        "author": pc.binary_join_element_wise("author ", pa.array(authors).cast(pa.string()), ""),
        "tags": _tags(random, topics, articles),
    }
    return pa.record_batch(list(columns.values()), list(columns))


def _texts(
    random: np.random.Generator, topics: IntArray, words: pa.Array, lengths: IntArray
) -> pa.Array:
    drawn = _own_or_any(random, np.repeat(topics, lengths), len(words))
    return pc.binary_join(_lists(words.take(pa.array(drawn)), lengths), " ")


def _tags(random: np.random.Generator, topics: IntArray, articles: int) -> pa.Array:
    """Return JSON lists: of a tagged article, its topic's tag and some more; some are rare."""
    lengths = random.poisson(MORE_TAGS, len(topics)) + 1
    lengths[random.random(len(topics)) >= TAGGED] = 0
    topic = np.repeat(topics, lengths)
    near = (topic + random.integers(1, 4, len(topic))) % TOPICS
    drawn = np.where(random.random(len(topic)) < OWN, near, _zipf(random, len(topic), TOPICS))
    rare = random.random(len(topic)) < 0.1
    n_rare = max(articles // ARTICLES_PER_RARE_TAG, 1)
    drawn[rare] = TOPICS + random.integers(0, n_rare, rare.sum())
    first = np.cumsum(lengths) - lengths
    drawn[first[lengths > 0]] = topics[lengths > 0]
    names = pc.binary_join_element_wise('"tag ', pa.array(drawn).cast(pa.string()), '"', "")
    joined = pc.binary_join(_lists(names, lengths), ", ")
    return pc.binary_join_element_wise("[", joined, "]", "")


def _memberships(random: np.random.Generator, topics: IntArray) -> tuple[IntArray, IntArray]:
    """Return articles and lists; a list holds articles of its topic, and a few known to all."""
    scale = len(topics) / ARTICLES
    lists, memberships = round(LISTS * scale), round(MEMBERSHIPS * scale)
    weights = random.lognormal(0, 1.1, lists)
    # Some pairs are drawn twice.
    of_list = random.choice(lists, round(1.1 * memberships), p=weights / weights.sum())
    topic = _zipf(random, lists, TOPICS)[of_list]
    by_topic = np.argsort(topics, kind="stable")
    sizes = np.bincount(topics, minlength=TOPICS)
    # Known articles are in many lists.
    place = random.random(len(topic)) ** 2
    own = by_topic[(np.cumsum(sizes) - sizes)[topic] + (place * sizes[topic]).astype(np.int64)]
    any_ = (place * len(topics)).astype(np.int64)
    article = np.where(random.random(len(topic)) < 0.8, own, any_)
    pairs = np.unique(of_list * len(topics) + article)
    pairs = np.sort(random.permutation(pairs)[:memberships])
    return pairs % len(topics), pairs // len(topics)


def _own_or_any(random: np.random.Generator, topics: IntArray, size: int) -> IntArray:
    """Draw numbers below `size`, half of them from those of the topic: every 160th."""
    own = _zipf(random, len(topics), size // TOPICS) * TOPICS + topics
    return np.where(random.random(len(topics)) < OWN, own, _zipf(random, len(topics), size))


def _zipf(random: np.random.Generator, n: int, size: int) -> IntArray:
    """Draw numbers below `size`, number r about as often as 1 / (r + 20)."""
    return (20 * (1 + size / 20) ** random.random(n) - 20).astype(np.int64).clip(max=size - 1)


def _words(n: int) -> pa.Array:
    number = np.arange(n)
    scattered = number * 7919 % 70**4
    parts = [pa.array(SYLLABLES).take(pa.array(scattered // 70**k % 70)) for k in range(4)]
    return pc.binary_join_element_wise(*parts, "")


def _urls(n: int) -> pa.Array:
    # Ids of Medium's form, in no order.
    ids = (np.arange(n, dtype=np.uint64) + 1) * np.uint64(0x9E3779B97F4A7C15) >> np.uint64(16)
    return pa.array([f"https://medium.com/p/{number:012x}" for number in ids.tolist()])


def _lists(values: pa.Array, lengths: IntArray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)


@contextmanager
def _csv(file: Path, *columns: str) -> Generator[pa_csv.CSVWriter]:
    schema = pa.schema([(name, pa.string()) for name in columns])
    with gzip.open(file, "wb", compresslevel=1) as out, pa_csv.CSVWriter(out, schema) as writer:
        yield writer
