"""Files of articles and lists: the rules, the quarantine, and what ends a file."""

import csv
import gzip
import json

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagsage.corpus.bundled import bundled_files
from tagsage.corpus.csv_source import read_csv_corpus
from tagsage.corpus.quarantine import RejectedShareError, write_quarantine
from tagsage.errors import TagsageError

HEADER = "story,title,subtitle,date,author,tags\n"
ROW = 'https://a.example/{},Title {},Sub,2020-01-02,Ann,"[""x"", ""y""]"\n'
LISTS = "list,article\n"


@pytest.fixture
def read(tmp_path):
    """Write the two files as given (text or bytes) and read them."""

    def write_and_read(articles, lists=LISTS, share=1.0):
        paths = []
        for name, content in (("articles.csv", articles), ("lists.csv", lists)):
            path = tmp_path / name
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
            paths.append(str(path))
        return read_csv_corpus(*paths, max_rejected_share=share)

    return write_and_read


def recorded(corpus):
    return list(
        corpus.quarantine[["file", "line", "kind", "reason"]].itertuples(index=False, name=None)
    )


def test_a_clean_file_becomes_the_frames_of_the_corpus(read):
    corpus = read(
        HEADER + 'https://a.example/1,One,Sub,2020-01-02,Ann,"[""x"", ""y"", ""x""]"\n'
        "http://A.example/2?q=1,Two,,,,[]\n",
        LISTS + "l1,https://a.example/1\nl1,http://a.example/2/\nl2,https://a.example/2\n",
    )
    expected = pd.DataFrame({
        "key": pd.array(["a.example/1", "a.example/2"], dtype="str"),
        "url": pd.array(["https://a.example/1", "http://a.example/2"], dtype="str"),
        "title": pd.array(["One", "Two"], dtype="str"),
        "subtitle": pd.array(["Sub", ""], dtype="str"),
        "author": pd.array(["Ann", "Unknown"], dtype="str"),
        "date": pd.Series(["2020-01-02", "1990-01-01"]).astype("datetime64[s]"),
        "tags": [["x", "y"], []],
        "is_stub": [False, False],
    })
    pd.testing.assert_frame_equal(corpus.articles, expected)
    assert all(type(tags) is list for tags in corpus.articles["tags"])
    assert corpus.memberships.to_numpy().tolist() == [
        ["l1", "a.example/1"],
        ["l1", "a.example/2"],
        ["l2", "a.example/2"],
    ]
    assert corpus.quarantine.empty
    assert sorted(corpus.digests) == ["articles.csv", "lists.csv"]
    assert all(digest.startswith("sha256:") for digest in corpus.digests.values())


def test_kaggles_header_is_detected(read):
    corpus = read(
        "title,text,url,authors,timestamp,tags\n"
        'One,"Begin\n with words ' + "word " * 200 + '",https://medium.com/@a/one-1a2b3c4d5e6f,'
        "\"['Ann Lee', 'Bo']\",2020-12-26 03:38:10.479000+00:00,\"['Mental Health', 'a\\d']\"\n"
    )
    row = corpus.articles.iloc[0]
    assert row["key"] == "1a2b3c4d5e6f"
    assert row["author"] == "Ann Lee, Bo"
    assert row["date"] == pd.Timestamp("2020-12-26 03:38:10")
    assert row["tags"] == ["Mental Health", "a\\d"]
    assert row["subtitle"].startswith("Begin with words word")
    assert 490 <= len(row["subtitle"]) <= 500


def test_the_newest_row_of_an_article_wins_and_of_equals_the_later(read):
    corpus = read(
        HEADER + "https://medium.com/@a/one-1a2b3c4d5e6f,old,,2019-01-01,,[]\n"
        "https://medium.com/p/1a2b3c4d5e6f,new,,2021-01-01,,[]\n"
        "https://b.example/one-1a2b3c4d5e6f,older,,2020-01-01,,[]\n"
        "https://a.example/2,first,,,,[]\n"
        "https://a.example/2,second,,,,[]\n"
    )
    assert corpus.articles["title"].tolist() == ["new", "second"]
    assert [(line, kind) for _, line, kind, _ in recorded(corpus)] == [
        (2, "superseded"),
        (4, "superseded"),
        (5, "superseded"),
    ]
    assert corpus.quarantine["content"].tolist()[0] == (
        "https://medium.com/@a/one-1a2b3c4d5e6f,old,,[]"
    )


def test_a_duplicate_far_behind_the_first_row_is_still_found(read, monkeypatch):
    monkeypatch.setattr("tagsage.corpus.csv_source.BATCH", 2)
    rows = [ROW.format(i, f"first {i}") for i in range(5)]
    corpus = read(HEADER + "".join(rows) + ROW.format(1, "last"))
    assert corpus.articles["key"].tolist() == [f"a.example/{i}" for i in (0, 2, 3, 4, 1)]
    assert corpus.articles["title"].iloc[-1] == "Title last"
    assert "Title first 1" in corpus.quarantine["content"].iloc[0]


def test_a_member_without_a_row_becomes_a_stub(read):
    corpus = read(
        HEADER + ROW.format(1, 1), LISTS + "l,https://b.example/x?y=1\nl,http://b.example/x/\n"
    )
    stub = corpus.articles.iloc[1]
    assert corpus.articles["is_stub"].tolist() == [False, True]
    assert stub["key"] == "b.example/x"
    assert stub["url"] == "https://b.example/x"
    assert (stub["title"], stub["subtitle"], stub["author"]) == ("", "", "Unknown")
    assert stub["tags"] == []
    assert stub["date"] == pd.Timestamp("1990-01-01")
    assert corpus.memberships.to_numpy().tolist() == [["l", "b.example/x"]]
    assert corpus.counts["duplicate_memberships"] == 1


@pytest.mark.parametrize("lists", ["", LISTS, "\n\n", "\ufefflist,article\r\n"])
def test_no_list_at_all_gives_no_membership(read, lists):
    corpus = read(HEADER + ROW.format(1, 1), lists)
    assert corpus.memberships.columns.tolist() == ["list", "article"]
    assert corpus.memberships.dtypes.astype(str).tolist() == ["str", "str"]
    assert corpus.memberships.empty


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("https://a.example/1,One,Sub,,Ann", "5 fields instead of 6"),
        ("https://a.example/1,One,Sub,,Ann,[],[]", "7 fields instead of 6"),
        (",One,Sub,,Ann,[]", "story is not an http or https URL"),
        ("1a2b3c4d5e6f,One,Sub,,Ann,[]", "story is not an http or https URL"),
        ('https://a.example/1,One,Sub,,Ann,"[""x"""', "tags are broken JSON"),
        ('https://a.example/1,"One"x,Sub,,Ann,[]', "a quote inside a quoted field is not doubled"),
        ('https://a.example/1,"One,Sub,,Ann,[]', "a quoted field is never closed"),
    ],
)
def test_a_bad_row_is_rejected_with_line_and_reason_and_the_others_stay(read, row, reason):
    corpus = read(HEADER + ROW.format(8, 8) + row + "\n" + "https://a.example/9,Nine,,,,[]\n")
    assert corpus.articles["key"].tolist() == ["a.example/8", "a.example/9"]
    assert recorded(corpus) == [("articles.csv", 3, "rejected", reason)]
    assert corpus.quarantine["content"].tolist() == [row]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("l,", "article is not an http or https URL"),
        ("l,nowhere", "article is not an http or https URL"),
        (" ,https://a.example/1", "the list has no name"),
        ("l", "1 fields instead of 2"),
    ],
)
def test_a_bad_membership_is_rejected_with_line_and_reason(read, row, reason):
    corpus = read(HEADER + ROW.format(1, 1), LISTS + row + "\nl,https://a.example/1\n")
    assert recorded(corpus) == [("lists.csv", 2, "rejected", reason)]
    assert len(corpus.memberships) == 1


def test_dates_and_nul_bytes_are_repaired_and_told(read):
    corpus = read(
        HEADER + "https://a.example/1,O\0ne,,soon,Ann,[]\n"
        'https://a.example/2,Two,,1577836800000,Ann,"[""a\\u0000""]"\n'
    )
    assert corpus.articles["title"].tolist() == ["One", "Two"]
    assert corpus.articles["tags"].tolist() == [[], ["a"]]
    assert corpus.articles["date"].astype(str).tolist() == ["1990-01-01", "2020-01-01"]
    assert recorded(corpus) == [
        ("articles.csv", 2, "repaired", "NUL bytes"),
        ("articles.csv", 2, "repaired", "date is no date, taken as 1990-01-01"),
        ("articles.csv", 3, "repaired", "characters in tags that cannot be stored"),
    ]
    assert "\0" not in corpus.quarantine["content"].iloc[0]
    assert [(one.column, one.example, one.changed, one.rows) for one in corpus.repairs] == [
        ("title", "O␀ne", 1, 2),
        ("date", "soon", 1, 2),
        ("tags", '["a\\u0000"]', 1, 2),
    ]


def test_the_line_of_a_row_is_its_first_when_fields_hold_newlines(read):
    corpus = read(
        HEADER + 'https://a.example/1,"One\nof\r\nthree\rlines",,,,[]\n'
        "https://a.example/2,Two,,soon,,[]\r\n"
        "\r\n"
        "https://a.example/3,Three,,soon,,[]"
    )
    assert corpus.articles["title"].iloc[0] == "One\nof\r\nthree\rlines"
    assert corpus.quarantine["line"].tolist() == [6, 8]


def test_a_field_beyond_the_limit_is_rejected_and_a_long_one_is_kept(read):
    rows = [f"https://a.example/{length},{'x' * length},,,,[]\n" for length in (200_000, 4_000_001)]
    corpus = read(HEADER + "".join(rows))
    assert corpus.articles["title"].tolist() == ["x" * 200_000]
    assert recorded(corpus)[0][3] == "a field is longer than 4,000,000 characters"
    assert len(corpus.quarantine["content"].iloc[0]) == 500


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_gzip_and_a_byte_order_mark_are_recognised_by_the_bytes_not_the_name(read, pack):
    text = ("\ufeff" + HEADER + ROW.format(1, "é")).encode()
    assert read(pack(text)).articles["title"].tolist() == ["Title é"]


def test_files_of_one_name_in_two_folders_are_told_apart(tmp_path):
    for folder, text in (("a", HEADER + ROW.format(1, 1)), ("l", LISTS)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "data.csv").write_text(text)
    paths = [str(tmp_path / folder / "data.csv") for folder in "al"]
    assert sorted(read_csv_corpus(*paths, max_rejected_share=0).digests) == sorted(paths)


def test_files_are_read_from_object_storage():
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/corpus/articles.csv", gzip.compress((HEADER + ROW.format(1, 1)).encode()))
    memory.pipe("/corpus/lists.csv", (LISTS + "l,https://a.example/1\n").encode())
    corpus = read_csv_corpus(
        "memory://corpus/articles.csv", "memory://corpus/lists.csv", max_rejected_share=0
    )
    assert len(corpus.articles) == len(corpus.memberships) == 1


# -- what ends the whole file --------------------------------------------------------------


@pytest.mark.parametrize(
    ("articles", "lists", "message"),
    [
        ("", LISTS, r"articles\.csv is empty: expected a header with the columns story, title"),
        ("\0\0", LISTS, r"lacks the columns story, .*; columns in its first line: 1"),
        ('"story,title', LISTS, r"from line 1 on: a quoted field is never closed; mend the header"),
        (HEADER, LISTS, r"articles\.csv holds no article"),
        (
            "story,title\n",
            LISTS,
            r"lacks the columns date, author, tags: expected story, .* first line: 2",
        ),
        ("story;title;date\n", LISTS, r"separated by commas; columns in its first line: 1"),
        ("url,title,timestamp\n", LISTS, r"lacks the columns text, authors, tags"),
        (HEADER.replace("sub", "") + "x", LISTS, r"has the column title twice"),
        (LISTS, HEADER, r"articles\.csv was given as articles .*swapped\?"),
        (HEADER + ROW, HEADER, r"lists\.csv was given as lists .*swapped\?"),
        (HEADER + ROW, "list,url\n", r"lists\.csv lacks the column article: expected list, art"),
    ],
)
def test_a_file_with_the_wrong_header_is_refused_saying_what_was_expected(
    read, articles, lists, message
):
    with pytest.raises(TagsageError, match=message):
        read(articles, lists)


SECRET = "OPENAI_API_KEY=hush\0PATH=hush\0"


@pytest.mark.parametrize(
    ("articles", "lists"),
    [
        (SECRET, LISTS),
        (HEADER + ROW, SECRET),
        ("list,article,hush\n", LISTS),
        (HEADER + ROW, "story,hush\n"),
        (HEADER + "hush\n", LISTS),
        (HEADER + 'hush,hush,hush,hush,hush,"[hush"\n', LISTS),
    ],
)
def test_no_error_repeats_what_the_file_holds(read, articles, lists):
    with pytest.raises(TagsageError) as caught:
        read(articles, lists)
    assert "hush" not in str(caught.value)


def test_a_file_that_is_not_utf8_is_refused_with_line_and_byte(read):
    filler = "".join(ROW.format(i, i) for i in range(3000)).encode()
    with pytest.raises(
        TagsageError, match=r"articles\.csv is not UTF-8: line 3002, byte 21 of the line is 0xe9"
    ):
        read(HEADER.encode() + filler + b"https://a.example/x,\xe9t\xe9,,,,[]\n")


def test_utf16_and_zip_are_named(read):
    with pytest.raises(TagsageError, match="not UTF-8: line 1, byte 1 of the line is 0xff"):
        read((HEADER + ROW).encode("utf-16"))
    with pytest.raises(TagsageError, match="is a zip archive; unpack it"):
        read(b"PK\x03\x04\x14\x00\xff\xfe\xfd")


def packed():
    import random

    words = random.Random(1)
    rows = "".join(ROW.format(i, words.random()) for i in range(5000))
    return gzip.compress((HEADER + rows).encode())


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda whole: whole[: len(whole) // 3], r"cut off: .* up to line 1,\d\d\d and no further"),
        (lambda whole: whole[:12], r"cut off: .* up to line 0"),
        (
            lambda whole: whole[: len(whole) // 2] + bytes(40) + whole[len(whole) // 2 + 40 :],
            r"(damaged|cut off): its gzip data",
        ),
    ],
    ids=["truncated", "nothing but its header", "damaged"],
)
def test_a_broken_gz_is_refused_saying_how_far_it_can_be_read(read, spoil, said):
    with pytest.raises(TagsageError, match=rf"articles\.csv is {said}"):
        read(spoil(packed()))


def test_a_missing_file_a_folder_and_an_unknown_place_are_refused(tmp_path):
    lists = tmp_path / "lists.csv"
    lists.write_text(LISTS)
    for path, message in (
        (str(tmp_path / "none.csv"), r"There is no file .*none\.csv"),
        (str(tmp_path), "is a folder; name the CSV file itself"),
        ("nowhere://x/y.csv", "nowhere://x/y.csv cannot be opened: "),
        ("", "The path of a CSV file is empty"),
    ):
        with pytest.raises(TagsageError, match=message):
            read_csv_corpus(path, str(lists), max_rejected_share=0)


def test_too_many_rejected_rows_stop_with_the_commonest_reasons_and_where(read):
    bad = "nowhere,,,,,[]\n" * 2 + "https://a.example/1,,,,,x\n" * 3 + "a\n" + "a,b\n"
    with pytest.raises(RejectedShareError) as caught:
        read(HEADER + ROW.format(1, 1) * 3 + bad, share=0.6)
    assert str(caught.value) == (
        "articles.csv: 7 of 10 rows were rejected (70.0%), more than max_rejected_share=0.6 "
        "allows: tags are broken JSON (3, first at line 7); story is not an http or https URL "
        "(2, first at line 5); 1 fields instead of 6 (1, first at line 10). "
        "Mend the file, or raise max_rejected_share."
    )
    assert (caught.value.quarantine["kind"] == "rejected").sum() == 7
    assert len(read(HEADER + ROW.format(1, 1) * 3 + bad, share=0.7).articles) == 1


# -- the quarantine as files ---------------------------------------------------------------


def test_the_quarantine_is_written_with_a_summary(read, tmp_path):
    corpus = read(HEADER + ROW.format(1, 1) + 'x,"a,\n\nb",,,,[]\ny,,,,,[]\nz,,,soon,,5\n')
    write_quarantine(corpus.quarantine, tmp_path / "quarantine")
    with (tmp_path / "quarantine" / "quarantine.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["line"] for row in rows] == ["3", "6", "7"]
    assert rows[0]["content"] == 'x,"a,\n\nb",,,,[]'
    summary = json.loads((tmp_path / "quarantine" / "summary.json").read_text())
    assert summary == {
        "rows": 3,
        "counts": [
            {
                "file": "articles.csv",
                "kind": "rejected",
                "reason": "story is not an http or https URL",
                "rows": 3,
            }
        ],
    }


# -- any text ------------------------------------------------------------------------------

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@given(title=TEXT, tags=st.lists(TEXT, max_size=4), newline=st.sampled_from(["\n", "\r\n"]))
def test_any_title_and_tags_come_back_the_same(tmp_path_factory, title, tags, newline):
    folder = tmp_path_factory.mktemp("round")
    with (folder / "articles.csv").open("w", newline="", encoding="utf-8") as file:
        # With QUOTE_MINIMAL Python quotes a carriage return only if its own lines end with one.
        quoting = csv.QUOTE_MINIMAL if newline == "\r\n" else csv.QUOTE_ALL
        writer = csv.writer(file, lineterminator=newline, quoting=quoting)
        writer.writerow(["story", "title", "date", "author", "tags"])
        writer.writerow(["https://a.example/1", title, "", "", json.dumps(tags)])
    (folder / "lists.csv").write_text(LISTS)
    corpus = read_csv_corpus(
        str(folder / "articles.csv"), str(folder / "lists.csv"), max_rejected_share=0
    )
    stripped = (tag.replace("\0", "").strip() for tag in tags)
    assert corpus.articles["title"].tolist() == [title.replace("\0", "")]
    assert corpus.articles["tags"].tolist() == [list(dict.fromkeys(filter(None, stripped)))]
    assert corpus.quarantine.empty == ("\0" not in "".join([title, *tags]))


@given(st.one_of(st.binary(max_size=300), st.text('a,"\n\r\0[]', max_size=60).map(str.encode)))
def test_any_bytes_give_a_corpus_or_one_plain_sentence(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    (folder / "articles.csv").write_bytes((HEADER + ROW.format(1, 1)).encode() + content)
    (folder / "lists.csv").write_bytes(LISTS.encode() + content)
    try:
        corpus = read_csv_corpus(
            str(folder / "articles.csv"), str(folder / "lists.csv"), max_rejected_share=1
        )
        outcome = ",".join(corpus.articles["key"])
    except TagsageError as error:
        outcome = str(error)
    assert outcome == "a.example/1" or "articles.csv is not UTF-8" in outcome


# -- the corpus that comes along -----------------------------------------------------------


def test_the_bundled_corpus_is_read_without_a_rejected_row():
    corpus = read_csv_corpus(*bundled_files(), max_rejected_share=0)
    assert len(corpus.articles) == 63_436
    assert not corpus.articles["is_stub"].any()
    assert len(corpus.memberships) == 213_638
    assert corpus.memberships["list"].nunique() == 20_203
    assert (corpus.articles["tags"].str.len() == 0).sum() == 41_679
    assert corpus.quarantine.empty
