"""How lists and articles are harvested."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tagsage.settings.section import PositiveInt, Section


class HarvestSettings(Section):
    """What is harvested, how politely, and how long it counts as new."""

    title = "Harvest"

    harvest_seeds: str = Field(
        "",
        description="Lists and feeds to harvest: addresses separated by blanks, or, outside of "
        "forms, a file with one per line.",
    )
    harvest_consent: bool = Field(
        False, description="You may fetch pages of lists and articles (docs/harvest.md)."
    )
    harvest_contact: str = Field(
        "", description="Mail address or web page, sent to every host: whom to ask about you."
    )
    harvest_delay_s: float = Field(
        10.0, ge=0, allow_inf_nan=False, description="Between two requests to one host."
    )
    harvest_articles: Literal["missing", "always", "never"] = Field(
        "missing",
        description="Fetch an article's own page; missing: if its list leaves fields open.",
    )
    harvest_max_requests: PositiveInt = Field(2000, description="Requests per run.")
    harvest_max_minutes: float = Field(
        60.0, gt=0, le=720, allow_inf_nan=False, description="Minutes per run."
    )
    harvest_list_days: float = Field(
        7.0, ge=0, allow_inf_nan=False, description="Age at which a list is read again."
    )
    harvest_feed_hours: float = Field(
        20.0, ge=0, allow_inf_nan=False, description="Age at which a feed is read again."
    )
    harvest_hosts: str = Field(
        "",
        description="Hosts on a private network that may be asked beside those of the seeds, "
        "separated by blanks: name:port.",
    )
    harvest_folder: str = Field(
        "", description="Folder of what was harvested; empty: harvest in the workspace."
    )
    harvest_schedule: str = Field(
        "30 */6 * * *",
        pattern=r"^(\S+( \S+){4}|@[a-z]+|never)$",
        description="When Airflow harvests, if there are seeds: cron, UTC; never: only by hand.",
    )
