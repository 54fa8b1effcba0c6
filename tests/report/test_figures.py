"""The figures: words, colours by role, the same bytes every time, nothing from outside."""

import re
import xml.etree.ElementTree as ET
from itertools import combinations, product

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path

from tagsage.report import figures
from tagsage.report.eda import CorpusProfile
from tagsage.report.picture import ROLES, save_pictures
from tagsage.report.word_cloud import word_cloud

EMPTY = CorpusProfile(
    counts=dict.fromkeys(
        (
            "articles",
            "tagged",
            "untagged",
            "stubs",
            "authors",
            "lists",
            "memberships",
            "tags",
            "target_tags",
            "isolated",
            "isolated_tagged",
        ),
        0,
    ),
    tags_per_article={},
    list_sizes={},
    lists_per_article={},
    list_size_quantiles={},
    tag_articles=[],
    neighbours={},
)


def all_pictures(profile: CorpusProfile) -> list:
    per_tag = pd.DataFrame({"tag": ["a", "b"], "f1": [0.2, 0.8], "support": [3, 300]})
    board = pd.DataFrame({"candidate": ["text:mlp"], "micro_f1": [0.6], "macro_f1": [0.4]})
    return [
        *figures.corpus_pictures(profile),
        figures.loss_curve([3.0, 2.0, 1.5]),
        figures.f1_by_frequency(per_tag),
        figures.leaderboard_bars(board),
    ]


@pytest.fixture(scope="module")
def pictures() -> list:
    profile = CorpusProfile(
        counts={**EMPTY.counts, "articles": 9, "tagged": 4, "untagged": 5, "lists": 3},
        tags_per_article={0: 5, 1: 3, 2: 1},
        list_sizes={2: 2, 5: 1},
        lists_per_article={0: 1, 1: 7, 2: 1},
        list_size_quantiles={"50%": 2.0, "mean": 3.0, "max": 5.0},
        tag_articles=[("python", 4), ("a <b> & 'c'", 1)],
        neighbours={0: 1, 3: 8},
    )
    return all_pictures(profile)


@pytest.fixture(scope="module")
def svgs(pictures) -> list[str]:
    return [picture.svg() for picture in pictures]


def test_every_picture_is_a_well_formed_svg_with_words_for_those_who_do_not_see(pictures, svgs):
    for picture, svg in zip(pictures, svgs, strict=True):
        root = ET.fromstring(svg)
        assert root.tag == "svg"
        assert root.get("role") == "img"
        assert root.get("aria-label") == picture.alt
        assert picture.alt.endswith(".")


def test_every_svg_takes_its_colours_from_the_page(svgs):
    for svg in svgs:
        assert not re.findall(r"#[0-9a-f]{6}\b", svg)
        assert "var(--" in svg


def test_svgs_of_one_page_share_no_id(svgs):
    page = "".join(svgs)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)


def test_no_svg_names_an_address(svgs):
    assert not any("http" in svg for svg in svgs)


def test_pictures_drawn_twice_are_the_same_bytes(pictures, svgs, tmp_path):
    assert [picture.svg() for picture in pictures] == svgs
    one = save_pictures(pictures, tmp_path / "1")
    two = save_pictures(pictures, tmp_path / "2")
    assert list(one) == list(two)
    for name, file in one.items():
        assert file.read_bytes() == two[name].read_bytes(), name


def test_png_leaves_the_picture_as_it_was(profile, tmp_path):
    picture = figures.tags_per_article(profile)
    before = picture.svg()
    picture.save_png(tmp_path)
    assert picture.svg() == before


def test_drawing_leaves_matplotlib_settings_alone(profile):
    before = dict(mpl.rcParams)
    all_pictures(profile)
    assert dict(mpl.rcParams) == before


def test_pictures_of_an_empty_corpus_say_that_there_is_nothing(tmp_path):
    pictures = [*figures.corpus_pictures(EMPTY), figures.neighbours(EMPTY), figures.loss_curve([])]
    none = pd.DataFrame({"tag": [], "f1": [], "support": []})
    pictures.append(figures.f1_by_frequency(none))
    save_pictures(pictures, tmp_path)
    alts = {picture.name: picture.alt for picture in pictures}
    assert alts["list_sizes"] == "No list in this corpus."
    assert alts["word_cloud"] == "No target tag."
    assert alts["graphsage_loss"] == "GraphSAGE was not trained."
    for picture in pictures:
        ET.fromstring(picture.svg())


@pytest.mark.parametrize(
    "tag", ["$x$", "a<b>&\"'", "</svg><script>", "日本語", "🎉", "\\frac", "%"]
)
def test_any_tag_can_be_drawn(tag, tmp_path):
    board = pd.DataFrame({"candidate": [tag], "micro_f1": [0.6], "macro_f1": [0.4]})
    for picture in (word_cloud([(tag, 3)], seed=0), figures.leaderboard_bars(board)):
        picture.save_png(tmp_path)
        svg = picture.svg()
        ET.fromstring(svg)
        assert "<script" not in svg


def test_word_cloud_is_bigger_for_the_more_frequent_tag():
    picture = word_cloud([("mmm", 100), ("nnn", 1)], seed=0)
    first, second = picture.make().axes[0].patches
    assert first.get_path().get_extents().height > second.get_path().get_extents().height


def test_word_cloud_words_do_not_overlap():
    picture = word_cloud([(f"tag{number}", 100 - number) for number in range(40)], seed=1)
    patches = picture.make().axes[0].patches
    words = [[Path(line) for line in patch.get_path().to_polygons()] for patch in patches]
    assert len(words) > 20
    for word, other in combinations(words, 2):
        for line, other_line in product(word, other):
            assert not line.intersects_path(other_line, filled=False)


def test_word_cloud_leaves_out_tags_that_no_article_has():
    assert word_cloud([("never", 0), (" ", 4)], seed=0).alt == "No target tag."


def test_tags_per_article_gathers_the_many_in_the_last_bar(profile):
    many = CorpusProfile(**{**vars(profile), "tags_per_article": {0: 5, 9: 1, 10: 2, 60: 3}})
    heights = [bar.get_height() for bar in figures.tags_per_article(many).make().axes[0].patches]
    assert heights == [5, 0, 0, 0, 0, 0, 0, 0, 0, 1, 5]


def test_heavy_tails_are_thinned_to_means_of_bins_that_keep_the_total():
    random = np.random.default_rng(0)
    counts = {value: int(random.integers(1, 5)) for value in range(1, 1001)}
    values, numbers = figures._thinned(counts)
    assert len(values) <= figures.MAX_DOTS
    assert values.min() == 1
    assert numbers.min() >= 1
    assert numbers.max() <= 4


def test_few_values_are_drawn_exactly():
    values, numbers = figures._thinned({0: 7, 1: 5, 30: 2})
    assert values.tolist() == [1, 30]
    assert numbers.tolist() == [5, 2]


def test_roles_are_different_colours_so_that_each_stands_for_one_variable():
    assert len(set(ROLES.values())) == len(ROLES)
