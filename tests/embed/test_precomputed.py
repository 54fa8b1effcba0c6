"""Vectors of a CSV file: aligned by URL, and what cannot be read is told with its line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.corpus.keys import article_key
from tagsage.embed import precomputed as module
from tagsage.errors import TagsageError
from tagsage.settings import Settings

ARTICLES = pd.DataFrame({"key": [article_key(f"https://a.example/{c}") for c in "abcd"]})


def row(letter: str, vector: object) -> str:
    quoted = json.dumps(vector).replace('"', '""')
    return f'https://a.example/{letter},"{quoted}"\n'


def read(folder: Path, *lines: str | bytes, share: float = 1.0):
    """Return what a file of these lines says, and the vectors."""
    path = folder / "v.csv"
    path.write_bytes(b"".join(line.encode() if isinstance(line, str) else line for line in lines))
    settings = Settings(embedder="precomputed", vectors=str(path), max_rejected_share=share)
    made = module.embed_corpus(ARTICLES, settings, out=folder / "vectors.npy", run_id="r")
    return made, np.load(folder / "vectors.npy")


def told(made) -> list[tuple[int, str, str]]:
    return list(made.quarantine[["line", "kind", "reason"]].itertuples(index=False, name=None))


def test_vectors_are_aligned_with_the_articles_by_key(tmp_path):
    second = 'http://A.example/a/?utm=x#y,"[3, -4e-1]"\n'
    made, vectors = read(tmp_path, row("c", [1, 2.5]), second)
    np.testing.assert_allclose(vectors, [[3, -0.4], [0, 0], [1, 2.5], [0, 0]], rtol=1e-6)
    assert vectors.dtype == np.float32
    assert (made.dimensions, made.embedder) == (2, None)
    assert made.counts == {"articles_without_vector": 2}
    assert told(made) == []


@pytest.mark.parametrize("header", ["story,embedding\n", "\ufeffurl,vector\n", "0,1\n"])
def test_header_is_not_a_row(header, tmp_path):
    made, vectors = read(tmp_path, header, row("a", [1]))
    assert (vectors[0, 0], told(made)) == (1, [])


def test_gzip_is_read_whatever_the_name(tmp_path):
    assert read(tmp_path, gzip.compress(row("a", [7]).encode()))[1][0, 0] == 7


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('https://a.example/b,"{}"', module.NOT_A_LIST),
        ('https://a.example/b,"[]"', module.NOT_A_LIST),
        ('https://a.example/b,"[1, 2"', module.NOT_A_LIST),
        ('https://a.example/b,"[[1, 2]]"', module.NOT_A_LIST),
        ('https://a.example/b,"[1, null]"', module.NOT_A_LIST),
        ('https://a.example/b,"[1, true]"', module.NOT_A_LIST),
        ('https://a.example/b,"[""1"", ""2""]"', module.NOT_A_LIST),
        (f'https://a.example/b,"{"[" * 3000}"', module.NOT_A_LIST),
        (f'https://a.example/b,"[1, {"9" * 5000}]"', module.NOT_A_LIST),
        (f'https://a.example/b,"[1, {"9" * 400}]"', module.NOT_FINITE),
        ("https://a.example/b,", module.NOT_A_LIST),
        ('https://a.example/b,"[1, NaN]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, 1e39]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, 1e999]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, 2, 3]"', module.WRONG_LENGTH),
        ('https://a.example/zzz,"[1, 2]"', module.UNKNOWN_URL),
        ('ftp://a.example/b,"[1, 2]"', module.NOT_A_URL),
        ("https://a.example/b", "1 fields instead of 2"),
        ("https://a.example/b,[1,2]", "3 fields instead of 2"),
    ],
    ids=lambda value: value[:40],
)
def test_bad_row_is_rejected_with_its_line_and_reason_and_the_others_stay(text, reason, tmp_path):
    made, vectors = read(tmp_path, "s,v\n", row("a", [1, 2]), f"{text}\n", row("c", [3, 4]))
    assert told(made) == [(3, "rejected", reason)]
    assert vectors[[0, 2]].tolist() == [[1, 2], [3, 4]]
    assert not vectors[[1, 3]].any()
    assert made.quarantine["content"].str.len().max() <= 500


def test_too_many_bad_rows_end_it_and_rows_of_other_articles_do_not_count(tmp_path):
    lines = [row("a", [1]), row("b", "x"), row("zz", [1]), row("yy", [1])]
    with pytest.raises(TagsageError, match=r"1 of 4 rows were rejected, .*; the first is line 2:"):
        read(tmp_path, *lines, share=0.2)
    assert read(tmp_path, *lines, share=0.25)[1][0, 0] == 1


def test_commonest_length_of_the_first_rows_decides(tmp_path):
    made, vectors = read(tmp_path, row("a", [1]), row("b", [1, 2]), row("c", [3, 4]))
    assert vectors.shape == (4, 2)
    assert told(made) == [(1, "rejected", module.WRONG_LENGTH)]


def test_of_several_rows_for_an_article_the_last_counts(tmp_path):
    made, vectors = read(tmp_path, *(row(c, [n]) for n, c in enumerate("abaa", 1)))
    assert vectors[0, 0] == 4
    assert told(made) == [(n, "superseded", module.LATER_ROW) for n in (1, 3)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"holds no vector of any article \(it is empty\); give a CSV of URL and JSON list"),
        (b"story,vector\n", "it is empty"),
        (b"https://b.example/1,[1]\nx y,[1]\n", r"no article has this URL \(1 rows\); not an http"),
        ("story,vector\nhttps://a.example/a,[1]\n".encode("utf-16"), "UTF-8"),
    ],
)
def test_file_without_any_matching_vector_is_refused(content, message, tmp_path):
    with pytest.raises(TagsageError, match=message):
        read(tmp_path, content)


def test_missing_file_is_told_with_its_name(tmp_path):
    settings = Settings(embedder="precomputed", vectors=str(tmp_path / "nowhere.csv"))
    with pytest.raises(TagsageError, match=r"There is no file .*nowhere\.csv; name a CSV"):
        module.depends_on(settings)


def test_file_is_known_by_its_content_also_behind_an_fsspec_url(tmp_path):
    read(tmp_path, row("a", [1]))
    names = [f"file://{tmp_path}/v.csv", str(tmp_path / "v.csv")]
    first, second = (
        module.depends_on(Settings(embedder="precomputed", vectors=name)) for name in names
    )
    assert first == second
    (tmp_path / "v.csv").write_text(row("a", [2]))
    assert module.depends_on(Settings(embedder="precomputed", vectors=names[1])) != first


@given(content=st.text(alphabet='[]",1.eE-\n\rahtps:/x\0', max_size=80))
def test_whatever_the_file_holds_there_is_a_result_or_one_plain_sentence(content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("precomputed")
    try:
        _, vectors = read(folder, content, "\n", row("a", [1]))
    except TagsageError:
        return
    assert np.isfinite(vectors).all()
