"""What the checks of a corpus cost before training, and what they find in samples of it.

The corpus is profiled as often as it is and repeated, its words made different each time, so that
the vocabulary grows with it. Then samples are compared with each other, as if each were a run:
the defaults of the settings have to let pass what a run adds, and not another corpus.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from benchmarks.runner import Row, measure, prepared, table
from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.corpus.profile import Profile, profile_of
from tagsage.evaluate.corpus_checks import Check, check_corpus
from tagsage.settings import Settings

REPEATED = (1, 10)
SAMPLES = (20_000, 2400, 500)
SHOWN = (
    "text_lengths_psi",
    "list_sizes_psi",
    "lists_per_article_psi",
    "words_distance",
    "new_words_rise",
    "tags_distance",
)

Mask = npt.NDArray[np.bool_]
Parts = tuple[pd.DataFrame, npt.NDArray[np.int32], npt.NDArray[np.int32], int]


def main(corpus: str) -> str:
    """Return what the checks cost and find, as Markdown."""
    rows = [_row(Path(corpus), times) for times in REPEATED]
    return f"{table(rows)}\n\n{_runs(read(Path(corpus)))}"


def read(folder: Path, times: int = 1) -> Parts:
    """Read a corpus, several times over, as articles, memberships and the number of lists."""
    found = read_csv_corpus(
        str(folder / "articles.csv.gz"), str(folder / "lists.csv.gz"), max_rejected_share=1.0
    )
    articles = found.articles
    article_of = pd.Index(articles["key"]).get_indexer(pd.Index(found.memberships["article"]))
    list_of, names = pd.factorize(found.memberships["list"])
    copies = [articles]
    for copy in range(1, times):
        title = articles["title"].str.replace(r"(\w{7,})", rf"\g<1>x{copy}", regex=True)
        copies.append(articles.assign(title=title))
    index = [
        (part[:, None] + size * np.arange(times)).T.ravel().astype(np.int32)
        for part, size in ((article_of, len(articles)), (list_of, len(names)))
    ]
    return pd.concat(copies, ignore_index=True), index[0], index[1], times * len(names)


def _profile(parts: Parts) -> Profile:
    articles, article_index, list_index, n_lists = parts
    return profile_of(articles, article_index, list_index, n_lists=n_lists)


def _checked(parts: Parts) -> tuple[int, int]:
    profile = _profile(parts)
    _compare(profile, profile)
    return profile.counts["articles"], profile.words_in_all


def _row(folder: Path, times: int) -> Row:
    measured = measure(prepared(partial(read, folder, times), _checked))
    articles, words = measured.result
    return Row(
        f"{articles:,} articles",
        measured.seconds,
        measured.peak_mb,
        measured.extra_mb,
        {"words": f"{words:,}"},
    )


def _compare(earlier: Profile, current: Profile) -> list[Check]:
    settings = Settings.resolve()
    return check_corpus(current, earlier, settings, min_tag_articles=settings.min_tag_articles)


def _runs(parts: Parts) -> str:
    """Compare samples with what a run may bring; return a table."""
    draw = np.random.default_rng(0)
    n = len(parts[0])
    lines = [
        f"| from | to | {' | '.join(SHOWN)} | failed |",
        f"|---|---|{'---:|' * len(SHOWN)}---|",
    ]
    for size in SAMPLES:
        drawn = _mask(n, draw.choice(n, size, replace=False))
        more = drawn | _mask(n, draw.choice(n, size // 20, replace=False))
        other = _mask(n, draw.choice(n, size, replace=False))
        for words, mask in (("5% more", more), ("another sample", other)):
            lines.append(_line(f"{size:,} articles", words, parts, drawn, mask))
    order = np.argsort(parts[0]["key"].to_numpy(dtype=object))
    first, second = _mask(n, order[: n // 2]), _mask(n, order[n // 2 :])
    lines.append(_line("first half of the alphabet", "second half", parts, first, second))
    return "\n".join(lines)


def _line(
    before: str,
    after: str,
    parts: Parts,
    earlier: npt.NDArray[np.bool_],
    now: npt.NDArray[np.bool_],
) -> str:
    checks = _compare(_profile(_part(parts, earlier)), _profile(_part(parts, now)))
    values = {check.name: check.value for check in checks}
    failed = ", ".join(check.name for check in checks if not check.passed) or "none"
    cells = " | ".join(f"{values[name]:.3f}" for name in SHOWN)
    return f"| {before} | {after} | {cells} | {failed} |"


def _mask(n: int, rows: npt.NDArray[np.int64]) -> Mask:
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return mask


def _part(parts: Parts, mask: Mask) -> Parts:
    """Return some of the articles with the lists that hold them."""
    articles, article_index, list_index, _ = parts
    kept = mask[article_index]
    place = (np.cumsum(mask) - 1)[article_index[kept]].astype(np.int32)
    lists, list_of = np.unique(list_index[kept], return_inverse=True)
    return articles[mask].reset_index(drop=True), place, list_of.astype(np.int32), len(lists)
