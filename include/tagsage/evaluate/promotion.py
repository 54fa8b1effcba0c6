"""The promotion rule: when a challenger becomes champion.

It does when every guard passes and the lower end of the gain's interval in micro-F1 is above the
margin. Without a champion, only the guards decide. A champion that can't be compared stays, and so
does any champion when the challenger is a trial. A pinned champion always stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tagsage.settings.promotion import PromotionSettings


@dataclass(frozen=True)
class Guard:
    """One guard and its outcome; what was not measured passes, too."""

    name: str
    value: float | None  # the challenger's measurement
    limit: float  # the highest value that passes
    champion: float | None
    passed: bool
    about: str = ""  # unit, slice, or why nothing was measured


@dataclass(frozen=True)
class Gain:
    """The challenger's gain over the champion in micro-F1, with its bootstrap interval."""

    challenger: float
    champion: float
    value: float
    low: float
    high: float
    articles: int
    tags: int


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


def decide(
    *,
    challenger_version: str,
    champion_version: str,
    settings: PromotionSettings,
    guards: Sequence[Guard] = (),
    gain: Gain | None = None,
    not_comparable: str = "",
    trial: bool = False,
    pinned: str = "",
    scores: tuple[float | None, float | None] = (None, None),
    same_data: bool = False,
) -> Decision:
    """Decide whether a challenger becomes champion; without a champion `champion_version` is empty.

    `not_comparable` says why there is no gain over it, `pinned` who pinned it; `trial`: the run's
    candidates are not the configured ones. `scores` are micro-F1 of challenger and champion, each
    on its own test part.
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
    elif gain is not None:
        promoted = gain.low > settings.promote_margin
        reason = _gain_sentence(gain, champion_version, settings, promoted=promoted)
    else:
        reason = f"Not promoted: {not_comparable}; {by_hand}."
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
    )


def _gain_sentence(gain: Gain, version: str, settings: PromotionSettings, *, promoted: bool) -> str:
    verb = "is surely above" if promoted else "is not surely above"
    interval = f"[{gain.low:+.4f}, {gain.high:+.4f}]"
    return (
        f"{'Promoted' if promoted else 'Not promoted'}: micro-F1 {gain.challenger:.4f} against the "
        f"champion's {gain.champion:.4f} (version {version}) on the same {gain.articles:,} test "
        f"articles and {gain.tags:,} tags; the gain {gain.value:+.4f} {interval} {verb} the margin "
        f"{settings.promote_margin:g}."
    )


def _guard_sentence(broken: Sequence[Guard]) -> str:
    return "; ".join(
        f"{guard.name} {guard.value:.4g} is more than {guard.limit:g} ({guard.about})"
        for guard in broken
    )
