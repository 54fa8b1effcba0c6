"""Whether a run's corpus can be trained on, by itself and compared with an earlier run's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

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


@dataclass(frozen=True)
class Check:
    """One check of the corpus, passed or not.

    `name` is for MLflow (letters, digits and underscores), `what` for people (``words per text``).
    `measure` says what `value` is: ``PSI``, ``Jensen-Shannon distance``, ``rise``, ``fall``,
    ``share``, or ``none at all`` (1 for yes, 0 for no); `limit` is the highest that passes.
    `before` and `current` are what was compared, in words; `before` is empty where nothing is
    compared.
    """

    name: str
    what: str
    measure: str
    before: str
    current: str
    value: float
    limit: float
    passed: bool

    @classmethod
    def limited(
        cls,
        name: str,
        what: str,
        measure: str,
        before: str,
        current: str,
        value: float,
        limit: float,
    ) -> Check:
        """Return a check that passes up to its limit."""
        return cls(name, what, measure, before, current, value, limit, passed=value <= limit)

    def to_json(self) -> dict[str, Any]:
        """Return the check as JSON-able values."""
        return asdict(self)

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
    """Check a corpus by itself, and for drift since an earlier one (None: there is none).

    `repairs` are the values that were changed on reading. With ``embedder=precomputed`` the text is
    not checked. Failed checks are returned as well.
    """
    with_text = settings.embedder != "precomputed"
    checks = [*_by_itself(current, with_text=with_text), *_repaired(repairs, settings)]
    if earlier is not None:
        checks += _counts(current, earlier, settings)
        checks += _shares(current, earlier, settings, with_text=with_text)
        checks += _histograms(current, earlier, settings, with_text=with_text)
        if with_text:
            checks += _words(current, earlier, settings)
        checks += _tags(current, earlier, settings)
    return checks


def _by_itself(current: Profile, *, with_text: bool) -> Iterator[Check]:
    counts = current.counts
    n = counts["articles"]
    for name, what in (("text", "a text"), ("tags", "a tag")):
        if name == "text" and not with_text:
            continue
        having = n - counts[f"without_{name}"]
        yield Check.limited(
            f"any_{name}",
            f"articles with {what}",
            NONE_AT_ALL,
            "",
            f"{having:,} of {n:,}",
            float(having == 0),
            0.0,
        )
    share = counts["largest_list"] / n if n else 0.0
    yield Check(
        "largest_list",
        "articles in the largest list",
        "share",
        "",
        f"{counts['largest_list']:,} of {n:,}",
        share,
        MAX_LARGEST_LIST,
        # Of a handful of articles one list may well hold all.
        passed=share <= MAX_LARGEST_LIST or n < 10,
    )


def _repaired(repairs: Iterable[Repairs], settings: Settings) -> Iterator[Check]:
    for one in repairs:
        yield Check.limited(
            f"repaired_{re.sub(r'[^0-9A-Za-z]', '_', one.column)}",
            f"repaired values of {one.column[:NAME_LETTERS]} in {one.file[:NAME_LETTERS]}",
            "share",
            "",
            f"{one.changed:,} of {one.rows:,}, such as {one.example!r}: {one.reason}; "
            f"accepted: {one.accepted}",
            one.changed / one.rows,
            settings.max_rejected_share,
        )


def _counts(current: Profile, earlier: Profile, settings: Settings) -> Iterator[Check]:
    limit = settings.check_count_fall
    for name in ("articles", "lists", "memberships"):
        before, now = earlier.counts[name], current.counts[name]
        fall = max(before - now, 0) / before if before else 0.0
        yield Check.limited(f"{name}_fall", name, "fall", f"{before:,}", f"{now:,}", fall, limit)


def _shares(
    current: Profile, earlier: Profile, settings: Settings, *, with_text: bool
) -> Iterator[Check]:
    names = {
        "without_text": "articles without text",
        "without_tags": "articles without tags",
        "without_lists": "articles in no list",
        "quarantined": "rows in quarantine",
    }
    if not with_text:
        del names["without_text"]
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
    return Check.limited(name, what, "rise", f"{before:.1%}", f"{now:.1%}", rise, limit)


def _histograms(
    current: Profile, earlier: Profile, settings: Settings, *, with_text: bool
) -> Iterator[Check]:
    names = {
        "text_lengths": "words per text",
        "list_sizes": "articles per list",
        "lists_per_article": "lists per article",
    }
    if not with_text:
        del names["text_lengths"]
    for name, what in names.items():
        before, now = getattr(earlier, name), getattr(current, name)
        yield Check.limited(
            f"{name}_psi",
            what,
            "PSI",
            f"{_mean(before):.3g} in the mean",
            f"{_mean(now):.3g}",
            histogram_stability_index(before, now),
            settings.check_psi,
        )


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
    gone = {tag: n for tag, n in earlier.tags.items() if tag in before - now}
    new = {tag: n for tag, n in current.tags.items() if tag in now - before}
    changes = [
        f"{len(changed):,} {word}: {_names(changed)}"
        for word, changed in (("gone", gone), ("new", new))
        if changed
    ]
    yield Check.limited(
        "tags_gone",
        "target tags",
        "share gone",
        f"{len(before):,}",
        f"{len(now):,} ({'; '.join(changes)})" if changes else f"{len(now):,}",
        len(gone) / len(before) if before else 0.0,
        settings.check_share_rise,
    )


def _distance(
    name: str,
    before: Mapping[str, int],
    now: Mapping[str, int],
    totals: tuple[int, int],
    settings: Settings,
) -> Check:
    return Check.limited(
        f"{name}_distance",
        f"most frequent {name}",
        "Jensen-Shannon distance",
        _names(before),
        _names(now),
        jensen_shannon_distance(before, now, totals=totals, top=TOP),
        settings.check_distance,
    )


def _names(counts: Mapping[str, int]) -> str:
    # A tag is whatever somebody typed.
    shown = ", ".join(repr(name[:NAME_LETTERS]) for name in list(counts)[:NAMED])
    return f"{shown}, …" if len(counts) > NAMED else shown or "none"
