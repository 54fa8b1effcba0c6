"""How a corpus is read."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import Section, Share


class CorpusSettings(Section):
    """Limits of what is read."""

    title = "Corpus"

    max_rejected_share: Share = Field(
        0.05,
        description="More rejected rows than this: stop. More repaired values of a column: a "
        "failed check.",
    )
