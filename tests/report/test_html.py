"""The page: whole, offline, inert, and right for every kind of run."""

import dataclasses
import re
from html import escape
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest

from tagsage.report.formatting import share
from tagsage.report.html import render_report
from tagsage.report.picture import Picture
from tagsage.report.report_data import (
    ChangedArticle,
    Changes,
    Checked,
    Example,
    Predicted,
    PredictedTag,
    ReportData,
)

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}
SNAPSHOT = Path(__file__).parent / "report.txt"


class Page(HTMLParser):
    """Parses a page, checks that its elements nest, keeps tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open, tag
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "svg" not in self.open:
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


@pytest.fixture(scope="module")
def render(run, tmp_path_factory):
    """Return a function that renders the run with some changes; unchanged once for all tests."""
    file = tmp_path_factory.mktemp("page") / "report.html"

    def page_of(data: ReportData) -> Page:
        render_report(data, file)
        return Page(file.read_text(encoding="utf-8"))

    whole = page_of(run)
    short = dataclasses.replace(run, comparison=None)

    def render_changed(**changed) -> Page:
        if not changed:
            return whole
        with pytest.MonkeyPatch.context() as patch:
            # Figures take time to draw.
            patch.setattr(Picture, "svg", lambda picture: f"<svg>{escape(picture.title)}</svg>")
            return page_of(dataclasses.replace(short, **changed))

    return render_changed


def test_words_of_the_page_are_those_of_the_snapshot(render):
    """After a deliberate change, write what the failure shows as new to report.txt."""
    lines = [" ".join(line.split()) for line in "".join(render().text).splitlines()]
    assert [line for line in lines if line] == SNAPSHOT.read_text(encoding="utf-8").splitlines()


def test_page_is_accessible(render):
    page = render()
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    tables = re.findall(r"<table.*?</table>", page.html, flags=re.DOTALL)
    assert len(tables) == 10
    assert all("<caption>" in table for table in tables)
    assert all(heading.get("scope") in {"col", "row"} for heading in page.all("th"))
    pictures = page.all("svg")
    assert len(pictures) == 13
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    links = [str(link["href"]) for link in page.all("a")]
    assert all(link[1:] in ids for link in links if link.startswith("#"))


def test_page_loads_nothing_runs_nothing_and_forbids_both(render):
    page = render()
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    for tag in ("script", "link", "img", "iframe", "object", "form", "base"):
        assert page.all(tag) == []
    style = "".join(re.findall(r"<style>(.*?)</style>", page.html, flags=re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    assert {name for _, attrs in page.elements for name in attrs} & {"src", "srcset"} == set()
    # Only web addresses become links.
    links = [str(link["href"]) for link in page.all("a") if not str(link["href"]).startswith("#")]
    assert links == ["https://medium.example/a-1", "https://medium.example/b"]
    assert "hush" not in page.html


@pytest.mark.parametrize(
    "address",
    [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "https://a.example/ onclick=x",
        'https://a.example/"x',
    ],
)
def test_other_addresses_are_no_links(render, address):
    page = render(examples=[Example("t", "", address, [])], changes=None)
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }} {% raw %}",
    "مرحبا بالعالم \u202egnp.exe",
    "👩‍👩‍👧‍👦 family",
    "x" * 10_000,
    "a\x00b\x07c",
    "lone \ud800 surrogate",
    "",
]
ALL_HOSTILE = " ".join(text for text in HOSTILE if len(text) < 100)


def test_any_text_is_shown_inert_and_cut(render, comparison):
    examples = [
        Example(
            text,
            text,
            f"https://x.example/{text}",
            [PredictedTag(text, 0.5, assigned=True, because=text)],
        )
        for text in HOSTILE
    ]
    texts = pd.Series(HOSTILE, dtype=object)  # pandas' own strings refuse lone surrogates
    mapping = dict(zip(HOSTILE, HOSTILE, strict=True))
    check = dict.fromkeys(("what", "measure", "before", "current", "name", "about"), ALL_HOSTILE)
    check |= {"value": 0.5, "limit": 0.25, "champion": None, "passed": False}
    scores = {"precision": 0.5, "recall": 0.5, "f1": 0.5, "support": 3}
    page = render(
        run_id=ALL_HOSTILE,
        corpus_name=ALL_HOSTILE,
        harvested=ALL_HOSTILE,
        unusable=ALL_HOSTILE,
        promotion_reason=ALL_HOSTILE,
        predicted=Predicted(1, 1, 1, ALL_HOSTILE, ALL_HOSTILE),
        examples=examples,
        quarantine=pd.DataFrame({"file": texts, "kind": "rejected", "reason": texts, "rows": 1}),
        per_tag=pd.DataFrame({"tag": texts, **scores}),
        graph=mapping,
        cost=mapping,
        settings=mapping,
        notes=HOSTILE,
        checks=[check],
        checked=Checked(compared_with=ALL_HOSTILE, checks=[check], failed=HOSTILE),
        leaderboard=pd.DataFrame({"candidate": texts, "micro_f1": 0.5}),
        comparison=dataclasses.replace(
            comparison, sentences=HOSTILE, not_measured=mapping, study=comparison.study[:0]
        ),
        changes=Changes(
            None,
            {},
            [ChangedArticle(text, text, [text], [text]) for text in HOSTILE],
            {"tagged_articles": 1, "articles": 1, "tags": 1},
            examples,
        ),
    )
    assert page.all("script") == []
    assert page.all("img") == []
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert "{{ 7 * 7 }}" in page.words
    assert "x" * 600 not in page.html
    assert not re.search(r"[\x00-\x08\u202a-\u202e]", page.html)


NO_BOARD = pd.DataFrame({"candidate": []})
TEXT_FIRST = pd.DataFrame({"candidate": ["text:mlp", "text+lists:mlp"], "micro_f1": [0.6, 0.5]})
WORDS_SECOND = pd.DataFrame({
    "candidate": ["text+lists:mlp", "words:linear", "text:mlp"],
    "micro_f1": [0.667, 0.66, 0.647],
})


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({"trial": True}, "Trial This run did not compare the configured candidates."),
        ({"promoted": False, "promotion_reason": "Too weak."}, "Challenger Too weak."),
        ({"trial": False}, "This comparison needs a candidate that reads only the text"),
        ({"leaderboard": TEXT_FIRST}, "no candidate that uses the graph did better"),
        # The baseline is the best on text, whether it reads words or vectors.
        ({"leaderboard": WORDS_SECOND}, "+.007 micro-F1 against the best candidate that reads"),
        ({"leaderboard": NO_BOARD}, "No candidate was compared"),
        ({"quarantine": pd.DataFrame()}, "Quarantine: empty."),
        ({"examples": []}, "There was no article without tags."),
        ({"harvested": "done: 3 lists"}, "Harvest before this run: done: 3 lists"),
        ({"notes": ["mlp was left out: too slow."]}, "mlp was left out: too slow."),
        ({"changes": Changes(None, {})}, "There are no earlier predictions to compare with."),
        (
            {"predicted": Predicted(2, 1, 3, "2", "text:mlp")},
            "text:mlp, version 2, writes the tags",
        ),
        ({"checked": Checked("", [], [])}, "no earlier run to compare the corpus with. All checks"),
        (
            {"stages": pd.DataFrame({"stage": ["split", "fit", "fit"], "seconds": [1.0, 2, 4]})},
            "Stages, 7.0 s of work; what an earlier run had done already took no time StageTime "
            "split1.0 s fit × 26.0 s",
        ),
    ],
)
def test_page_of_another_kind_of_run_says_so(render, changed, shown):
    assert shown in render(**changed).words


def test_what_there_is_not_is_not_mentioned(render, run):
    page = render(
        cost={},
        graph={},
        graphsage_losses=[],
        profile=dataclasses.replace(
            run.profile,
            counts={**run.profile.counts, "lists": 0, "stubs": 0},
            list_sizes={},
            list_size_quantiles={},
            neighbours={},
        ),
        promoted=None,
        changes=None,
        checked=None,
        settings={},
        stages=pd.DataFrame(),
        per_tag=pd.DataFrame({"tag": [], "f1": [], "support": []}),
    )
    for words in ("Cost", "Promotion", "Changes", "Checks before", "settings", "Stages", "further"):
        assert words not in page.words
    assert "There are no lists, so only the text can be used." in page.words
    assert "No candidate of this run needed the graph." in page.words


def test_a_champion_that_cannot_be_used_comes_before_all_else(render):
    reason = "The champion's files are gone, so version 1 cannot be used."
    page = render(unusable=reason, changes=None)
    assert page.words.index(reason) < page.words.index(", version")
    assert "gave tags to" not in page.words


def test_many_tags_show_both_ends_and_fold_the_whole_table(render):
    scores = {"precision": 0.5, "recall": 0.5, "support": 10}
    tags = {"tag": [f"tag{n:03}" for n in range(50)], "f1": [n / 50 for n in range(50)]}
    page = render(per_tag=pd.DataFrame(tags | scores))
    assert "The 10 easiest tags" in page.words
    assert page.html.count("tag025") == 1
    assert page.html.count("tag049") == page.html.count("tag000") == 2


def test_report_replaces_an_older_one_and_is_the_same_bytes_for_the_same_run(tmp_path, run, render):
    file = tmp_path / "report.html"
    file.write_text("old")
    render_report(run, file)
    assert file.read_text(encoding="utf-8") == render().html


@pytest.mark.parametrize(
    ("part", "whole", "shown"),
    [
        (0, 5, "0%"),
        (0.003, 1, "<1%"),
        (1, 3, "33%"),
        (0.999, 1, "99%"),
        (4, 4, "100%"),
        (1, 0, "–"),
    ],
)
def test_shares_never_round_something_to_nothing_or_to_all(part, whole, shown):
    assert share(part, whole) == shown


def test_the_scores_without_articles_of_rare_tags_alone_stand_under_the_leaderboard(run, render):
    further = {"articles_without_tag": 7.0, "micro_f1_targets": 0.712, "macro_f1_targets": 0.513}
    board = run.leaderboard.assign(**further)
    words = render(leaderboard=board).words
    assert re.search(r"7 of the test articles .* micro-F1 .* \.712 and macro-F1 \.513", words)
    none = board.assign(articles_without_tag=0.0)
    assert ".712" not in render(leaderboard=none).words
