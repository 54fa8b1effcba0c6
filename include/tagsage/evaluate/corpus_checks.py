"""Whether this run's corpus can be trained on, by itself and beside that of an earlier run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from tagsage.corpus.profile import Profile
from tagsage.corpus.quarantine import Repairs

if TYPE_CHECKING:
    from tagsage.settings import Settings
from tagsage.evaluate.drift import (
    histogram_stability_index,
    jensen_shannon_distance,
    share_unknown,
)

TOP_WORDS = 1000
TOP_TAGS = 1000
NAMED = 3
NAME_LETTERS = 30
NONE_AT_ALL = "none at all"
HISTOGRAMS = {
    "text_lengths": "words a text",
    "list_sizes": "articles a list",
    "lists_per_article": "lists an article",
}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes
    ----------
    name : str
        For MLflow: letters, digits and underscores.
    what : str
        For people: ``words a text``.
    measure : str
        What `value` is: ``PSI``, ``Jensen-Shannon distance``, ``rise``, ``fall``, ``share``;
        ``none at all``: 1 for yes, 0 for no.
    before, current : str
        Then and now, in words; `before` is empty when nothing is compared.
    value, limit : float
        The measure, and the highest that is let pass.
    passed : bool
        Whether it is.
    """

    name: str
    what: str
    measure: str
    before: str
    current: str
    value: float
    limit: float
    passed: bool

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON-able values."""
        return asdict(self)

    def sentence(self) -> str:
        """Say what was found, with its numbers."""
        told = f"{self.before} before, {self.current} this run" if self.before else self.current
        if self.measure == NONE_AT_ALL:
            return f"{self.what}: {told}"
        limit = f"{self.measure} {self.value:.3g}, at most {self.limit:.3g}"
        return f"{self.what}: {told} ({limit})"


def check_corpus(
    current: Profile,
    earlier: Profile | None,
    limits: Settings,
    *,
    min_tag_articles: int,
    with_text: bool = True,
    repairs: Iterable[Repairs] = (),
) -> list[Check]:
    """Check a corpus by itself, and for drift since an earlier one.

    Parameters
    ----------
    current : Profile
        The corpus.
    earlier : Profile, optional
        What it is compared with; None: there is nothing to compare.
    limits : Settings
        Those named ``check_…``, and ``max_rejected_share``, are read.
    min_tag_articles : int
        A target tag is on more articles than this.
    with_text : bool
        Whether anything is made of the text; else it is not looked at.
    repairs : iterable of Repairs
        The values that were changed on reading.

    Returns
    -------
    list of Check
        All checks, those that failed included.
    """
    checks = [*_alone(current, limits, with_text=with_text), *_repaired(repairs, limits)]
    if earlier is not None:
        checks += _counts(current, earlier, limits)
        checks += _shares(current, earlier, limits, with_text=with_text)
        checks += _histograms(current, earlier, limits, with_text=with_text)
        if with_text:
            checks += _words(current, earlier, limits)
        checks += _tags(current, earlier, limits, min_tag_articles)
    return checks


def _alone(current: Profile, limits: Settings, *, with_text: bool) -> Iterator[Check]:
    counts = current.counts
    n = counts["articles"]
    missing = {"without_text": "a text", "without_tags": "a tag"}
    if not with_text:
        del missing["without_text"]
    for name, words in missing.items():
        having = n - counts[name]
        yield Check(
            f"any_{name.removeprefix('without_')}",
            f"articles with {words}",
            NONE_AT_ALL,
            "",
            f"{having:,} of {n:,}",
            float(having == 0),
            0.0,
            passed=having > 0,
        )
    share = counts["largest_list"] / n if n else 0.0
    yield Check(
        "largest_list",
        "articles in the largest list",
        "share",
        "",
        f"{counts['largest_list']:,} of {n:,}",
        share,
        limits.check_largest_list,
        # Of a handful of articles one list may well hold all.
        passed=share <= limits.check_largest_list or n < 10,
    )


def _repaired(repairs: Iterable[Repairs], limits: Settings) -> Iterator[Check]:
    for one in repairs:
        yield _limited(
            f"repaired_{re.sub(r'[^0-9A-Za-z]', '_', one.column)}",
            f"repaired values of {one.column[:NAME_LETTERS]} in {one.file[:NAME_LETTERS]}",
            "share",
            "",
            f"{one.changed:,} of {one.rows:,}, such as {one.example!r}: {one.reason}; "
            f"accepted: {one.accepted}",
            one.changed / one.rows,
            limits.max_rejected_share,
        )


def _counts(current: Profile, earlier: Profile, limits: Settings) -> Iterator[Check]:
    for name in ("articles", "lists", "memberships"):
        before, now = earlier.counts[name], current.counts[name]
        fall = max(before - now, 0) / before if before else 0.0
        yield _limited(
            f"{name}_fall", name, "fall", f"{before:,}", f"{now:,}", fall, limits.check_count_fall
        )


def _shares(
    current: Profile, earlier: Profile, limits: Settings, *, with_text: bool
) -> Iterator[Check]:
    names = {
        "without_text": "articles without text",
        "without_tags": "articles without tags",
        "without_lists": "articles in no list",
        "quarantined": "rows in quarantine",
    }
    if not with_text:
        del names["without_text"]
    for name, words in names.items():
        before, now = (_share(profile, name) for profile in (earlier, current))
        yield _limited(
            f"{name}_rise",
            words,
            "rise",
            f"{before:.1%}",
            f"{now:.1%}",
            max(now - before, 0.0),
            limits.check_share_rise,
        )


def _share(profile: Profile, name: str) -> float:
    rows = profile.counts["articles"]
    if name == "quarantined":
        rows += profile.counts["memberships"] + profile.counts[name]
    return profile.counts[name] / rows if rows else 0.0


def _histograms(
    current: Profile, earlier: Profile, limits: Settings, *, with_text: bool
) -> Iterator[Check]:
    for name, words in HISTOGRAMS.items():
        if name == "text_lengths" and not with_text:
            continue
        before, now = getattr(earlier, name), getattr(current, name)
        yield _limited(
            f"{name}_psi",
            words,
            "PSI",
            f"{_mean(before):.3g} in the mean",
            f"{_mean(now):.3g}",
            histogram_stability_index(before, now),
            limits.check_psi,
        )


def _mean(histogram: Mapping[int, int]) -> float:
    n = sum(histogram.values())
    return sum(value * count for value, count in histogram.items()) / n if n else 0.0


def _words(current: Profile, earlier: Profile, limits: Settings) -> Iterator[Check]:
    totals = (earlier.words_in_all, current.words_in_all)
    yield _limited(
        "words_distance",
        "most frequent words",
        "Jensen-Shannon distance",
        _named(earlier.words),
        _named(current.words),
        jensen_shannon_distance(earlier.words, current.words, totals=totals, top=TOP_WORDS),
        limits.check_words_distance,
    )
    # The vocabulary that was kept does not have all words of its own corpus either.
    before, now = (
        share_unknown(earlier.words, profile.words, total=profile.words_in_all)
        for profile in (earlier, current)
    )
    yield _limited(
        "new_words_rise",
        "words not in the earlier vocabulary",
        "rise",
        f"{before:.1%}",
        f"{now:.1%}",
        max(now - before, 0.0),
        limits.check_new_words,
    )


def _tags(
    current: Profile, earlier: Profile, limits: Settings, min_tag_articles: int
) -> Iterator[Check]:
    totals = (earlier.tags_in_all, current.tags_in_all)
    yield _limited(
        "tags_distance",
        "most frequent tags",
        "Jensen-Shannon distance",
        _named(earlier.tags),
        _named(current.tags),
        jensen_shannon_distance(earlier.tags, current.tags, totals=totals, top=TOP_TAGS),
        limits.check_tags_distance,
    )
    before, now = (
        {tag for tag, articles in profile.tags.items() if articles > min_tag_articles}
        for profile in (earlier, current)
    )
    gone, new = (
        {tag: n for tag, n in profile.tags.items() if tag in changed}
        for profile, changed in ((earlier, before - now), (current, now - before))
    )
    changes = [
        f"{len(changed):,} {word}: {_named(changed)}"
        for word, changed in (("gone", gone), ("new", new))
        if changed
    ]
    told = f"{len(now):,} ({'; '.join(changes)})" if changes else f"{len(now):,}"
    yield _limited(
        "tags_gone",
        "target tags",
        "share gone",
        f"{len(before):,}",
        told,
        len(gone) / len(before) if before else 0.0,
        limits.check_tags_gone,
    )


def _named(counts: Mapping[str, int]) -> str:
    """Name the first of some words or tags, which stand by falling frequency."""
    # A tag is whatever somebody typed.
    shown = ", ".join(repr(name[:NAME_LETTERS]) for name in list(counts)[:NAMED])
    return f"{shown}, …" if len(counts) > NAMED else shown or "none"


def _limited(
    name: str, what: str, measure: str, before: str, current: str, value: float, limit: float
) -> Check:
    return Check(name, what, measure, before, current, value, limit, passed=value <= limit)
