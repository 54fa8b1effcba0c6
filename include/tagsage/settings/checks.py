"""What is checked of a corpus before anything is trained on it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.section import Section, Share


class ChecksSettings(Section):
    """Checks of this run's corpus, by itself and beside that of the last finished run."""

    title = "Checks of the corpus"

    checks: Literal["off", "warn", "stop"] = Field(
        "warn",
        description="What a failed check does: warn reports it; stop ends the run before "
        "the corpus is loaded; off: nothing is checked.",
    )
    max_rejected_share: Share = Field(
        0.05,
        description="More rejected rows than this: stop. More repaired values of a column: a "
        "failed check.",
    )
    check_psi: float = Field(
        0.25,
        ge=0,
        description="Highest PSI of words per text, articles per list, lists per article.",
    )
    check_distance: Share = Field(
        0.3,
        description="Highest Jensen-Shannon distance of the 1,000 most frequent words, and tags.",
    )
    check_share_rise: Share = Field(
        0.1,
        description="Highest rise of the share of articles without text, without tags, in no "
        "list, and of rows in quarantine; highest share of target tags that went.",
    )
    check_count_fall: Share = Field(
        0.3, description="Highest share of articles, lists or memberships that went."
    )
