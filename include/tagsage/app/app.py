"""The pages as a FastAPI app: checked parameters in, HTML out, everything behind one guard."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, Response
from sqlalchemy import URL

from tagsage.app import render
from tagsage.app.articles import find_article
from tagsage.app.published import NothingPublishedError, published
from tagsage.app.runs import RunState, read_home
from tagsage.app.search import COUNTED, PAGE_SIZE, State, search_articles
from tagsage.app.search import Query as SearchQuery
from tagsage.app.tags import LAST_PAGE, Kind, Order, find_tag, list_tags
from tagsage.errors import TagsageError

REPORT_FILE = "report.html"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    # Other sites must not learn which article somebody came from.
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "private, no-store",
}
# No script at all; styles and pictures from here only.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'self'"
)
# The report has its own style. A script in the file would not run.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-popups allow-popups-to-escape-sandbox"
)

_SENTENCES = {
    401: ("Log in first", "These pages are for people who are logged in to Airflow."),
    403: (
        "Not for you",
        "These pages are for people who may read the DAG retrain; ask whoever runs Airflow.",
    ),
    404: ("Nothing here", "There is no such page."),
    405: ("Read-only", "These pages are read-only; nothing can be sent to them."),
}

# People paste addresses of articles where they could type words.
Words = Annotated[str, Query(max_length=2100)]
Name = Annotated[str, Query(max_length=2000)]


@dataclass(frozen=True)
class Surroundings:
    """What the pages need of the program that serves them.

    `guard` is a FastAPI dependency that raises an HTTP error when a person may not see the pages.
    """

    guard: Callable[..., Any]
    workspace: Callable[[], Path]
    database: Callable[[], URL]  # address of the SQL store
    last_run: Callable[[], RunState | None]
    mlflow_url: Callable[[], str]  # for people; empty when unknown


def make_app(around: Surroundings) -> FastAPI:
    """Make the app; all its addresses, unknown ones included, are behind the guard."""
    # No pages about itself: they would not be behind the guard.
    app = FastAPI(
        title="tagsage",
        dependencies=[Depends(around.guard)],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    _add_pages(app, around)
    _add_files(app, around)
    _add_errors(app)
    return app


def _add_pages(app: FastAPI, around: Surroundings) -> None:
    @app.get("/")
    def home(request: Request) -> Response:
        run = around.last_run()
        try:
            with published(around.database()) as connection:
                shown = read_home(connection)
        except NothingPublishedError:
            return _page(request, "empty", run=run)
        return _page(
            request,
            "home",
            home=shown,
            published=shown.run,
            run=run,
            mlflow=_mlflow_run(around.mlflow_url(), shown.run),
            has_report=(around.workspace() / REPORT_FILE).is_file(),
        )

    @app.get("/search")
    def search(
        request: Request,
        q: Words = "",
        state: State = "all",
        tag: Name = "",
        page: Annotated[int, Query(ge=1, le=COUNTED // PAGE_SIZE)] = 1,
    ) -> Response:
        query = SearchQuery(q, state, tag, page)
        with published(around.database()) as connection:
            found = search_articles(connection, query)
        return _page(request, "search", query=query, found=found)

    @app.get("/article")
    def article(request: Request, key: Words) -> Response:
        with published(around.database()) as connection:
            found = find_article(connection, key)
        if found is None:
            raise HTTPException(404, "There is no such article.")
        return _page(request, "article", article=found)

    @app.get("/tags")
    def tags(
        request: Request,
        q: Words = "",
        kind: Kind = "learned",
        order: Order = "assigned",
        page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
    ) -> Response:
        with published(around.database()) as connection:
            shown = list_tags(connection, part=q, kind=kind, order=order, page=page)
        return _page(
            request, "tags", shown=shown, query={"q": q, "kind": kind, "order": order}, page=page
        )

    @app.get("/tag")
    def tag(
        request: Request,
        name: Name,
        page: Annotated[int, Query(ge=1, le=LAST_PAGE)] = 1,
    ) -> Response:
        with published(around.database()) as connection:
            found = find_tag(connection, name, page=page)
        if found is None:
            raise HTTPException(404, "There is no such tag.")
        return _page(request, "tag", tag=found, line=found.line, page=page)


def _add_files(app: FastAPI, around: Surroundings) -> None:
    @app.get("/report")
    def report() -> Response:
        file = around.workspace() / REPORT_FILE
        if not file.is_file():
            raise HTTPException(404, "No run has left a report yet: run the DAG retrain.")
        return FileResponse(file, media_type="text/html", headers=_headers(REPORT_POLICY))

    @app.get("/style.css")
    def style() -> Response:
        return Response(render.style(), media_type="text/css", headers=_headers(PAGE_POLICY))

    @app.get("/icon.svg")
    def icon() -> Response:
        return Response(
            render.ICON.read_bytes(), media_type="image/svg+xml", headers=_headers(PAGE_POLICY)
        )

    @app.api_route("/{path:path}", methods=METHODS)
    def anything_else(request: Request) -> Response:
        # Behind the guard, so that even "not found" is not shown to strangers.
        raise HTTPException(404 if request.method == "GET" else 405)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        heading, sentence = _SENTENCES.get(error.status_code, ("That did not work", ""))
        # FastAPI's and Airflow's own messages are not for people.
        if error.status_code == 404 and error.detail != "Not Found":
            sentence = str(error.detail)
        return _message(request, error.status_code, heading, sentence)

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Response:
        parts = [f"{detail['loc'][-1]}: {detail['msg']}" for detail in error.errors()]
        return _message(
            request,
            422,
            "Not understood",
            f"A part of the address is invalid ({'; '.join(parts)}).",
        )

    @app.exception_handler(NothingPublishedError)
    def nothing_yet(request: Request, error: NothingPublishedError) -> Response:
        return _message(request, 404, "No run yet", str(error))

    @app.exception_handler(TagsageError)
    def failed(request: Request, error: TagsageError) -> Response:
        return _message(request, 503, "That did not work", str(error))


def _page(
    request: Request,
    template: str,
    status: int = 200,
    *,
    policy: str = PAGE_POLICY,
    **context: Any,
) -> Response:
    base = str(request.scope.get("root_path", ""))
    # Airflow's own pages begin where these are mounted.
    airflow = base.rpartition("/")[0]
    html = render.render(template, base, airflow=airflow, **context)
    # A lone surrogate from a broken source must not cost a page.
    body = html.encode("utf-8", errors="replace")
    return HTMLResponse(body, status_code=status, headers=_headers(policy))


def _message(request: Request, status: int, heading: str, sentence: str) -> Response:
    context: dict[str, Any] = {"heading": heading, "sentence": sentence, "login": ""}
    if status == 401:
        context["login"] = f"/api/v2/auth/login?next={quote(str(request.url), safe='')}"
    if status in {401, 403}:
        # In the page: who may not see the pages can't fetch their style sheet either.
        context["inline_style"] = render.inline_style()
        context["policy"] = PAGE_POLICY.replace("style-src 'self'", _style_source())
    return _page(request, "message", status, **context)


@cache
def _style_source() -> str:
    digest = hashlib.sha256(render.style().encode()).digest()
    return f"style-src 'sha256-{base64.b64encode(digest).decode()}'"


def _headers(policy: str) -> dict[str, str]:
    return {**_HEADERS, "Content-Security-Policy": policy}


def _mlflow_run(url: str, run: Any) -> str:
    """Return where MLflow shows the run, or MLflow itself; empty when unknown."""
    if not url:
        return ""
    ids = [run.get("mlflow", {}).get(name) for name in ("experiment", "run")]
    return f"{url.rstrip('/')}/#/experiments/{ids[0]}/runs/{ids[1]}" if all(ids) else url
