"""What is told of predictions, and which missing tags are suggested."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import Section, Share


class PredictionSettings(Section):
    """Predictions and suggestions."""

    title = "Predictions and suggestions"

    changes_min_score: Share = Field(
        0.05, description="Scores that moved by less are not told in changes.csv."
    )
    suggestions: bool = Field(
        True, description="Suggest tags that tagged articles lack (suggestions.csv)."
    )
    suggest_min_score: Share = Field(
        0.8, description="Least probability of a suggested tag; its threshold must be reached, too."
    )
