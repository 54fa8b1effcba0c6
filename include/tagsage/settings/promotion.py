"""When a challenger becomes champion."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import Section


class PromotionSettings(Section):
    """Promotion."""

    title = "Promotion"

    promote: bool = Field(True, description="Let a better challenger become champion.")
    promote_margin: float = Field(
        0.0, ge=-1, le=1, description="Micro-F1 the challenger must gain over the champion."
    )
