"""Templates of the pages: every text is escaped, and addresses are built in one place."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from tagsage.report.formatting import FILTERS

FOLDER = Path(__file__).parent
# The report's colours and fonts, so that both look alike.
REPORT_STYLE = FOLDER.parent / "report" / "templates" / "style.css"
PAGE_STYLE = FOLDER / "static" / "page.css"
ICON = FOLDER / "static" / "icon.svg"


def address(base: str, page: str, /, **parameters: object) -> str:
    """Return the address of a page; parameters that are empty, None or page 1 are left out."""
    given = {
        name: value
        for name, value in parameters.items()
        if value not in {"", None} and (name, value) != ("page", 1)
    }
    # A lone surrogate of a broken source cannot be part of an address.
    query = urlencode(given, errors="replace")
    return f"{base}/{page}{'?' if query else ''}{query}"


def render(template: str, base: str, **context: Any) -> str:
    """Render a page; `base` is where the pages are, without a slash at its end."""
    page = _environment().get_template(f"{template}.html.j2")

    def to(where: str, /, **parameters: object) -> str:
        return address(base, where, **parameters)

    return page.render(to=to, **context)


@cache
def style() -> str:
    """Return the pages' style sheet."""
    return "\n".join(file.read_text(encoding="utf-8") for file in (REPORT_STYLE, PAGE_STYLE))


def inline_style() -> Markup:
    """Return the style sheet, safe inside a page."""
    return Markup(style())  # ruff: ignore[unsafe-markup-use]


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment
