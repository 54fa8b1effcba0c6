"""The promotion rule: when a challenger becomes champion.

It does when every guard passes and the gain in micro-F1 is certainly above the margin: the lower
end of its interval is. Without a champion, only the guards decide. A champion that can't be
compared with the challenger stays until a person decides otherwise, and so does any champion when
the challenger is a trial. A pinned champion always stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from tagsage.settings.promotion import PromotionSettings


@dataclass(frozen=True)
class Guard:
    """One guard and its outcome.

    `value` and `champion` are the challenger's and the champion's measurements, None where there is
    none; `limit` is the highest value that passes. What was not measured passes, too. `about` has,
    in words, the unit, the slice, or why nothing was measured.
    """

    name: str
    value: float | None
    limit: float
    champion: float | None
    passed: bool
    about: str = ""


@dataclass(frozen=True)
class Gain:
    """The challenger's gain over the champion in micro-F1, with its bootstrap interval.

    `articles` and `tags` are how many both were scored on.
    """

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

    Attributes
    ----------
    reason : str
        One or two plain sentences with the numbers.
    champion_version : str
        The champion before the decision; empty when there was none.
    challenger_micro_f1, champion_micro_f1 : float or None
        On the common test articles where both were compared, otherwise on each one's own.
    same_data : bool
        Whether both were measured on the same corpus.
    gain, checks : dict or None, list of dict
        The numbers of :class:`Gain`, if there is one, and of each :class:`Guard`.
    """

    promoted: bool
    reason: str
    challenger_version: str
    champion_version: str
    challenger_micro_f1: float | None
    champion_micro_f1: float | None
    same_data: bool
    gain: dict[str, Any] | None = None
    checks: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_json` gave."""
        return cls(**kept)


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
    """Decide whether a challenger becomes champion.

    Parameters
    ----------
    champion_version, not_comparable, pinned : str
        The champion; why it could not be compared with the challenger; who pinned it, in words.
        Empty where there is none, or no reason, or nobody did.
    trial : bool
        Whether the run's candidates are not the configured ones.
    scores : pair of float or None
        Micro-F1 of challenger and champion, each on its own test part, where there is no `gain`.
    same_data : bool
        Whether both were measured on the same corpus.

    Raises
    ------
    ValueError
        When the rule needs a gain, and there is neither one nor a reason why it is missing.
    """
    broken = [guard for guard in guards if not guard.passed]
    own, other = scores
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
    elif not_comparable:
        reason = f"Not promoted: {not_comparable}; {by_hand}."
    else:
        raise ValueError(f"version {champion_version} was neither compared nor found incomparable")
    if promoted and settings.promote == "better" and broken:
        promoted, reason = False, f"Not promoted: {_guard_sentence(broken)}."
    elif broken:
        reason += f" Broken guards: {_guard_sentence(broken)}."
    return Decision(
        promoted=promoted,
        reason=reason,
        challenger_version=challenger_version,
        champion_version=champion_version,
        challenger_micro_f1=gain.challenger if gain else own,
        champion_micro_f1=gain.champion if gain else other,
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
