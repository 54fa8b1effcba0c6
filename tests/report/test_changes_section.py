"""The part of the page that tells what is new in the predictions."""

import dataclasses

import pytest

from tagsage.report.data import ChangedArticle, Changes, Example, PredictedTag
from tagsage.report.html import render_report
from tests.report.test_html import Page

COUNTS = {
    "articles_new": 3,
    "articles_gone": 2,
    "articles_newly_tagged": 5,
    "articles_no_longer_tagged": 1,
    "articles_changed": 1_234,
    "tags_gained": 7,
    "tags_lost": 4,
    "scores_changed": 99,
}
HOSTILE = "<script>alert(1)</script> \"quoted' &amp; ‮rtl 🐝" + "x" * 10_000


@pytest.fixture
def render(run, tmp_path):
    """Render a page with some changes; return it, and it parsed."""

    def render(**parts):
        changes = Changes(**{"counts": COUNTS, "written": {}, **parts})
        render_report(dataclasses.replace(run, changes=changes), tmp_path / "report.html")
        html = (tmp_path / "report.html").read_text(encoding="utf-8")
        return html, Page(html)

    return render


def test_the_counts_are_told_and_the_navigation_leads_to_them(render):
    written = {"added": 10, "changed": 20, "removed": 5, "unchanged": 970}
    _, page = render(written=written)
    assert "Articles with other tags than before1,234" in page.words
    assert "Tags gained7 Tags lost4 Articles that came3 Articles that are gone2" in page.words
    assert "Left as they were in the store970 of 1,000" in page.words
    assert {"href": "#changes"} in page.all("a")
    assert "may be missing" not in page.words


def test_articles_are_told_with_what_they_gained_and_lost(render):
    articles = [
        ChangedArticle("A title", "https://medium.example/b", ["python", "xml"], []),
        ChangedArticle("", "javascript:alert(1)", [], [f"t{i}" for i in range(9)]),
    ]
    html, page = render(articles=articles)
    assert "A title python, xml –" in page.words
    assert "Untitled – t0, t1, t2, t3, t4, t5 …" in page.words
    assert 'href="https://medium.example/b"' in html
    assert "javascript:" not in html


def test_a_first_run_says_that_there_is_nothing_to_compare_with(render):
    _, page = render(counts=None)
    assert "There are no earlier predictions to compare with." in page.words
    assert "Tags gained" not in page.words


def test_suggestions_are_told_apart_from_tags(render):
    example = Example(
        "Title", "", "https://medium.example/c", [PredictedTag("xml", 0.91, assigned=True)]
    )
    _, page = render(
        suggested={"tagged_articles": 100, "articles": 1, "tags": 1}, suggestions=[example]
    )
    assert "To 1 of 100 articles that have tags, 1 more is suggested" in page.words
    assert "xml 91" in page.words


def test_hostile_titles_and_tags_are_inert_and_cut(render):
    article = ChangedArticle(HOSTILE, "https://a.example/<x>", [HOSTILE], [HOSTILE])
    example = Example(HOSTILE, "", "data:text/html,x", [PredictedTag(HOSTILE, 1, assigned=True)])
    html, page = render(
        articles=[article],
        suggested={"tagged_articles": 1, "articles": 1, "tags": 1},
        suggestions=[example],
    )
    assert page.all("script") == []
    assert "x" * 200 not in html
    assert "data:text/html" not in html
