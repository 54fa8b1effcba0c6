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
        description="What a failed check does: warn tells of it; stop ends the run before "
        "the corpus is loaded; off: nothing is checked.",
    )
    check_psi: float = Field(
        0.25, ge=0, description="Highest PSI of words a text, articles a list, lists an article."
    )
    check_words_distance: Share = Field(
        0.3, description="Highest Jensen-Shannon distance of the 1,000 most frequent words."
    )
    check_new_words: Share = Field(
        0.2, description="Highest rise of the share of words that the last vocabulary lacks."
    )
    check_tags_distance: Share = Field(
        0.3, description="Highest Jensen-Shannon distance of the 1,000 most frequent tags."
    )
    check_tags_gone: Share = Field(0.1, description="Highest share of target tags that went.")
    check_share_rise: Share = Field(
        0.1,
        description="Highest rise of the share of articles without text, without tags, in no "
        "list, and of rows in quarantine.",
    )
    check_count_fall: Share = Field(
        0.3, description="Highest share of articles, lists or memberships that went."
    )
    check_largest_list: Share = Field(
        0.9, description="Highest share of all articles that one list holds."
    )
