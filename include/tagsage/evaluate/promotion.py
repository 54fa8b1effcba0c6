"""The promotion rule: when a challenger becomes champion.

It does when every guard passes and one of two tests says that it is better. The frozen test asks
whether its gain in micro-F1 is surely above the margin. Fresh evidence asks the same of the winners
since the champion's promotion, on articles that got their tags meanwhile. Over all runs of a
champion together, each test may be wrong with half of the chance `promote_alpha`: the frozen test
spends a smaller share on each further look, and fresh evidence stays valid however often it is
looked at.

Without a champion, only the guards decide. A champion that can't be compared stays, and so does any
champion when the challenger is a trial. A pinned champion always stays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tagsage.evaluate.fresh_evidence import FreshEvidence
from tagsage.settings.promotion import PromotionSettings


@dataclass(frozen=True)
class Guard:
    """One guard and its outcome."""

    name: str
    value: float  # the challenger's measurement
    limit: float  # the highest value that passes
    champion: float | None
    passed: bool
    about: str = ""  # unit, or slice


@dataclass(frozen=True)
class Gain:
    """The challenger's gain over the champion in micro-F1 on the frozen test, with its interval.

    `low` is too high with the chance :func:`chance_of_look`.
    """

    challenger: float
    champion: float
    value: float
    low: float
    high: float
    articles: int
    tags: int
    look: int  # which one at the frozen test since the champion's promotion, from 1


@dataclass(frozen=True)
class Decision:
    """What promotion decided, and why.

    Micro-F1 is that on the common test articles where both were compared, else on each one's own.
    """

    promoted: bool
    reason: str
    challenger_version: str
    champion_version: str  # before the decision
    challenger_micro_f1: float | None
    champion_micro_f1: float | None
    same_data: bool  # both were measured on one corpus
    gain: dict[str, Any] | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)
    evidence: dict[str, Any] | None = None  # what the next run goes on from


@dataclass(frozen=True)
class Evidence:
    """What the runs since the champion's promotion found out about it."""

    champion: str  # its version, or that whose weights it has if it was refreshed
    looks: int = 0  # at the frozen test
    fresh: FreshEvidence = field(default_factory=FreshEvidence)
    best_version: str = ""  # the best champion ever, on the frozen test

    @classmethod
    def of(cls, last: Decision | None, *, champion: str) -> Self:
        """Return what the last decision left; a champion promoted since then starts anew."""
        if last is None or last.evidence is None:
            return cls(champion)
        kept = cls(**{**last.evidence, "fresh": FreshEvidence(**last.evidence["fresh"])})
        if kept.champion == champion and not last.promoted:
            return kept
        return cls(champion, best_version=kept.best_version)


def chance_of_look(look: int, alpha: float) -> float:
    """Return the part of ``alpha / 2`` that a look at the frozen test may spend, from look 1.

    The parts of all looks add up to ``alpha / 2``, since the sum of 1 / k² is π² / 6.
    """
    return alpha / 2 * 6 / (math.pi * look) ** 2


def decide(
    *,
    challenger_version: str,
    champion_version: str,
    settings: PromotionSettings,
    guards: Sequence[Guard] = (),
    gain: Gain | None = None,
    evidence: Evidence | None = None,
    not_comparable: str = "",
    trial: bool = False,
    pinned: str = "",
    scores: tuple[float | None, float | None] = (None, None),
    same_data: bool = False,
) -> Decision:
    """Decide whether a challenger becomes champion; without a champion `champion_version` is empty.

    `not_comparable` says why there is no gain over it, `pinned` who pinned it; `trial`: the run's
    candidates are not the configured ones. `scores` are micro-F1 of challenger and champion, each
    on its own test part. `evidence` includes this run's.
    """
    broken = [guard for guard in guards if not guard.passed]
    promoted, reason = False, ""
    by_hand = (
        f"`tagsage model promote {challenger_version}` makes version {challenger_version} champion "
        "all the same"
    )
    if pinned:
        reason = f"Not promoted: {pinned}."
    elif settings.promote == "never":
        reason = "Not promoted: the setting promote is never."
    elif settings.promote == "always":
        promoted, reason = True, "Promoted: the setting promote is always."
    elif trial:
        reason = (
            "Not promoted: this run is a trial, since its candidates are not the configured ones "
            f"(TAGSAGE_CANDIDATES); {by_hand}."
        )
    elif not champion_version:
        promoted, reason = True, "Promoted: there was no champion yet."
    elif gain is None:
        reason = f"Not promoted: {not_comparable}; {by_hand}."
    else:
        promoted, reason = _is_better(gain, evidence, champion_version, settings)
    if promoted and settings.promote == "better" and broken:
        promoted, reason = False, f"Not promoted: {_guard_sentence(broken)}."
    elif broken:
        reason += f" Broken guards: {_guard_sentence(broken)}."
    return Decision(
        promoted=promoted,
        reason=reason,
        challenger_version=challenger_version,
        champion_version=champion_version,
        challenger_micro_f1=gain.challenger if gain else scores[0],
        champion_micro_f1=gain.champion if gain else scores[1],
        same_data=same_data,
        gain=asdict(gain) if gain else None,
        checks=[asdict(guard) for guard in guards],
        evidence=asdict(evidence) if evidence else None,
    )


def _is_better(
    gain: Gain, evidence: Evidence | None, version: str, settings: PromotionSettings
) -> tuple[bool, str]:
    """Return whether one of the two tests says so, and the reason."""
    needed = 2 / settings.promote_alpha
    sure = gain.low > settings.promote_margin
    fresh = evidence.fresh if evidence else FreshEvidence()
    proven = fresh.e_value >= needed
    sentence = (
        f"micro-F1 {gain.challenger:.4f} against the champion's {gain.champion:.4f} (version "
        f"{version}) on the same {gain.articles:,} test articles and {gain.tags:,} tags; the gain "
        f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}] {'is' if sure else 'is not'} "
        f"surely above the margin {settings.promote_margin:g}, at look {gain.look:,} at this test"
    )
    if fresh.articles:
        sentence += (
            f"; on {fresh.articles:,} articles tagged since its promotion the winners' F1 is "
            f"{fresh.gain:+.4f} above it, evidence {fresh.e_value:.3g} of the {needed:g} needed"
        )
    promoted = sure or proven
    return promoted, f"{'Promoted' if promoted else 'Not promoted'}: {sentence}."


def _guard_sentence(broken: Sequence[Guard]) -> str:
    return "; ".join(
        f"{guard.name} {guard.value:.4g} is more than {guard.limit:.4g} ({guard.about})"
        for guard in broken
    )
