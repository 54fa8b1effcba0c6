"""How many tags are assigned, written and suggested."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section, Share


class PredictionSettings(Section):
    """Predictions and suggestions."""

    title = "Predictions and suggestions"

    top_tags: PositiveInt = Field(20, description="Best tags written per predicted article.")
    assign_max_tags: int = Field(0, ge=0, description="Most tags per article; 0: no limit.")
    assign_min_tags: int = Field(
        0, ge=0, description="Fewest tags per article: the likeliest, even below their thresholds."
    )
    suggest_min_score: Share = Field(
        0.8,
        description="Least probability of a suggested tag of a tagged article; its threshold must "
        "be reached, too.",
    )
