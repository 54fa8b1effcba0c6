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
        "forms, a file with one a line.",
    )
    harvest_consent: bool = Field(
        False, description="You may fetch pages of lists and articles (docs/harvest.md)."
    )
    harvest_contact: str = Field(
        "", description="Mail address or web page, told to every host: whom to ask about you."
    )
    harvest_delay_s: float = Field(
        10.0, ge=0, allow_inf_nan=False, description="Between two requests to one host."
    )
    harvest_articles: Literal["missing", "always", "never"] = Field(
        "missing",
        description="Fetch an article's own page; missing: if lists and feeds leave fields open.",
    )
    harvest_max_requests: PositiveInt = Field(2000, description="Requests a run.")
    harvest_max_minutes: float = Field(
        60.0, gt=0, le=720, allow_inf_nan=False, description="Minutes a run."
    )
    harvest_max_mb: PositiveInt = Field(1000, description="Megabytes received a run.")
    harvest_timeout_s: float = Field(
        60.0, gt=0, allow_inf_nan=False, description="Time limit of one request, to its last byte."
    )
    harvest_max_page_mb: PositiveInt = Field(10, description="Largest page, unpacked too.")
    harvest_attempts: PositiveInt = Field(
        6, description="Times that a request fails before it is given up."
    )
    harvest_list_days: float = Field(
        7.0, ge=0, allow_inf_nan=False, description="Age at which a list is read again."
    )
    harvest_article_days: float = Field(
        90.0, ge=0, allow_inf_nan=False, description="Age at which an article's page is read again."
    )
    harvest_feed_hours: float = Field(
        20.0, ge=0, allow_inf_nan=False, description="Age at which a feed is read again."
    )
    harvest_pause_hours: float = Field(
        12.0,
        ge=0,
        allow_inf_nan=False,
        description="How long a host that refused us is left alone.",
    )
    harvest_keep_pages_days: float = Field(
        30.0, ge=0, allow_inf_nan=False, description="How long raw pages are kept for --replay."
    )
    harvest_hosts: str = Field(
        "", description="Further hosts that redirects may lead to, separated by blanks."
    )
    harvest_folder: str = Field(
        "", description="Folder of what was harvested; empty: harvest in the workspace."
    )
    harvest_schedule: str = Field(
        "30 */6 * * *",
        pattern=r"^(\S+( \S+){4}|@[a-z]+|never)$",
        description="When Airflow harvests, if there are seeds: cron, UTC; never: only by hand.",
    )
