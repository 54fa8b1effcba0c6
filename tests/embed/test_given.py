import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tagsage.corpus.keys import article_key
from tagsage.embed import given as module
from tagsage.embed.given import import_vectors
from tagsage.errors import TagsageError

ARTICLES = pd.DataFrame({"key": [article_key(f"https://a.example/{c}") for c in "abcd"]})


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)


def row(letter: str, vector: object) -> str:
    quoted = json.dumps(vector).replace('"', '""')
    return f'https://a.example/{letter},"{quoted}"'


def told(frame: pd.DataFrame) -> list[tuple[int, str, str]]:
    return list(frame[["line", "kind", "reason"]].itertuples(index=False, name=None))


def test_vectors_are_aligned_with_the_articles_by_key(tmp_path):
    path = write(tmp_path / "v.csv", row("c", [1, 2.5]), 'http://A.example/a/?utm=x#y,"[3, -4e-1]"')
    result = import_vectors(path, ARTICLES)
    np.testing.assert_allclose(result.vectors, [[3, -0.4], [0, 0], [1, 2.5], [0, 0]], rtol=1e-6)
    assert result.vectors.dtype == np.float32
    assert result.found.tolist() == [True, False, True, False]
    assert result.rows == 2
    assert result.quarantine.empty


def test_vectors_are_written_to_a_memory_mapped_file(tmp_path):
    out = tmp_path / "vectors.npy"
    result = import_vectors(write(tmp_path / "v.csv", row("b", [1, 2])), ARTICLES, out=out)
    assert isinstance(result.vectors, np.memmap)
    np.testing.assert_array_equal(np.load(out), [[0, 0], [1, 2], [0, 0], [0, 0]])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["v.csv", "vectors.npy"]


@pytest.mark.parametrize("header", ["story,embedding", "\ufeffurl,vector", "0,1", "embedding"])
def test_a_header_is_not_a_row(header, tmp_path):
    result = import_vectors(write(tmp_path / "v.csv", header, row("a", [1])), ARTICLES)
    assert (result.rows, result.found.sum(), len(result.quarantine)) == (1, 1, 0)


def test_a_broken_first_row_with_an_address_is_no_header(tmp_path):
    path = write(tmp_path / "v.csv", "https://a.example/a,oops", row("b", [1]))
    assert told(import_vectors(path, ARTICLES).quarantine) == [(1, "rejected", module.NOT_A_LIST)]


def test_gzip_is_read_whatever_the_name(tmp_path):
    path = tmp_path / "v.csv"
    path.write_bytes(gzip.compress(row("a", [7]).encode()))
    assert import_vectors(str(path), ARTICLES).vectors[0, 0] == 7


def test_a_list_without_quotes_and_empty_lines_are_understood(tmp_path):
    path = write(tmp_path / "v.csv", "https://a.example/a,[1,2,3]", "", row("b", [4, 5, 6]))
    assert import_vectors(path, ARTICLES).vectors[:2].tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('https://a.example/b,"[1, 2"', module.NOT_A_LIST),
        ('https://a.example/b,"{}"', module.NOT_A_LIST),
        ('https://a.example/b,"[]"', module.NOT_A_LIST),
        ('https://a.example/b,"[[1, 2]]"', module.NOT_A_LIST),
        ('https://a.example/b,"[[1], [2, 3]]"', module.NOT_A_LIST),
        ('https://a.example/b,"[1, null]"', module.NOT_A_LIST),
        ('https://a.example/b,"[1, true]"', module.NOT_A_LIST),
        ('https://a.example/b,"[""1"", ""2""]"', module.NOT_A_LIST),
        (f'https://a.example/b,"{"[" * 3000}"', module.NOT_A_LIST),
        (f'https://a.example/b,"[1, {"9" * 5000}]"', module.NOT_A_LIST),
        (f'https://a.example/b,"[1, {"9" * 400}]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, false]"', module.NOT_A_LIST),
        ("https://a.example/b,", module.NOT_A_LIST),
        ('https://a.example/b,"[1, NaN]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, -Infinity]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, 1e39]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, 1e999]"', module.NOT_FINITE),
        ('https://a.example/b,"[1, 2, 3]"', module.WRONG_LENGTH),
        ('https://a.example/zzz,"[1, 2]"', module.UNKNOWN_URL),
        ('ftp://a.example/b,"[1, 2]"', module.NOT_A_URL),
        (',"[1, 2]"', module.NOT_A_URL),
        ("https://a.example/b", module.NOT_TWO_FIELDS),
        (f'https://a.example/b,"[{"1," * 2_100_000}2]"', module.NOT_CSV),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_bad_row_is_rejected_with_its_line_and_reason_and_the_others_stay(text, reason, tmp_path):
    path = write(tmp_path / "v.csv", "story,vector", row("a", [1, 2]), text, row("c", [3, 4]))
    result = import_vectors(path, ARTICLES)
    assert told(result.quarantine) == [(3, "rejected", reason)]
    assert result.quarantine["file"].tolist() == [path]
    assert result.found.tolist() == [True, False, True, False]
    assert result.rows == 3
    assert result.quarantine["content"].str.len().max() <= 500


def test_lines_are_counted_in_the_file_also_after_a_field_of_several_lines(tmp_path):
    path = write(tmp_path / "v.csv", 'https://a.example/a,"[1,', '2]"', "https://a.example/b,x")
    result = import_vectors(path, ARTICLES)
    assert result.vectors[0].tolist() == [1, 2]
    assert told(result.quarantine) == [(3, "rejected", module.NOT_A_LIST)]


def test_the_commonest_length_of_the_first_rows_decides_not_a_cut_off_first_row(tmp_path):
    path = write(tmp_path / "v.csv", row("a", [1]), row("b", [1, 2]), row("c", [3, 4]))
    result = import_vectors(path, ARTICLES)
    assert result.vectors.shape == (4, 2)
    assert told(result.quarantine) == [(1, "rejected", module.WRONG_LENGTH)]


def test_of_several_rows_for_an_article_the_last_counts(tmp_path):
    path = write(tmp_path / "v.csv", row("a", [1]), row("b", [2]), row("a", [3]), row("a", [4]))
    result = import_vectors(path, ARTICLES)
    assert result.vectors[0, 0] == 4
    assert told(result.quarantine) == [
        (1, "superseded", module.LATER_ROW),
        (3, "superseded", module.LATER_ROW),
    ]


def test_a_file_longer_than_a_batch_is_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BATCH_ROWS", 2)
    lines = [row(c, [ord(c), 1]) for c in "xyabzdc"]
    result = import_vectors(write(tmp_path / "v.csv", *lines), ARTICLES)
    assert result.vectors[:, 0].tolist() == [ord(c) for c in "abcd"]
    assert [line for line, _, _ in told(result.quarantine)] == [1, 2, 5]


def test_bytes_that_are_not_utf8_spoil_only_their_row(tmp_path):
    path = tmp_path / "v.csv"
    path.write_bytes(b"https://a.example/\xff,[1]\n" + row("a", [2]).encode())
    result = import_vectors(str(path), ARTICLES)
    assert told(result.quarantine) == [(1, "rejected", module.UNKNOWN_URL)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no vector: it is empty; give a CSV of URL and JSON list"),
        (b"story,vector\n", "holds no vector: it is empty"),
        (b"https://b.example/1,[1]\nx y,[1]\n", r"no article has this URL \(1 rows\); not an http"),
        ("story,vector\nhttps://a.example/a,[1]\n".encode("utf-16"), "holds no vector of any"),
    ],
)
def test_a_file_without_any_matching_vector_is_refused(content, message, tmp_path):
    path = tmp_path / "v.csv"
    path.write_bytes(content)
    with pytest.raises(TagsageError, match=message):
        import_vectors(str(path), ARTICLES, out=tmp_path / "vectors.npy")
    assert not (tmp_path / "vectors.npy").exists()


def test_a_cut_off_gzip_is_refused_and_leaves_no_result(tmp_path):
    path = tmp_path / "v.csv.gz"
    whole = "\n".join(row("a", np.random.default_rng(i).random(50).tolist()) for i in range(50))
    path.write_bytes(gzip.compress(whole.encode())[:-2000])
    with pytest.raises(TagsageError, match=r"v\.csv\.gz cannot be read beyond line \d+ .*cut off"):
        import_vectors(str(path), ARTICLES, out=tmp_path / "vectors.npy")
    assert [p.name for p in tmp_path.iterdir()] == ["v.csv.gz"]


def test_a_missing_file_is_told_with_its_name(tmp_path):
    with pytest.raises(TagsageError, match=r"Cannot open the vectors .*nowhere\.csv .*`vectors`"):
        import_vectors(str(tmp_path / "nowhere.csv"), ARTICLES)


def test_the_csv_modules_field_limit_is_left_as_it_was(tmp_path):
    before = csv.field_size_limit()
    import_vectors(write(tmp_path / "v.csv", row("a", [1])), ARTICLES)
    assert csv.field_size_limit() == before


def test_an_import_from_an_fsspec_url_works(tmp_path):
    path = write(tmp_path / "v.csv", row("a", [1]))
    assert import_vectors(f"file://{path}", ARTICLES).found.sum() == 1


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=200) | st.text(alphabet='[]",1.eE-\n\rahtps:/x\0', max_size=80))
def test_whatever_the_file_holds_there_is_a_result_or_one_plain_sentence(content, tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "v.csv"
    raw = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(raw + b"\nhttps://a.example/a,[1]\n")
    try:
        result = import_vectors(str(path), ARTICLES)
    except TagsageError:
        return  # an open quote swallowed the good row
    assert np.isfinite(result.vectors).all()
    assert result.rows >= result.found.sum() > 0


NUMBER = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["1e39", "1e-60", "-0", "0.10", "1E+3", "+1", "01", ".5", "5.", "-", "1e", ""]),
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.lists(NUMBER, max_size=4).map(lambda numbers: f" [{', '.join(numbers)}\n] "), max_size=4
    )
)
def test_lists_parsed_at_once_say_the_same_as_lists_parsed_one_by_one(texts):
    together = module._vectors(texts)
    for text, ours in zip(texts, together, strict=True):
        alone = module._vector(text)
        if isinstance(alone, str) or isinstance(ours, str):
            assert ours == alone
        else:
            np.testing.assert_array_equal(ours, alone)


def test_integers_beyond_64_bits_are_numbers():
    for text in (f"[{2**70}, 1.5]", f"[{2**70}]", f"[{2**63}, -1]"):
        expected = np.array(json.loads(text), dtype=np.float64).astype(np.float32)
        np.testing.assert_array_equal(module._vector(text), expected)
        np.testing.assert_array_equal(module._vectors([text])[0], expected)


def test_a_field_that_would_end_the_json_around_it_is_no_list():
    texts = ['[1]}\n{"v":[2]', '[1], "v": [2]', "[1]"]
    assert [str(v) for v in module._vectors(texts)] == [module.NOT_A_LIST] * 2 + ["[1.]"]
