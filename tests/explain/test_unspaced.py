"""Titles in languages written without blanks: learnt, and explained by their words."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest

from tagsage.embed.words import without_word
from tagsage.explain.explain import explain
from tagsage.explain.labelled_corpus import LabelledCorpus
from tagsage.store.snapshot import Snapshot
from tests.explain.explained_world import TAGS, N, fit, snapshot

# Chinese, Japanese, Thai: what a title may be about, in the order of TAGS, and what says nothing.
TOPICS = (
    ("烤面包", "煎饼", "味噌汁", "パン", "ขนมปัง", "ก๋วยเตี๋ยว"),
    ("自行车", "车轮", "ペダル", "サイクル", "จักรยาน", "โซ่"),
    ("帆船", "海港", "ヨット", "港町", "เรือใบ", "ท่าเรือ"),
)
FILLERS = (
    ("我们的", "今天", "周末", "新手", "如何学习", "关于"),
    ("初めての", "毎日", "楽しい", "入門", "について", "私の"),
    ("สุดสัปดาห์", "วันนี้", "เรียนรู้", "มือใหม่", "ของฉัน", "ทุกวัน"),
)


def titled(seed: int) -> tuple[Snapshot, np.ndarray]:
    """Return articles with titles of one clause each, and their topics."""
    rng = np.random.default_rng(seed)
    corpus = snapshot(seed)
    topic = rng.integers(0, 3, N)
    titles = []
    for one in topic:
        language = rng.integers(0, 3)
        about = TOPICS[one][2 * language + rng.integers(0, 2)]
        before, after = rng.choice(FILLERS[language], 2)
        titles.append(f"{before}{about}{after}")
    tags = [[TAGS[one]] if place % 3 else [] for place, one in enumerate(topic)]
    articles = corpus.articles.assign(title=titles, subtitle="", tags=tags)
    return dataclasses.replace(corpus, articles=articles), topic


@pytest.fixture(scope="module", params=["words:linear", "text:ovr_logistic"])
def candidate(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def tagger(candidate, tmp_path_factory):
    return fit(tmp_path_factory.mktemp("unspaced"), titled(0)[0], candidate, dimensions=64)[0]


def scores(tagger, titles: list[str]) -> np.ndarray:
    X = tagger.features.transform(tagger.articles_of(pd.DataFrame({"title": titles})))
    return tagger.candidate.predict_proba(X, np.arange(len(X)))


def test_clauses_are_learnt(tagger):
    corpus, topic = titled(1)
    best = scores(tagger, corpus.articles["title"].tolist()).argmax(axis=1)
    # By chance a third.
    assert (best == topic).mean() > 0.95


def test_words_that_explain_a_tag_are_those_that_say_its_topic(tagger):
    corpus, topic = titled(0)
    labelled, titles = LabelledCorpus.of(corpus, TAGS, None), corpus.articles["title"].tolist()
    rows = np.arange(0, N, 10)
    checked = 0
    for row, one in zip(rows, explain(tagger, labelled, rows, topic[rows]), strict=True):
        (about,) = [word for word in TOPICS[topic[row]] if word in titles[row]]
        strongest = one.words[0]
        assert set(strongest.word) & set(about)
        if not one.terms:
            without = scores(tagger, [without_word(titles[row], strongest.word)])
            assert strongest.drop == pytest.approx(one.score - without[0, topic[row]], abs=3e-6)
        checked += 1
    assert checked == len(rows)
