"""The rule of promotion: when a challenger becomes champion, and the words for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tagsage.settings.promotion import PromotionSettings

BETTER, ALWAYS, NEVER = "better", "always", "never"


@dataclass(frozen=True)
class Check:
    """One guard, and what came out.

    Attributes
    ----------
    name : str
        What is guarded, in words.
    value : float or None
        What was measured of the challenger; None when it was not, and `about` says why.
    limit : float
        The most that passes.
    champion : float or None
        The same of the champion, where it is known.
    passed : bool
        What was not measured passes.
    about : str
        In words: the unit, the slice, or why nothing was measured.
    """

    name: str
    value: float | None
    limit: float
    champion: float | None
    passed: bool
    about: str = ""


@dataclass(frozen=True)
class Gain:
    """What the challenger gains over the champion in micro-F1.

    Attributes
    ----------
    challenger, champion : float
        Micro-F1 of each, on the same articles and tags.
    value, low, high : float
        The difference, and its bootstrap interval.
    articles, tags : int
        How many articles and tags both were judged on.
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
    promoted : bool
        Whether the challenger is now champion.
    reason : str
        One or two plain sentences with the numbers.
    challenger_version, champion_version : str
        Versions in the registry; `champion_version` is the champion before the decision, empty
        when there was none.
    challenger_micro_f1, champion_micro_f1 : float or None
        Micro-F1 of each: on the common test articles where they were compared, else on its own.
    same_data : bool
        Whether both were measured on the same corpus.
    gain : dict or None
        The numbers of :class:`Gain`; None when the two were not compared.
    checks : list of dict
        The numbers of each :class:`Check`.
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
        """Return it as JSON takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Return what :meth:`to_json` gave, today or before there were guards."""
        return cls(**kept)


def decide(
    *,
    challenger_version: str,
    champion_version: str,
    promote: str,
    limits: PromotionSettings,
    checks: Sequence[Check] = (),
    gain: Gain | None = None,
    not_comparable: str = "",
    trial: bool = False,
    pinned: str = "",
    scores: tuple[float | None, float | None] = (None, None),
    same_data: bool = False,
) -> Decision:
    """Decide whether a challenger becomes champion.

    It does when no guard breaks and the gain in micro-F1 is surely above the margin: the lower end
    of its interval is. Where there is no champion, it does when no guard breaks. A champion that it
    cannot be compared with stays until a person says otherwise, and so does any beside a trial. A
    pinned champion stays whatever else is so.

    Parameters
    ----------
    challenger_version, champion_version : str
        Versions; an empty `champion_version` means that there is no champion.
    promote : str
        ``better`` is this rule; ``always`` and ``never`` are what they say.
    limits : PromotionSettings
        The margin and the level.
    checks : sequence of Check
        The guards.
    gain : Gain, optional
        None when there is nothing to compare with.
    not_comparable : str
        Why a champion that is there could not be compared with.
    trial : bool
        Whether the challenger is one of candidates that are not the configured ones.
    pinned : str
        Words on who pinned the champion; empty when nobody did.
    scores : pair of float or None
        Micro-F1 of challenger and champion, each on its own test part, where there is no `gain`.
    same_data : bool
        Whether both were measured on the same corpus.

    Returns
    -------
    Decision
        The decision with its reason.

    Raises
    ------
    ValueError
        When there is a champion and neither a gain nor a reason why there is none, though the rule
        asks for one.
    """
    broken = [check for check in checks if not check.passed]
    own, other = scores
    promoted, reason = False, ""
    by_hand = (
        f"`tagsage model promote {challenger_version}` makes version {challenger_version} champion "
        "all the same"
    )
    if pinned:
        reason = f"Not promoted: {pinned}."
    elif promote == NEVER:
        reason = "Not promoted: the setting promote is never."
    elif promote == ALWAYS:
        promoted, reason = True, "Promoted: the setting promote is always."
    elif trial:
        reason = (
            "Not promoted: this run is a trial, since its candidates are not the configured ones "
            f"(TAGSAGE_CANDIDATES); {by_hand}."
        )
    elif not champion_version:
        promoted, reason = True, "Promoted: there was no champion yet."
    elif gain is not None:
        promoted = gain.low > limits.promote_margin
        reason = _gain_sentence(gain, champion_version, limits, promoted=promoted)
    elif not_comparable:
        reason = f"Not promoted: {not_comparable}; {by_hand}."
    else:
        raise ValueError(f"version {champion_version} was neither compared nor found incomparable")
    if promoted and promote == BETTER and broken:
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
        checks=[asdict(check) for check in checks],
    )


def _gain_sentence(gain: Gain, version: str, limits: PromotionSettings, *, promoted: bool) -> str:
    verb = "is surely above" if promoted else "is not surely above"
    interval = f"[{gain.low:+.4f}, {gain.high:+.4f}]"
    return (
        f"{'Promoted' if promoted else 'Not promoted'}: micro-F1 {gain.challenger:.4f} against the "
        f"champion's {gain.champion:.4f} (version {version}) on the same {gain.articles:,} test "
        f"articles and {gain.tags:,} tags; the gain {gain.value:+.4f} {interval} {verb} the margin "
        f"{limits.promote_margin:g}."
    )


def _guard_sentence(broken: Sequence[Check]) -> str:
    return "; ".join(
        f"{check.name} {check.value:.4g} is more than {check.limit:g} ({check.about})"
        for check in broken
    )
