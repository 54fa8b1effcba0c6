"""Whether a run's corpus can be trained on, by itself and compared with an earlier run's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tagsage.corpus.profile import Profile
from tagsage.corpus.quarantine import Repairs
from tagsage.evaluate.drift import (
    histogram_stability_index,
    jensen_shannon_distance,
    share_unknown,
)
from tagsage.settings import Settings

# What is checked beside the limits in the settings.
MAX_LARGEST_LIST = 0.9
MAX_NEW_WORDS = 0.2
# Words and tags that are told apart; names that a message shows, and their letters.
TOP, NAMED, NAME_LETTERS = 1000, 3, 30
NONE_AT_ALL = "none at all"
# Left out where nothing is made of the text.
OF_TEXT = {"any_text", "without_text_rise", "text_lengths_psi", "words_distance", "new_words_rise"}


@dataclass(frozen=True)
class Check:
    """One check of the corpus, passed or not; `before` and `current` are in words."""

    name: str  # for MLflow
    what: str  # for people: ``words per text``
    measure: str  # what `value` is: ``PSI``, ``share``, …
    before: str
    current: str
    value: float
    limit: float  # the highest value that passes
    passed: bool

    def sentence(self) -> str:
        """Return what was found, with its numbers."""
        found = f"{self.before} before, {self.current} this run" if self.before else self.current
        if self.measure == NONE_AT_ALL:
            return f"{self.what}: {found}"
        limit = f"{self.measure} {self.value:.3g}, at most {self.limit:.3g}"
        return f"{self.what}: {found} ({limit})"


def check_corpus(
    current: Profile,
    earlier: Profile | None,
    settings: Settings,
    *,
    repairs: Iterable[Repairs] = (),
) -> list[Check]:
    """Check a corpus by itself and since an earlier one; failed checks are returned as well."""
    checks = [*_by_itself(current), *_repaired(repairs, settings)]
    if earlier is not None:
        checks += _counts(current, earlier, settings)
        checks += _shares(current, earlier, settings)
        checks += _histograms(current, earlier, settings)
        checks += _words(current, earlier, settings)
        checks += _tags(current, earlier, settings)
    if settings.embedder == "precomputed":
        checks = [check for check in checks if check.name not in OF_TEXT]
    return checks


def _limited(
    name: str, what: str, measure: str, before: str, current: str, value: float, limit: float
) -> Check:
    return Check(name, what, measure, before, current, value, limit, passed=value <= limit)


def _by_itself(current: Profile) -> Iterator[Check]:
    counts = current.counts
    n = counts["articles"]
    for name, what in (("text", "a text"), ("tags", "a tag")):
        having = n - counts[f"without_{name}"]
        found, none = f"{having:,} of {n:,}", float(having == 0)
        yield _limited(f"any_{name}", f"articles with {what}", NONE_AT_ALL, "", found, none, 0.0)
    largest = counts["largest_list"]
    what, found, share = "articles in the largest list", f"{largest:,} of {n:,}", largest / (n or 1)
    check = _limited("largest_list", what, "share", "", found, share, MAX_LARGEST_LIST)
    # Of a handful of articles one list may well hold all.
    yield replace(check, passed=True) if n < 10 else check


def _repaired(repairs: Iterable[Repairs], settings: Settings) -> Iterator[Check]:
    for one in repairs:
        name = f"repaired_{re.sub(r'[^0-9A-Za-z]', '_', one.column)}"
        what = f"repaired values of {one.column[:NAME_LETTERS]} in {one.file[:NAME_LETTERS]}"
        found = (
            f"{one.changed:,} of {one.rows:,}, such as {one.example!r}: {one.reason}; "
            f"accepted: {one.accepted}"
        )
        share, limit = one.changed / one.rows, settings.max_rejected_share
        yield _limited(name, what, "share", "", found, share, limit)


def _counts(current: Profile, earlier: Profile, settings: Settings) -> Iterator[Check]:
    limit = settings.check_count_fall
    for name in ("articles", "lists", "memberships"):
        before, now = earlier.counts[name], current.counts[name]
        fall = max(before - now, 0) / before if before else 0.0
        yield _limited(f"{name}_fall", name, "fall", f"{before:,}", f"{now:,}", fall, limit)


def _shares(current: Profile, earlier: Profile, settings: Settings) -> Iterator[Check]:
    names = {
        "without_text": "articles without text",
        "without_tags": "articles without tags",
        "without_lists": "articles in no list",
        "quarantined": "rows in quarantine",
    }
    for name, what in names.items():
        before, now = (_share(profile, name) for profile in (earlier, current))
        yield _rise(f"{name}_rise", what, before, now, settings.check_share_rise)


def _share(profile: Profile, name: str) -> float:
    rows = profile.counts["articles"]
    if name == "quarantined":
        rows += profile.counts["memberships"] + profile.counts[name]
    return profile.counts[name] / rows if rows else 0.0


def _rise(name: str, what: str, before: float, now: float, limit: float) -> Check:
    rise = max(now - before, 0.0)
    return _limited(name, what, "rise", f"{before:.1%}", f"{now:.1%}", rise, limit)


def _histograms(current: Profile, earlier: Profile, settings: Settings) -> Iterator[Check]:
    names = {
        "text_lengths": "words per text",
        "list_sizes": "articles per list",
        "lists_per_article": "lists per article",
    }
    for name, what in names.items():
        before, now = getattr(earlier, name), getattr(current, name)
        index = histogram_stability_index(before, now)
        was, is_now = f"{_mean(before):.3g} in the mean", f"{_mean(now):.3g}"
        yield _limited(f"{name}_psi", what, "PSI", was, is_now, index, settings.check_psi)


def _mean(histogram: Mapping[int, int]) -> float:
    n = sum(histogram.values())
    return sum(value * count for value, count in histogram.items()) / n if n else 0.0


def _words(current: Profile, earlier: Profile, settings: Settings) -> Iterator[Check]:
    totals = (earlier.words_in_all, current.words_in_all)
    yield _distance("words", earlier.words, current.words, totals, settings)
    # The vocabulary that was kept does not have all words of its own corpus either.
    before, now = (
        share_unknown(earlier.words, profile.words, total=profile.words_in_all)
        for profile in (earlier, current)
    )
    what = "words not in the earlier vocabulary"
    yield _rise("new_words_rise", what, before, now, MAX_NEW_WORDS)


def _tags(current: Profile, earlier: Profile, settings: Settings) -> Iterator[Check]:
    totals = (earlier.tags_in_all, current.tags_in_all)
    yield _distance("tags", earlier.tags, current.tags, totals, settings)
    before, now = (
        {tag for tag, articles in profile.tags.items() if articles > settings.min_tag_articles}
        for profile in (earlier, current)
    )
    gone = [tag for tag in earlier.tags if tag in before - now]
    new = [tag for tag in current.tags if tag in now - before]
    changes = [
        f"{len(changed):,} {word}: {_names(changed)}"
        for word, changed in (("gone", gone), ("new", new))
        if changed
    ]
    was = f"{len(before):,}"
    is_now = f"{len(now):,} ({'; '.join(changes)})" if changes else f"{len(now):,}"
    share, limit = len(gone) / (len(before) or 1), settings.check_share_rise
    yield _limited("tags_gone", "target tags", "share gone", was, is_now, share, limit)


def _distance(
    name: str,
    before: Mapping[str, int],
    now: Mapping[str, int],
    totals: tuple[int, int],
    settings: Settings,
) -> Check:
    what, measure = f"most frequent {name}", "Jensen-Shannon distance"
    was, is_now = _names([*before]), _names([*now])
    value = jensen_shannon_distance(before, now, totals=totals, top=TOP)
    return _limited(f"{name}_distance", what, measure, was, is_now, value, settings.check_distance)


def _names(names: Sequence[str]) -> str:
    # A tag is whatever somebody typed.
    shown = ", ".join(repr(name[:NAME_LETTERS]) for name in names[:NAMED])
    return f"{shown}, …" if len(names) > NAMED else shown or "none"
