"""A year of nights at the gate of promotion: how often it promotes, how often wrongly.

Nothing is fitted: every night's winner is a number, its true quality, and results per article drawn
around it. The winners of two nights differ by chance on the articles of the frozen test, the less
the nearer the nights are; on fresh articles, which come only once, they differ by chance anew. Of
the guards only the floor is there. The rules are the real ones: `FreshEvidence`, `chance_of_look`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from tagsage.evaluate.fresh_evidence import FreshEvidence
from tagsage.evaluate.promotion import chance_of_look
from tagsage.settings.promotion import PromotionSettings

NIGHTS, YEARS, SEED = 365, 100, 0
TEST_ARTICLES, FRESH_ARTICLES = 2000, 50
# Standard deviation of the difference of two winners' F1 on an article; correlation of the results
# of two nights in sequence.
ARTICLE_SPREAD, ALIKE = 0.15, 0.98
DAILY_GAIN, DRIFT_NIGHT, DRIFT_LOSS, DRIFT_NIGHTS = 0.00002, 180, 0.03, 30
SETTINGS = PromotionSettings()

Array = npt.NDArray[np.float64]
# Of a model fitted on one night: what it scores on the old articles, and on those of another night.
Quality = Callable[[int], float]
FreshQuality = Callable[[int, int], float]


@dataclass
class Gate:
    """The champions of many years at once under one rule; arrays are [YEARS]."""

    results: Array  # of the champion on the frozen test, [YEARS, TEST_ARTICLES]
    fitted: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(YEARS, dtype=np.int64))
    looks: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(YEARS, dtype=np.int64))
    evidence: list[FreshEvidence] = field(default_factory=lambda: [FreshEvidence()] * YEARS)
    best: Array = field(init=False)  # mean result of the best champion ever
    promotions: int = 0
    false: int = 0
    age: float = 0.0
    lost: float = 0.0

    def __post_init__(self) -> None:
        self.best = self.results.mean(axis=1)

    def promote(self, chosen: npt.NDArray[np.bool_], night: int, results: Array) -> None:
        """Make the night's winner champion in some of the years."""
        self.results[chosen] = results[chosen]
        self.fitted[chosen], self.looks[chosen] = night, 0
        self.best = np.maximum(self.best, self.results.mean(axis=1))
        for year in np.flatnonzero(chosen):
            self.evidence[year] = FreshEvidence()


def main(_: str) -> str:
    """Simulate the years; return a table in Markdown."""

    def drifted(fitted: int, night: int) -> float:
        if night < DRIFT_NIGHT:
            return 0.0
        relearned = max(fitted - DRIFT_NIGHT, 0) / DRIFT_NIGHTS
        return -DRIFT_LOSS * float(np.exp(-relearned))

    scenarios: dict[str, tuple[Quality, FreshQuality]] = {
        "no gain": (lambda _: 0.0, lambda _, __: 0.0),
        "small gain": (lambda night: DAILY_GAIN * night, lambda fitted, _: DAILY_GAIN * fitted),
        "sudden drift": (lambda _: 0.0, drifted),
    }
    lines = [
        "| truth | gate | promotions per year | false ones per year | years with a false one | "
        "mean age of the champion, nights | true F1 lost to the newest winner, points |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for truth, (old, fresh) in scenarios.items():
        for name, row in simulate(old, fresh).items():
            lines.append(f"| {truth} | {name} | {' | '.join(row)} |")
    return "\n".join(lines)


def simulate(old: Quality, fresh: FreshQuality) -> dict[str, list[str]]:
    """Run all gates through the same years; return the cells of each one's row."""
    rng = np.random.default_rng(SEED)
    spread = ARTICLE_SPREAD / np.sqrt(2)
    noise = rng.normal(0, spread, (YEARS, TEST_ARTICLES))
    gates = {
        name: Gate(noise + old(0))
        for name in (
            "frozen test every night",
            "looks limited",
            "looks limited, and fresh articles",
        )
    }
    years_wrong = {name: np.zeros(YEARS, dtype=np.bool_) for name in gates}
    for night in range(1, NIGHTS + 1):
        step = rng.normal(0, spread * np.sqrt(1 - ALIKE**2), noise.shape)
        noise = ALIKE * noise + step
        results = noise + old(night)
        coming = rng.normal(0, ARTICLE_SPREAD, (YEARS, FRESH_ARTICLES))
        for name, gate in gates.items():
            ahead = np.array([fresh(night, night) - fresh(fit, night) for fit in gate.fitted])
            if name == "frozen test every night":
                chosen = surely_better(results - gate.results, np.full(YEARS, 0.025))
            else:
                gains = np.clip(coming + ahead[:, None], -1, 1) if "fresh" in name else None
                chosen = joined(gate, results, gains)
            gate.promotions += int(chosen.sum())
            wrong = chosen & (ahead <= 0)
            gate.false += int(wrong.sum())
            years_wrong[name] |= wrong
            gate.promote(chosen, night, results)
            gate.age += float((night - gate.fitted).mean()) / NIGHTS
            gate.lost += float(np.where(chosen, 0, ahead).mean()) / NIGHTS
    return {
        name: [
            f"{gate.promotions / YEARS:.2f}",
            f"{gate.false / YEARS:.2f}",
            f"{years_wrong[name].mean():.0%}",
            f"{gate.age:.0f}",
            f"{100 * gate.lost:.2f}",
        ]
        for name, gate in gates.items()
    }


def joined(gate: Gate, results: Array, gains: Array | None) -> npt.NDArray[np.bool_]:
    """Return where the rule of promotion promotes; `gains` are those on fresh articles."""
    gate.looks += 1
    chances = np.array([chance_of_look(int(k), SETTINGS.promote_alpha) for k in gate.looks])
    chosen = surely_better(results - gate.results, chances)
    if gains is not None:
        own = np.arange(FRESH_ARTICLES)
        gate.evidence = [one.after(d, own) for one, d in zip(gate.evidence, gains, strict=True)]
        chosen |= [one.e_value >= 2 / SETTINGS.promote_alpha for one in gate.evidence]
    return chosen & (results.mean(axis=1) >= gate.best - SETTINGS.promote_max_drop)


def surely_better(gains: Array, chances: Array) -> npt.NDArray[np.bool_]:
    """Return where the lower end of the mean gain is above 0; it is too high with `chances`."""
    normal = NormalDist()
    widths = np.array([normal.inv_cdf(1 - chance) for chance in chances])
    errors = gains.std(axis=1) / np.sqrt(gains.shape[1])
    return gains.mean(axis=1) - widths * errors > 0
