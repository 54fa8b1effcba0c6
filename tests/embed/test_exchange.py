"""Vectors out of a cache and into another: nothing lost, nothing overwritten, bad rows told."""

import csv
import gzip
import json
import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.embed import exporting, importing
from tagsage.embed.cache import VectorCache
from tagsage.embed.exporting import export_csv, export_parquet
from tagsage.embed.given import (
    NOT_A_LIST,
    NOT_FINITE,
    NOT_TWO_FIELDS,
    UNKNOWN_URL,
    WRONG_LENGTH,
    import_vectors,
)
from tagsage.embed.importing import import_csv, import_parquet, is_parquet
from tagsage.embed.text import EMPTY_HASH, article_texts, text_hashes
from tagsage.errors import TagsageError

ADA = "text-embedding-ada-002"
NUMBERS = st.floats(width=32, allow_nan=False, allow_infinity=False)


def articles_of(*titles):
    """Articles whose key is their place; a title of None makes a stub."""
    return pd.DataFrame({
        "key": [f"a.example/{i}" for i in range(len(titles))],
        "url": [f"https://a.example/{i}" for i in range(len(titles))],
        "title": [title or "" for title in titles],
        "subtitle": ["" for _ in titles],
        "is_stub": [title is None for title in titles],
    })


def kept(cache, texts):
    out = np.zeros((len(texts), cache.dimensions), np.float32)
    assert cache.gather(text_hashes(texts), out) == 0
    return out


def filled(folder, vectors, model_id=ADA):
    """A cache with these vectors by text."""
    array = np.array(list(vectors.values()), np.float32)
    cache = VectorCache(folder, model_id, array.shape[1])
    cache.put(text_hashes(list(vectors)), array)
    return cache


def counts(report):
    return report.rows, report.added, report.known, report.differing, len(report.quarantine)


def rejected(report):
    return list(report.quarantine[["line", "reason"]].itertuples(index=False, name=None))


def write_csv(path, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


# -- Parquet ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_whatever_a_cache_holds_arrives_to_the_last_bit(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exchange")
    dimensions = data.draw(st.integers(1, 4))
    texts = data.draw(st.lists(st.text(min_size=1, max_size=3), min_size=1, unique=True))
    row = st.lists(NUMBERS, min_size=dimensions, max_size=dimensions).filter(any)
    vectors = np.array([data.draw(row) for _ in texts], np.float32)
    model_id = data.draw(st.sampled_from([ADA, "mödel/ü:latest", "\udc80"]))
    cache = VectorCache(folder / "a", model_id, dimensions)
    cache.put(text_hashes(texts), vectors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "BLOCK_ROWS", 2)
        patch.setattr(importing, "BLOCK_ROWS", 3)
        assert export_parquet(cache, folder / "v.parquet") == len(texts)
        report = import_parquet(str(folder / "v.parquet"), folder / "b")
    assert (report.model_id, report.dimensions) == (model_id, dimensions)
    assert counts(report) == (len(texts), len(texts), 0, 0, 0)
    arrived = kept(VectorCache(folder / "b", model_id, dimensions), texts)
    assert arrived.tobytes() == vectors.tobytes()


def test_an_export_tells_hash_vector_model_and_dimensions_and_no_text(tmp_path):
    cache = filled(tmp_path / "a", {"a secret text": [1, 2], "t": [3, 4]})
    export_parquet(cache, tmp_path / "v.parquet")
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.metadata[b"tagsage.model_id"] == ADA.encode()
    assert table.schema.metadata[b"tagsage.dimensions"] == b"2"
    found = dict(zip(table["hash"].to_pylist(), table["vector"].to_pylist(), strict=True))
    hashes = text_hashes(["a secret text", "t"]).tolist()
    assert found == {hashes[0]: [1, 2], hashes[1]: [3, 4]}
    assert b"secret" not in (tmp_path / "v.parquet").read_bytes()
    assert [file.name for file in tmp_path.iterdir() if file.name != "a"] == ["v.parquet"]


def test_an_import_keeps_what_is_there_and_counts_what_differs(tmp_path):
    export_parquet(filled(tmp_path / "a", {"s": [1, 1], "t": [2, 2], "u": [3, 3]}), tmp_path / "v")
    filled(tmp_path / "b", {"s": [1, 1], "t": [9, 9]})
    report = import_parquet(str(tmp_path / "v"), tmp_path / "b")
    assert counts(report) == (3, 1, 1, 1, 0)
    cache = VectorCache(tmp_path / "b", ADA, 2)
    assert kept(cache, ["s", "t", "u"]).tolist() == [[1, 1], [9, 9], [3, 3]]
    assert counts(import_parquet(str(tmp_path / "v"), tmp_path / "b")) == (3, 0, 2, 1, 0)


def parquet(path, rows, **metadata):
    """A file as export writes it, with rows of one's own."""
    kind = pa.list_(pa.float32(), 2)
    about = {
        "tagsage.format": "1",
        "tagsage.model_id": "m",
        "tagsage.dimensions": "2",
    } | {f"tagsage.{name}": value for name, value in metadata.items()}
    schema = pa.schema([("hash", pa.binary(32)), ("vector", kind)], metadata=about)
    columns = {"hash": [each for each, _ in rows], "vector": [each for _, each in rows]}
    pq.write_table(pa.table(columns, schema=schema), path)
    return str(path)


def test_bad_rows_of_an_export_are_rejected_with_row_and_reason(tmp_path):
    good, other = text_hashes(["s", "t"]).tolist()
    rows = [
        (good, [1, 2]),
        (b"?" * 32, [1, 2]),
        (None, [1, 2]),
        (other, [1, float("nan")]),
        (other, [1, None]),
        (other, [0, 0]),
        (EMPTY_HASH, [1, 2]),
        (other, [3, 4]),
        (good, [1, 2]),
        (good, [5, 6]),
    ]
    report = import_parquet(parquet(tmp_path / "v", rows), tmp_path / "b")
    assert counts(report) == (10, 2, 1, 1, 6)
    assert rejected(report) == [
        (2, importing.NOT_A_HASH),
        (3, importing.NOT_A_HASH),
        (4, NOT_FINITE),
        (5, NOT_FINITE),
        (6, importing.ZERO),
        (7, importing.NO_TEXT),
    ]
    assert kept(VectorCache(tmp_path / "b", "m", 2), ["s", "t"]).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "2"}, r"no export of `tagsage vectors export` \(it has version 2\)"),
        ({"dimensions": "3"}, r"its column vector is fixed_size_list.*\[2\], not .*\[3\]"),
        ({"dimensions": "x"}, "no export of `tagsage vectors export`"),
    ],
)
def test_a_file_that_is_no_such_export_is_refused(change, message, tmp_path):
    path = parquet(tmp_path / "v", [(text_hashes(["s"])[0], [1, 2])], **change)
    with pytest.raises(TagsageError, match=message):
        import_parquet(path, tmp_path / "b")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other")
    with pytest.raises(TagsageError, match=r"is no export of .*; give one of these"):
        import_parquet(str(tmp_path / "other"), tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_vectors_of_another_model_are_refused_when_the_model_is_named(tmp_path):
    export_parquet(filled(tmp_path / "a", {"s": [1, 1]}), tmp_path / "v")
    with pytest.raises(TagsageError, match=f"holds vectors of {ADA}, not of m; leave --model"):
        import_parquet(str(tmp_path / "v"), tmp_path / "b", model_id="m")


@pytest.mark.parametrize("how", ["cut off", "a bit flipped"])
def test_a_damaged_export_is_told(how, tmp_path):
    chance = np.random.default_rng(1)
    texts = {f"t{i}": chance.standard_normal(64) for i in range(500)}
    path = tmp_path / "v.parquet"
    export_parquet(filled(tmp_path / "a", texts), path)
    raw = bytearray(path.read_bytes())
    if how == "cut off":
        del raw[-100:]
    else:
        raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(TagsageError, match=r"cannot be read to its end .* is damaged: copy it"):
        import_parquet(str(path), tmp_path / "b")


def test_a_failed_export_leaves_an_earlier_file_alone(tmp_path, monkeypatch):
    cache = filled(tmp_path / "a", {"s": [1, 1]})
    export_parquet(cache, tmp_path / "v")
    before = (tmp_path / "v").read_bytes()
    monkeypatch.setattr(VectorCache, "gather", lambda self, hashes, out: 1)
    with pytest.raises(TagsageError, match=f"Vectors of {ADA} went while they were exported"):
        export_parquet(cache, tmp_path / "v")
    assert (tmp_path / "v").read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "v"]


def test_an_empty_cache_and_a_missing_file_are_told(tmp_path):
    with pytest.raises(TagsageError, match=f"no vector of {ADA} to export; see `tagsage vectors"):
        export_parquet(VectorCache(tmp_path, ADA, 2), tmp_path / "v")
    with pytest.raises(TagsageError, match=r"Cannot open the vectors .*nowhere.* check the name"):
        is_parquet(str(tmp_path / "nowhere"))
    with pytest.raises(TagsageError, match="no vector of"):
        export_csv(VectorCache(tmp_path, ADA, 2), articles_of("s", None), tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


# -- CSV -------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_csv_of_any_float32_comes_back_the_same(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exchange")
    rows = data.draw(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=1, max_size=6))
    vectors = np.array(rows, np.float32)
    # Given vectors may be zero; those of a model are not.
    vectors[~vectors.any(axis=1), 0] = 1
    articles = articles_of(*(f"t{i}" for i in range(len(rows))))
    cache = VectorCache(folder / "a", ADA, 3)
    cache.put(text_hashes(articles["title"].tolist()), vectors)
    name = data.draw(st.sampled_from(["v.csv", "v.csv.gz"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "CSV_ROWS", 2)
        assert export_csv(cache, articles, folder / name) == (len(rows), 0)
    report = import_csv(str(folder / name), articles, folder / "b", model_id=ADA, dimensions=None)
    assert counts(report) == (len(rows), len(rows), 0, 0, 0)
    arrived = kept(VectorCache(folder / "b", ADA, 3), articles["title"].tolist())
    # JSON has one zero.
    np.testing.assert_array_equal(arrived, vectors)
    # And the embedder `none` reads the same file.
    np.testing.assert_array_equal(import_vectors(str(folder / name), articles).vectors, vectors)


def test_a_csv_has_url_and_json_list_of_the_articles_with_a_vector(tmp_path):
    articles = articles_of("s", None, "t", "unknown", "s")
    articles.loc[2, "url"] = 'https://a.example/"odd",2'
    cache = filled(tmp_path / "a", {"s": [1, -0.5], "t": [0.1, 1e-30], "": [9, 9], "gone": [1, 1]})
    assert export_csv(cache, articles, tmp_path / "v.csv.gz") == (3, 2)
    with gzip.open(tmp_path / "v.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = [(url, json.loads(text)) for url, text in csv.reader(file)]
    assert rows == [
        ("https://a.example/0", [1, -0.5]),
        ('https://a.example/"odd",2', [0.1, 1e-30]),
        ("https://a.example/4", [1, -0.5]),
    ]


def test_the_studys_csv_counts_for_the_exact_texts_of_the_articles(tmp_path):
    articles = articles_of("s", "t", None, "s", "v")
    articles.loc[1, "subtitle"] = "and more"
    path = write_csv(
        tmp_path / "v.csv",
        ["story", "embedding"],
        ["https://a.example/0", "[1, 2]"],
        ["https://A.example/1/?source=x", "[3, 4]"],
        ["https://a.example/2", "[5, 6]"],
        ["https://a.example/3", "[7, 8]"],
        ["https://a.example/4", "[0, 0.0]"],
        ["https://a.example/4", "[1]"],
        ["https://a.example/9", "[1, 2]"],
        ["https://a.example/4", "[1, x]"],
        ["https://a.example/0", "[1, 2]"],
        ["https://a.example/4"],
    )
    report = import_csv(path, articles, tmp_path / "b", model_id=ADA, dimensions=2)
    # The text of the fourth article is that of the first, which came before; then it came again.
    assert counts(report) == (10, 2, 1, 1, 6)
    assert sorted(rejected(report)) == [
        (4, importing.NO_TEXT),
        (6, importing.ZERO),
        (7, WRONG_LENGTH),
        (8, UNKNOWN_URL),
        (9, NOT_A_LIST),
        (11, NOT_TWO_FIELDS),
    ]
    assert article_texts(articles)[1] == "t and more"
    cache = VectorCache(tmp_path / "b", ADA, 2)
    assert kept(cache, ["s", "t and more"]).tolist() == [[1, 2], [3, 4]]
    again = import_csv(path, articles, tmp_path / "b", model_id=ADA, dimensions=2)
    assert counts(again) == (10, 0, 3, 1, 6)


def test_a_long_csv_is_put_in_parts_and_killed_ones_go_on(tmp_path, monkeypatch):
    monkeypatch.setattr(importing, "BLOCK_ROWS", 7)
    monkeypatch.setattr("tagsage.embed.given.BATCH_ROWS", 3)
    articles = articles_of(*(f"t{i}" for i in range(40)))
    rows = [[url, f"[{i + 1}, 1]"] for i, url in enumerate(articles["url"])]
    path = write_csv(tmp_path / "v.csv", *rows)
    put, calls = VectorCache.put, []

    def killed(self, hashes, vectors):
        if len(calls) == 2:
            raise KeyboardInterrupt
        calls.append(len(hashes))
        put(self, hashes, vectors)

    monkeypatch.setattr(VectorCache, "put", killed)
    with pytest.raises(KeyboardInterrupt):
        import_csv(path, articles, tmp_path / "b", model_id=ADA, dimensions=2)
    monkeypatch.setattr(VectorCache, "put", put)
    report = import_csv(path, articles, tmp_path / "b", model_id=ADA, dimensions=2)
    assert calls == [9, 9]
    assert counts(report) == (40, 22, 18, 0, 0)
    found = kept(VectorCache(tmp_path / "b", ADA, 2), articles["title"].tolist())
    assert found[:, 0].tolist() == list(range(1, 41))


def test_vectors_of_another_length_than_the_models_are_refused_before_any_is_put(tmp_path):
    path = write_csv(tmp_path / "v.csv", ["https://a.example/0", "[1, 2]"])
    with pytest.raises(
        TagsageError, match=f"holds vectors of 2 numbers, but {ADA} has 1,536; name the model"
    ):
        import_csv(path, articles_of("s"), tmp_path / "b", model_id=ADA, dimensions=1536)
    assert not (tmp_path / "b").exists()


def test_a_csv_of_other_articles_is_refused(tmp_path):
    path = write_csv(tmp_path / "v.csv", ["https://b.example/0", "[1, 2]"])
    with pytest.raises(TagsageError, match="holds no vector of any article: no article has this"):
        import_csv(path, articles_of("s"), tmp_path / "b", model_id=ADA, dimensions=2)


def test_the_format_is_told_by_content_not_by_name(tmp_path):
    export_parquet(filled(tmp_path / "a", {"s": [1, 1]}), tmp_path / "v.parquet")
    shutil.copy(tmp_path / "v.parquet", tmp_path / "v.csv")
    assert is_parquet(str(tmp_path / "v.csv"))
    assert not is_parquet(write_csv(tmp_path / "w.parquet", ["https://a.example/0", "[1]"]))
