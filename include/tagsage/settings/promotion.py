"""When a challenger becomes champion."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.section import Section


class PromotionSettings(Section):
    """The rule of promotion and its guards."""

    title = "Promotion"

    promote: Literal["better", "always", "never"] = Field(
        "better", description="Make the challenger champion when it is better, always, or never."
    )
    promote_alpha: float = Field(
        0.05,
        gt=0,
        lt=1,
        description="Highest chance that a champion is ever replaced although no winner is better.",
    )
    promote_margin: float = Field(
        0.0,
        ge=-1,
        le=1,
        allow_inf_nan=False,
        description="F1 the challenger must surely gain over the champion; "
        "below 0: what it may lose.",
    )
    promote_min_articles: int = Field(
        100,
        ge=1,
        description="With fewer common test articles the champion stays. Smaller slices aren't "
        "looked at.",
    )
    promote_max_drop: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Guard: micro-F1 on the frozen test below the best champion ever.",
    )
    promote_max_macro_drop: float = Field(
        0.02, ge=0, le=1, description="Guard: macro-F1 that may be lost, at 95% confidence."
    )
    promote_max_slice_drop: float = Field(
        0.05, ge=0, le=1, description="Guard: micro-F1 that a slice may lose, at 95% confidence."
    )
    promote_max_calibration_error: float = Field(
        0.05, ge=0, le=1, description="Guard: `ece_top_5`, less what chance alone would make of it."
    )
    promote_max_assigned_drop: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Guard: by how much fewer test articles may get a tag, 0 to 1.",
    )
    promote_max_latency_ms: float = Field(
        1000.0, gt=0, allow_inf_nan=False, description="Guard: median time of one request."
    )
    promote_max_model_mb: float = Field(
        2000.0, gt=0, allow_inf_nan=False, description="Guard: size of the model's files."
    )
