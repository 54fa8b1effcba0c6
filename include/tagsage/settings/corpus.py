"""How a corpus is read."""

from __future__ import annotations

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section, Share


class CorpusSettings(Section):
    """Limits of what is read."""

    title = "Corpus"

    max_rejected_share: Share = Field(
        0.05,
        description="More rejected rows than this: stop. More repaired values of a column: a "
        "failed check.",
    )
    medium_base_url: str = Field(
        "https://raw.githubusercontent.com/tomasonjo/blog-datasets/main/medium",
        description="Where the study's CSV files are published.",
    )
    download_max_mb: PositiveInt = Field(2000, description="A download larger than this stops.")
    download_timeout_s: PositiveInt = Field(600, description="Time limit of one download.")
