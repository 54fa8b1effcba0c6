"""The pages driven in a real Chromium, as part of the test that serves Airflow."""

from __future__ import annotations

import csv
import urllib.error
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, expect

from tagsage.store.database import sqlite_url
from tests.app.conftest import HOSTILE, HOSTILE_LIST, fill

ADDRESSES = (
    *("/", "/search", "/search?q=a", "/article?key=a", "/tags", "/tag?name=a", "/report"),
    *("/style.css", "/icon.svg", "/docs", "/openapi.json", "/any/where"),
)
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}


def check_closed_to_strangers(airflow: str) -> None:
    """Ask for every address without a session."""
    for address in ADDRESSES:
        try:
            with urllib.request.urlopen(f"{airflow}/tagsage{address}", timeout=30) as answer:
                status = answer.status
        except urllib.error.HTTPError as error:
            status = error.code
        assert status == 401, address


def open_from_airflow(page: Page) -> Page:
    """Follow the item of Airflow's navigation; before the first run there is nothing to show."""
    page.get_by_role("button", name="Browse").click()
    with page.expect_popup() as opened:
        page.get_by_role("menuitem", name="tagsage").click()
    pages = opened.value
    pages.set_default_timeout(60_000)
    expect(pages.get_by_role("heading", level=1)).to_have_text("No run yet")
    return pages


def follow_to_the_form(pages: Page, link: str) -> Page:
    """Follow the way that the pages show to the trigger form, in a tab of its own."""
    form = pages.context.new_page()
    form.set_default_timeout(60_000)
    form.goto(pages.url)
    form.get_by_role("link", name=link).click()
    form.get_by_role("button", name="Trigger").first.click()
    expect(form.get_by_role("dialog").get_by_text("What to compare", exact=True)).to_be_visible()
    return form


def check_pages_of_a_run(pages: Page, workspace: Path) -> None:
    """Look at the run: its scores, its report, an article, a tag."""
    pages.reload()
    with (workspace / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        best = next(csv.DictReader(file))["candidate"]
    expect(pages.get_by_role("heading", level=1)).to_have_text(
        f"{best}, version 1, writes the tags"
    )
    expect(pages.get_by_text("The latest run")).to_contain_text("ended well")
    expect(pages.get_by_role("link", name="The run in MLflow")).to_be_visible()
    follow_to_the_form(pages, "Retrain …").close()
    home = pages.url

    pages.get_by_role("link", name="The run's report").click()
    expect(pages.get_by_role("heading", name="Leaderboard")).to_be_visible()
    pages.goto(home)

    with (workspace / "predictions.csv").open(encoding="utf-8", newline="") as file:
        assigned = next(row for row in csv.DictReader(file) if row["assigned"] == "1")
    pages.get_by_label("Words, or an article's address").fill(assigned["story"])
    pages.keyboard.press("Enter")
    expect(pages.get_by_role("heading", level=2)).to_have_text("1 article")
    pages.get_by_role("heading", level=3).get_by_role("link").click()
    expect(pages.get_by_role("heading", name="Predicted tags")).to_be_visible()
    tag = pages.locator("summary", has_text=assigned["tag"])
    expect(tag).to_contain_text("assigned")
    pages.get_by_role("link", name="How well this tag is learned").first.click()
    expect(pages.get_by_role("heading", name="Assigned to")).to_be_visible()
    pages.get_by_role("link", name="Search among them").click()
    expect(pages.locator("select[name=state]")).to_have_value("untagged")
    pages.get_by_role("link", name="Tags", exact=True).click()
    expect(pages.get_by_role("link", name=assigned["tag"], exact=True)).to_be_visible()
    check_looks(pages, home)


def check_looks(pages: Page, home: str) -> None:
    """Hold that nothing is wider than the screen, styled in light and dark, on desk and phone."""
    for width, height in SIZES.values():
        pages.set_viewport_size({"width": width, "height": height})
        for address in ("", "search?q=lib", "tags"):
            pages.goto(home + address)
            assert pages.evaluate("document.documentElement.scrollWidth") <= width, address
    paper = {}
    for scheme in ("light", "dark"):
        pages.emulate_media(color_scheme=scheme)
        paper[scheme] = pages.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(252, 252, 251)", "dark": "rgb(20, 23, 26)"}


def check_hostile_texts_are_inert(pages: Page, workspace: Path) -> None:
    """Put hostile texts into the store and look at every page that shows them."""
    fill(sqlite_url(workspace / "tagsage.db"), workspace)
    noticed: list[str] = []
    pages.on("dialog", lambda dialog: (noticed.append(dialog.message), dialog.dismiss()))
    pages.on("pageerror", lambda error: noticed.append(str(error)))
    pages.on(
        "request",
        lambda request: None if "/tagsage" in request.url else noticed.append(request.url),
    )
    # What the policy had to forbid is told on the console.
    pages.on("console", lambda told: noticed.append(told.text))
    home = pages.url.rpartition("/tagsage")[0] + "/tagsage"
    for address in (
        *("/", "/search", "/search?q=<script>alert(9)</script>", "/tags?kind=all"),
        *("/article?key=host.example/hostile", "/article?key=host.example/long"),
        *("/article?key=host.example/reversed", "/article?key=host.example/naive"),
        '/tag?name="><svg onload=alert(3)>',
    ):
        pages.goto(home + address)
        assert pages.locator("script, img, iframe").count() == 0
        for closed in pages.locator("details:not([open]) > summary").all():
            closed.click()
        assert noticed == []
    pages.goto(f"{home}/article?key=host.example/hostile")
    expect(pages.get_by_role("heading", level=1)).to_have_text(HOSTILE)
    pages.goto(f"{home}/article?key=host.example/naive")
    expect(pages.get_by_role("rowheader", name=HOSTILE_LIST).first).to_be_visible()
    assert noticed == []
