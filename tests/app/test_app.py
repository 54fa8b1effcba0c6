"""The pages as a browser gets them: guarded, inert, whole, plain when something is wrong."""

from __future__ import annotations

import base64
import hashlib
import re
from itertools import pairwise

import pytest
from fastapi import HTTPException, Request
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.applications import Starlette
from starlette.routing import Mount

from tagsage.app.app import Surroundings, make_app
from tagsage.app.runs import RunState
from tagsage.errors import TagsageError
from tagsage.store.database import sqlite_url
from tests.app.conftest import HOSTILE_TAG, RUN, fill
from tests.report.test_html import Page

PAGES = [
    "/",
    "/search",
    "/search?q=graph",
    "/search?q=nothing+of+this",
    "/search?state=untagged&page=2",
    "/article?key=host.example/graphs",
    "/article?key=host.example/naive",
    "/article?key=host.example/hostile",
    "/article?key=host.example/reversed",
    "/article?key=host.example/long",
    "/article?key=host.example/script",
    "/article?key=host.example/stub",
    "/tags",
    "/tags?kind=all&order=name&q=zzz",
    "/tag?name=python",
    "/tag?name=art",
    "/tag?name=%22%3E%3Csvg%20onload%3Dalert(3)%3E",
]
FILES = ["/report", "/style.css", "/icon.svg"]
LATEST = RunState("manual__<b>1</b>", "failed", "23 November 2026, 02:00 UTC")
BASE = "http://testserver/tagsage"
REPORT = "<!doctype html><title>the report</title>"


def everybody() -> None:
    """Let everybody in."""


def by_header(request: Request) -> None:
    """Let in who says so, as a stand-in for Airflow's own guard."""
    who = request.headers.get("x-user")
    if who != "reader":
        raise HTTPException(403 if who else 401, "Forbidden")


def client_of(workspace, *, guard=everybody, run=None, mlflow=""):
    def folder():
        if isinstance(workspace, Exception):
            raise workspace
        return workspace

    app = make_app(
        Surroundings(
            guard=guard,
            workspace=folder,
            database=lambda: sqlite_url(folder() / "tagsage.db"),
            last_run=lambda: run,
            mlflow_url=lambda: mlflow,
        )
    )
    # Mounted, as Airflow does it.
    return TestClient(Starlette(routes=[Mount("/tagsage", app)]), base_url=BASE)


@pytest.fixture(scope="module")
def client(workspace):
    (workspace / "report.html").write_text(REPORT, encoding="utf-8")
    return client_of(workspace, run=LATEST, mlflow="https://mlflow.example/")


@pytest.mark.parametrize("address", PAGES)
def test_page_is_whole_and_nothing_in_it_runs_or_loads_from_elsewhere(client, address):
    answer = client.get(address)
    assert answer.status_code == 200
    page = Page(answer.text)
    for tag in ("script", "iframe", "object", "embed", "base", "img", "style"):
        assert page.all(tag) == []
    attributes = {name for _, attrs in page.elements for name in attrs}
    assert not [name for name in attributes if name.startswith("on")]
    assert not attributes & {"style", "src", "srcset", "formaction"}
    links = [str(attrs["href"]) for tag, attrs in page.elements if "href" in attrs]
    assert all(re.match(r"/(?!/)|#|https://(host|mlflow)\.example/", link) for link in links)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src 'self'")
    assert "unsafe" not in policy
    assert "script" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", answer.text)
    check_everybody_can_read(page)


def check_everybody_can_read(page):
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(heading.get("scope") in {"col", "row"} for heading in page.all("th"))
    assert all("aria-label" in one or "aria-hidden" in one for one in page.all("svg"))
    # A field lies in its label.
    assert len(page.all("label")) == len(page.all("input")) + len(page.all("select"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))


def test_links_of_a_page_lead_to_pages(client):
    links = {
        str(link["href"])
        for address in PAGES
        for link in Page(client.get(address).text).all("a")
        if str(link["href"]).startswith("/tagsage")
    }
    for href in links:
        assert client.get(href.removeprefix("/tagsage")).status_code == 200, href


def test_first_page_tells_the_run(client):
    page = Page(client.get("/").text)
    assert "text:mlp, version 7, writes the tags" in page.words
    assert (
        "In the run of 22 November 2026, 02:00 UTC, the best candidate, text+lists:mlp, reached "
        "micro-F1 .667" in page.words
    )
    assert "2 of the 4 articles that had no tags got some." in page.words
    assert "New champion Promoted: <i>better</i>." in page.words
    assert "The latest run, manual__<b>1</b>, failed (23 November 2026, 02:00 UTC)." in page.words
    assert "These pages still show the run before it." in page.words
    links = {str(link["href"]) for link in page.all("a")}
    assert "https://mlflow.example/#/experiments/1/runs/abc" in links
    assert {"/dags/retrain", "/tagsage/report"} <= links


def test_first_page_tells_before_all_else_of_a_champion_that_cannot_be_used(tmp_path):
    told = "The champion's files are gone, so version 1 cannot be used."
    fill(sqlite_url(tmp_path / "tagsage.db"), tmp_path, facts={**RUN, "unusable": told})
    run = RunState(RUN["run_id"], "failed", "")
    page = Page(client_of(tmp_path, run=run).get("/").text)
    assert "show the run before it" not in page.words
    assert page.words.index(told) < page.words.index("wrote the tags")
    assert "articles that had no tags got some" not in page.words


@pytest.mark.parametrize("state", ["queued", "running", "success", "up_for_grabs"])
def test_first_page_tells_the_state_of_the_latest_run(workspace, state):
    told = client_of(workspace, run=RunState("one", state, "")).get("/")
    assert told.status_code == 200
    assert "The latest run" in told.text
    assert "The latest run" not in client_of(workspace).get("/").text


def test_article_tells_why(client):
    words = Page(client.get("/article?key=host.example/naive").text).words
    assert "With its lists the article scores .900, by its text alone .350." in words
    assert "in percentage points. <b>bayes</b> −12.0" in words
    assert "−41.0" in words
    assert "An article about which nothing is known−2.50 <b>bayes</b>word+4.25" in words
    assert "All other words, lists and authors+0.45" in words
    assert "similarity .720, does not have the tag" in words
    assert "2 of its 2 lists hold articles with the tag: 3 of 3 memberships" in words


def test_the_threshold_stands_beside_the_score(client):
    words = Page(client.get("/article?key=host.example/naive").text).words
    assert "python90% threshold 35%" in words
    assert "art20% threshold 25%" in words
    # Of one tag, too: it may be assigned at a lower score than one that was not enough elsewhere.
    words = Page(client.get("/tag?name=art").text).words
    assert "70% threshold 25%" in words
    assert "30% threshold 55%" in words


def test_texts_that_mean_harm_are_shown_as_texts(client):
    words = Page(client.get("/article?key=host.example/hostile").text).words
    assert "<script>alert(1)</script> \"quoted\" 'single' <img src=x onerror=alert(2)>" in words
    assert HOSTILE_TAG in words
    assert "javascript:" in Page(client.get("/article?key=host.example/script").text).words
    long = client.get("/article?key=host.example/long")
    assert len(long.text) < 10_000
    assert "xxx…" in long.text


def test_reports_are_served_without_their_scripts(client):
    answer = client.get("/report")
    assert answer.text == REPORT
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; style-src 'unsafe-inline'" in policy
    # A sandbox without allow-scripts.
    assert re.search(r"sandbox allow-popups allow-popups-to-escape-sandbox$", policy)


# -- who may see them ----------------------------------------------------------------------------


def addresses_of(client) -> list[str]:
    every = client.app.routes[0].app.routes
    routes = [route.path for route in every if isinstance(route, APIRoute)]
    assert len(routes) == len(every), "a route that no dependency guards"
    return [path.replace("{path:path}", "anything/else") for path in routes]


@pytest.mark.parametrize(("who", "status"), [({}, 401), ({"x-user": "other"}, 403)])
def test_no_address_answers_people_who_may_not_read_the_dag(workspace, who, status):
    client = client_of(workspace, guard=by_header)
    addresses = {*addresses_of(client), *PAGES, *FILES, "/docs", "/openapi.json", "/redoc"}
    addresses |= {"/search?page=x", "/article", "/tag?name=", "//", "/%2e%2e/x"}
    assert {"/", "/search", "/article", "/tags", "/tag", "/report", "/style.css"} <= addresses
    for address in addresses:
        for method in ("GET", "HEAD", "POST", "PUT", "OPTIONS"):
            answer = client.request(method, address, headers=who)
            assert answer.status_code == status, (method, address)
            assert "neural" not in answer.text
    assert client.get("/search", headers={"x-user": "reader"}).status_code == 200


def test_without_a_session_the_way_to_the_login_is_shown(workspace):
    answer = client_of(workspace, guard=by_header).get("/tag?name=a")
    page = Page(answer.text)
    assert "Log in first" in page.words
    hrefs = [str(link["href"]) for link in page.all("a")]
    wanted = "/api/v2/auth/login?next=http%3A%2F%2Ftestserver%2Ftagsage%2Ftag%3Fname%3Da"
    assert wanted in hrefs
    # The style comes with the page, because its address is behind the guard, too.
    style = re.findall(r"<style>(.*?)</style>", answer.text, flags=re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in answer.headers["content-security-policy"]
    assert "stylesheet" not in answer.text


# -- what is wrong is said -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/search?page=0", 422, "page: Input should be greater than or equal to 1"),
        ("/search?page=101", 422, "page: Input should be less than or equal to 100"),
        ("/search?page=1e9", 422, "page"),
        ("/search?state=<script>", 422, "state: Input should be 'all', 'untagged' or 'tagged'"),
        ("/search?q=" + "x" * 2101, 422, "q: String should have at most 2100 characters"),
        ("/tags?order=id;drop", 422, "order"),
        ("/article", 422, "key: Field required"),
        ("/article?key=" + "x" * 2101, 422, "key"),
        ("/article?key=host.example/none", 404, "There is no such article."),
        ("/tag?name=none", 404, "There is no such tag."),
        ("/tag?name=python&page=501", 422, "page"),
        ("/nowhere", 404, "There is no such page."),
        ("/docs", 404, "There is no such page."),
        ("/openapi.json", 404, "There is no such page."),
    ],
)
def test_what_cannot_be_answered_is_said_in_one_sentence(client, address, status, said):
    answer = client.get(address)
    assert answer.status_code == status
    page = Page(answer.text)
    assert said in page.words
    assert "<script>" not in answer.text
    assert "content-security-policy" in answer.headers


def test_before_the_first_run_pages_say_what_to_do(tmp_path):
    client = client_of(tmp_path)
    first = client.get("/")
    assert first.status_code == 200
    assert "press Trigger" in Page(first.text).words
    for address in ("/search", "/tags", "/tag?name=a", "/article?key=a"):
        answer = client.get(address)
        assert answer.status_code == 404
        assert "run the DAG retrain once" in answer.text
    assert "No run has left a report yet" in client.get("/report").text


def test_a_broken_store_and_a_wrong_setting_are_one_sentence(tmp_path):
    (tmp_path / "tagsage.db").write_bytes(b"nonsense" * 1000)
    for workspace, said in (
        (tmp_path, "is not an SQLite database"),
        (TagsageError("Impossible <settings>."), "Impossible &lt;settings&gt;."),
    ):
        for address in ("/", "/search", "/tags"):
            answer = client_of(workspace).get(address)
            assert answer.status_code == 503
            assert said in answer.text
