"""How much is explained in every run."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import Section


class ExplanationSettings(Section):
    """Explanations."""

    title = "Explanations"

    explain_articles: int = Field(
        20_000,
        ge=0,
        description="Predicted articles whose tags are explained in every run; 0: none.",
    )
