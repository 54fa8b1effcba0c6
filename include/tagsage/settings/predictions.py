"""How many tags are assigned, written, suggested and explained."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section, Share


class PredictionSettings(Section):
    """Predictions, suggestions and explanations."""

    title = "Predictions, suggestions and explanations"

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
    explain_articles: int = Field(
        2_000,
        ge=0,
        description="Predicted articles whose tags are explained in every run; 0: none.",
    )
