"""What is compared, and on what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.candidates import DEFAULT_CANDIDATES
from tagsage.settings.section import Section


class LearnSettings(Section):
    """Candidates, split and scenarios."""

    title = "Learn"

    min_tag_articles: int = Field(100, ge=1, description="A target tag is on more than this many.")
    candidates: str = Field(
        DEFAULT_CANDIDATES,
        description="Comma-separated feature_set:classifier. A run with others than "
        "TAGSAGE_CANDIDATES or the default is a trial.",
    )
    compare: Literal["auto", "all"] = Field(
        "auto",
        description="auto: all candidates once a week, after a drift or a change of settings; else "
        "the finalists of the last time. all: every time.",
    )
    scenarios: str = Field(
        "cold_start,inductive,time,grouped",
        pattern=r"^((cold_start|inductive|time|grouped)"
        r"(,(cold_start|inductive|time|grouped)){0,3})?$",
        description="In which scenarios the best two candidates are compared, comma-separated.",
    )
    splits: int = Field(
        1, ge=1, le=100, description="On so many splits the best two candidates are compared."
    )
    learning_shares: str = Field(
        "",
        pattern=r"^(0?\.[0-9]{1,4}(,0?\.[0-9]{1,4})*)?$",
        description="Shares of the training part to learn from besides: a learning curve.",
    )
    max_tagged_articles: int = Field(
        200_000,
        ge=0,
        description="Most tagged articles to train and test on, drawn at random; 0: all.",
    )
    search_trials: int = Field(
        0, ge=0, le=1000, description="Search trials per candidate; 0: the defaults."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of tagged articles held out.")
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of everything random.")
