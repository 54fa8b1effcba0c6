"""The page: whole, offline, inert, and right for every kind of run."""

import dataclasses
import re
from html.parser import HTMLParser
from itertools import pairwise

import pandas as pd
import pytest

from tagsage.report.data import Checked, Example, Predicted, PredictedTag, ReportData
from tagsage.report.html import render_report
from tagsage.report.words import METRICS, share

VOID = {"meta", "link", "br", "img", "hr", "input", "wbr"}


class Page(HTMLParser):
    """Parses a page, checks that its elements nest, keeps tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
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
        if self.open and self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


@pytest.fixture(scope="module")
def render(run, tmp_path_factory):
    """Return a function that renders a page; that of the run as it is, once for all tests."""
    file = tmp_path_factory.mktemp("page") / "report.html"

    def html_of(data: ReportData) -> str:
        render_report(data, file)
        return file.read_text(encoding="utf-8")

    unchanged = html_of(run)

    def render(data: ReportData) -> tuple[str, Page]:
        html = unchanged if data is run else html_of(data)
        return html, Page(html)

    return render


def test_page_tells_the_run_in_its_first_sentence(render, run):
    _, page = render(run)
    assert "text+lists:mlp, version 3, writes the tags" in page.words
    assert "This run's best candidate, text+lists:mlp, reaches" in page.words
    assert "Trial" not in page.words
    assert "micro-F1 .667 and P@5 .302 on 20 articles it has not seen" in page.words
    assert "+.020 micro-F1 against the best candidate that reads only the text" in page.words
    assert "Version 3 gave tags to 1 of the 2 articles that had none." in page.words
    assert "New champion Promoted: there was no champion yet." in page.words


def test_champion_that_cannot_be_used_is_told_before_all_else(render, run):
    told = "The champion's files are gone, so version 1 cannot be used."
    _, page = render(dataclasses.replace(run, unusable=told, changes=None))
    assert page.words.index(told) < page.words.index(", version")
    assert "gave tags to" not in page.words


def test_assigned_tag_says_why(render, run):
    _, page = render(run)
    assert "python because of the words snake, pip." in page.words
    assert "python 91%, needed 40%" in page.words
    assert "graphs 12%, needed 28%" in page.words
    assert "graphs because of" not in page.words


def test_page_has_one_h1_and_headings_that_skip_no_level(render, run):
    _, page = render(run)
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_every_table_has_a_caption_and_scoped_headings(render, run):
    html, page = render(run)
    tables = re.findall(r"<table.*?</table>", html, flags=re.DOTALL)
    assert len(tables) == 5  # leaderboard, tags, checks, stages, quarantine
    assert all("<caption>" in table for table in tables)
    assert all(heading.get("scope") in {"col", "row"} for heading in page.all("th"))


def test_every_picture_has_words(render, run):
    _, page = render(run)
    pictures = page.all("svg")
    assert len(pictures) == 8
    assert all(picture["role"] == "img" and picture["aria-label"] for picture in pictures)


def test_page_loads_nothing_runs_nothing_and_forbids_both(render, run):
    html, page = render(run)
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
    for tag in ("script", "link", "img", "iframe", "object", "form", "base"):
        assert page.all(tag) == []
    style = "".join(re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL))
    assert "url(" not in style
    assert "@import" not in style
    linked = [str(link["href"]) for link in page.all("a")]
    assert [link for link in linked if not link.startswith("#")] == ["https://medium.example/a-1"]
    assert {name for _, attrs in page.elements for name in attrs} & {"src", "srcset"} == set()


def test_page_ids_are_unique_and_its_links_meet_them(render, run):
    _, page = render(run)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        if str(link["href"]).startswith("#"):
            assert str(link["href"])[1:] in ids


def test_scores_durations_and_missing_numbers_are_written_for_people(render, run):
    _, page = render(run)
    assert "1 min 05 s" in page.words
    assert "9.8 s" in page.words
    assert ".780" in page.words
    assert "–" in page.words  # the second candidate's LRAP is not a number
    assert "12,345" in page.words


def test_page_shows_no_password(render, run):
    html, _ = render(
        dataclasses.replace(
            run,
            settings={
                "mlflow_tracking_uri": "http://ann:hush@mlflow:5000",
                "api_key": "hush",
            },
        )
    )
    assert "hush" not in html
    assert "//***@mlflow:5000" in html


def test_cost_is_told_when_there_was_any(render, run):
    html, page = render(run)
    for words in ("text-embedding-ada-002", "1,234,567", "$0.1235"):
        assert words in page.words
    assert 'href="#cost"' in html
    html, _ = render(dataclasses.replace(run, cost={}))
    assert "#cost" not in html
    assert 'id="cost"' not in html


def test_counts_of_tokens_are_no_secrets(render, run):
    settings = {"openai_max_tokens": 50_000_123, "access_token": "hush"}
    html, page = render(dataclasses.replace(run, settings=settings))
    assert "50000123" in page.words
    assert "hush" not in html


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


def column(values: list[str]) -> pd.Series:
    return pd.Series(values, dtype=object)  # pandas' own strings refuse lone surrogates


def test_any_text_is_shown_inert_and_cut(render, run):
    examples = [
        Example(
            text,
            text,
            f"https://x.example/{text}",
            [PredictedTag(text, 0.5, assigned=True, because=text)],
        )
        for text in HOSTILE
    ]
    texts = column(HOSTILE)
    data = dataclasses.replace(
        run,
        run_id=ALL_HOSTILE,
        corpus_name=ALL_HOSTILE,
        promotion_reason=ALL_HOSTILE,
        examples=examples,
        quarantine=pd.DataFrame({"file": texts, "kind": "rejected", "reason": texts, "rows": 1}),
        per_tag=pd.DataFrame({
            "tag": texts,
            "precision": 0.5,
            "recall": 0.5,
            "f1": 0.5,
            "support": 3,
            "predicted": 3,
        }),
        graph=dict(zip(HOSTILE, HOSTILE, strict=True)),
        cost=dict(zip(HOSTILE, HOSTILE, strict=True)),
        settings=dict(zip(HOSTILE, HOSTILE, strict=True)),
        notes=HOSTILE,
        checked=Checked(
            compared_with=ALL_HOSTILE,
            checks=[
                {
                    **dict.fromkeys(("what", "measure", "before", "current"), text),
                    "value": 0.5,
                    "limit": 0.25,
                    "passed": False,
                }
                for text in HOSTILE
            ],
            failed=HOSTILE,
        ),
        leaderboard=pd.DataFrame({"candidate": texts, "micro_f1": 0.5}),
    )
    html, page = render(data)
    assert page.all("script") == []
    assert page.all("img") == []
    handlers = [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert handlers == []
    assert "{{ 7 * 7 }}" in page.words
    assert "x" * 600 not in html
    assert not re.search(r"[\x00-\x08\u202a-\u202e]", html)


def test_checks_are_told_of_with_their_numbers(render, run):
    _, page = render(run)
    assert "Compared with the corpus of the run scheduled__2026-11-21" in page.words
    assert "9.8 this run (PSI 0.412, at most 0.25)" in page.words
    assert "All checks passed." not in page.words
    checked = dataclasses.replace(run.checked, compared_with="", failed=[])
    _, page = render(dataclasses.replace(run, checked=checked))
    assert "No earlier run to compare the corpus with. All checks passed." in page.words
    _, page = render(dataclasses.replace(run, checked=None))
    assert "Checks before training" not in page.words


def test_only_web_addresses_become_links(render, run):
    addresses = [
        "javascript:alert(1)",
        "data:text/html,x",
        "//evil.example",
        "",
        "https://a.example/ onclick=x",
        'https://a.example/"x',
    ]
    examples = [Example("t", "", address, []) for address in addresses]
    _, page = render(dataclasses.replace(run, examples=examples))
    assert all(str(link["href"]).startswith("#") for link in page.all("a"))


def test_run_without_anything_still_has_a_page(render, run):
    empty = dataclasses.replace(
        run,
        leaderboard=pd.DataFrame({"candidate": []}),
        per_tag=pd.DataFrame({"tag": [], "f1": [], "support": []}),
        predicted=Predicted(0, 0, 0, "3", "text:mlp"),
        promoted=None,
        promotion_reason="",
        examples=[],
        graph={},
        graphsage_losses=[],
        quarantine=pd.DataFrame(),
        stages=pd.DataFrame(),
        settings={},
        profile=dataclasses.replace(run.profile, neighbours={}),
    )
    _, page = render(empty)
    assert "No candidate was compared" in page.words
    assert "No candidate of this run needed the graph." in page.words
    assert "Quarantine: empty." in page.words


def test_winner_that_reads_only_text_is_said_to_be_so(render, run):
    said = "nothing that uses the graph did better than text alone"
    worse = run.leaderboard.iloc[[0]].assign(micro_f1=0.0)
    board = pd.concat([run.leaderboard.iloc[[1]], worse], ignore_index=True)
    _, page = render(dataclasses.replace(run, leaderboard=board))
    assert said in page.words
    _, page = render(dataclasses.replace(run, leaderboard=run.leaderboard.iloc[[1]]))
    assert said not in page.words


def test_the_gain_is_over_the_best_candidate_on_text_be_it_of_words_or_of_vectors(render, run):
    words = run.leaderboard.iloc[[1]].assign(candidate="words:linear", micro_f1=0.66)
    board = pd.concat([run.leaderboard, words]).sort_values("micro_f1", ascending=False)
    _, page = render(dataclasses.replace(run, leaderboard=board.reset_index(drop=True)))
    assert "+.007 micro-F1 against the best candidate that reads only the text" in page.words


def test_predictions_of_an_earlier_runs_champion_are_said_to_be_its(render, run):
    by_champion = dataclasses.replace(run.predicted, version="2", candidate="text:mlp")
    _, page = render(dataclasses.replace(run, predicted=by_champion))
    assert "text:mlp, version 2, writes the tags" in page.words
    assert "This run's best candidate, text+lists:mlp, reaches" in page.words
    assert "Version 2 gave tags to" in page.words
    assert "with the best tags of text:mlp, version 2." in page.words


def test_trial_is_said_to_be_one_at_the_top(render, run):
    _, page = render(dataclasses.replace(run, trial=True))
    assert "Trial The candidates of this run are not the configured ones." in page.words
    assert page.words.index("Trial The") < page.words.index("Leaderboard")


def test_corpus_without_lists_says_so(render, run):
    profile = dataclasses.replace(
        run.profile,
        counts={**run.profile.counts, "lists": 0},
        list_sizes={},
        list_size_quantiles={},
    )
    _, page = render(dataclasses.replace(run, profile=profile))
    assert "There is no list, so only the text can tell." in page.words


def test_challenger_that_was_not_promoted_is_called_challenger(render, run):
    data = dataclasses.replace(run, promoted=False, promotion_reason="Not promoted: too weak.")
    _, page = render(data)
    assert "Challenger Not promoted: too weak." in page.words


def test_many_tags_show_both_ends_and_fold_the_whole_table(render, run):
    many = pd.DataFrame({
        "tag": [f"tag{n:03}" for n in range(50)],
        "precision": 0.5,
        "recall": 0.5,
        "f1": [n / 50 for n in range(50)],
        "support": 10,
        "predicted": 10,
    })
    html, page = render(dataclasses.replace(run, per_tag=many))
    assert "The 10 tags told best" in page.words
    assert "The 10 hardest tags" in page.words
    assert "All 50 target tags" in page.words
    assert html.count("tag025") == 1
    assert html.count("tag049") == 2


def test_every_metric_of_the_leaderboard_is_explained(render, run):
    _, page = render(run)
    for metric in METRICS:
        assert metric.meaning in page.words


def test_report_replaces_an_older_one_and_leaves_nothing_else(tmp_path, run):
    (tmp_path / "report.html").write_text("old")
    render_report(run, tmp_path / "report.html")
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]
    assert "old" not in (tmp_path / "report.html").read_text(encoding="utf-8")[:10]


def test_report_of_the_same_run_is_the_same_bytes(tmp_path, run):
    render_report(run, tmp_path / "1.html")
    render_report(run, tmp_path / "2.html")
    assert (tmp_path / "1.html").read_bytes() == (tmp_path / "2.html").read_bytes()


def test_stages_of_one_name_are_added_up(render, run):
    stages = pd.DataFrame({
        "stage": ["split", "candidate", "candidate"],
        "seconds": [1.0, 2.0, 4.0],
    })
    _, page = render(dataclasses.replace(run, stages=stages))
    assert "candidate × 2" in page.words
    assert "6.0 s" in page.words
    assert "Stages, 7.0 s of work" in page.words


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


def test_promotion_tells_the_gain_and_each_guard(render, run):
    check = {"champion": None, "limit": 1000.0, "about": "ms"}
    checks = [
        {**check, "name": "latency", "value": 1234.5, "passed": False},
        {**check, "name": "size", "value": 0.5, "passed": True, "champion": 1.25},
        {**check, "name": "calibration", "value": None, "passed": True},
    ]
    gain = {"challenger": 0.7, "champion": 0.65, "value": 0.05, "low": 0.04, "high": 0.06}
    data = dataclasses.replace(run, checks=checks, gain={**gain, "articles": 2000, "tags": 50})
    _, page = render(data)
    assert "On 2,000 test articles and 50 target tags that both have: micro-F1 .700" in page.words
    assert "the gain in points is +5.0 [+4.0, +6.0]." in page.words
    assert "latency1,234–1,000brokenms" in page.words
    assert "size0.51.251,000yesms" in page.words
    assert "calibration––1,000not measuredms" in page.words


def test_hostile_words_of_a_guard_are_inert(render, run):
    check = {"champion": None, "limit": 1.0, "value": 2.0, "passed": False}
    hostile = [{**check, "name": ALL_HOSTILE, "about": ALL_HOSTILE}]
    html, _ = render(dataclasses.replace(run, checks=hostile))
    assert "<script" not in html
