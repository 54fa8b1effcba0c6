"""What is compared, on what, and how tags are assigned."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.candidates import DEFAULT_CANDIDATES
from tagsage.settings.section import PositiveInt, Section, Share


class LearnSettings(Section):
    """Candidates, split, questions and limits."""

    title = "Learn"

    min_tag_articles: int = Field(100, ge=1, description="A target tag is on more than this many.")
    candidates: str = Field(
        DEFAULT_CANDIDATES,
        description="Comma-separated feature_set:classifier. A run with others than "
        "TAGSAGE_CANDIDATES or the default is a trial.",
    )
    questions: str = Field(
        "cold_start,inductive,time",
        pattern=r"^((cold_start|inductive|time)(,(cold_start|inductive|time)){0,2})?$",
        description="What else the best two candidates are asked, comma-separated.",
    )
    splits: int = Field(
        1, ge=1, le=100, description="On so many splits the best two candidates are compared."
    )
    learning_shares: str = Field(
        "",
        pattern=r"^(0?\.[0-9]{1,4}(,0?\.[0-9]{1,4})*)?$",
        description="Shares of the training part to learn from besides: a learning curve.",
    )
    bootstrap_resamples: int = Field(
        2000, ge=100, le=100_000, description="Resamples of the test articles for intervals."
    )
    candidate_max_minutes: float = Field(
        60.0,
        gt=0,
        allow_inf_nan=False,
        description="Candidates that would take longer: left out.",
    )
    candidate_max_gb: float = Field(
        8.0,
        gt=0,
        allow_inf_nan=False,
        description="Candidates that would take more memory: left out.",
    )
    search_trials: int = Field(
        0, ge=0, le=1000, description="Hyper-parameters tried a candidate; 0: the defaults."
    )
    search_max_minutes: float = Field(
        30.0, gt=0, allow_inf_nan=False, description="No trial begins after so long a search."
    )
    test_share: float = Field(0.2, gt=0, lt=1, description="Share of tagged articles held out.")
    seed: int = Field(42, ge=0, lt=2**31, description="Seed of everything random.")
    top_tags: PositiveInt = Field(20, description="Best tags kept a predicted article.")


class AssignmentSettings(Section):
    """From probabilities to tags."""

    title = "How tags are assigned"

    assign_tag_share: Share = Field(
        0.7, description="0: one threshold for all tags; 1: as near each tag's own as it can carry."
    )
    assign_top_k: int = Field(0, ge=0, description="Most tags an article; 0: no limit.")
    assign_min_tags: int = Field(
        0, ge=0, description="Fewest tags an article: the likeliest, even below their thresholds."
    )
