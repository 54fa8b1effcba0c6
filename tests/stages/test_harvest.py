"""What the stages make of a harvest: when it runs, when it fails, what is announced."""

from __future__ import annotations

from pathlib import Path

import pytest

from tagsage import stages
from tagsage.errors import NonRetryableError, TagsageError
from tagsage.harvest.collection import Collection
from tagsage.harvest.folder import harvest_folder
from tagsage.harvest.items import Article, ReadingList
from tagsage.harvest.seeds import read_seeds, seeds_of
from tagsage.run_context import RunContext
from tagsage.settings import Settings
from tagsage.stages.harvest import harvest_of
from tagsage.stages.ingest import load_corpus
from tagsage.workspace import Workspace

FEED = "https://medium.com/feed/tag/python"


def run_of(workspace: Path, **settings: object) -> RunContext:
    values = {"workspace": str(workspace), "corpus": "harvest", **settings}
    return RunContext("run", Settings.resolve(values))


@pytest.fixture
def harvested(tmp_path):
    """Return a workspace in which two articles, in one list, were harvested."""
    Workspace(str(tmp_path)).claim()
    with Collection(tmp_path / "harvest") as collection:
        for number in (1, 2):
            url = f"https://medium.com/k{number}"
            collection.add_article(Article(f"k{number}", url, "feed", title=f"Title {number}"))
        url = "https://x.org/l"
        collection.add_list(ReadingList("l", url, "open", members=("k1", "k2"), is_complete=True))
    return tmp_path


def test_a_run_that_reads_something_else_harvests_nothing(tmp_path):
    run = run_of(tmp_path, corpus="bundled", harvest_seeds=FEED)
    assert stages.harvest(run.token()) == {}
    assert harvest_of(run) == ""
    assert not (tmp_path / "harvest").exists()


def test_a_harvest_that_cannot_begin_leaves_the_run_what_there_is(harvested):
    run = run_of(harvested, harvest_seeds=FEED)
    told = stages.harvest(run.token())
    assert told["outcome"] == "failed"
    assert "no contact is set" in told["reason"]
    assert harvest_of(run).startswith("failed, so the corpus is what earlier ones brought.")


@pytest.mark.parametrize(
    ("stage", "seeds", "sentence"),
    [
        (stages.harvest, FEED, "no contact is set"),
        (stages.harvest_seeds, "", "name lists and feeds in harvest_seeds"),
        (load_corpus, "", "Nothing was harvested in .* `tagsage harvest`"),
    ],
)
def test_without_anything_harvested_before_a_run_ends(tmp_path, stage, seeds, sentence):
    with pytest.raises(TagsageError, match=sentence):
        stage(run_of(tmp_path, harvest_seeds=seeds).token())


def test_what_changed_is_announced_once_and_not_when_a_run_has_read_it(harvested):
    token = run_of(harvested).token()
    assert stages.announce(token, {"changed": True, "digest": "of before"})
    with Collection(harvested / "harvest") as collection:
        assert collection.announced == "of before"
    load_corpus(token)
    with Collection(harvested / "harvest") as collection:
        assert collection.announced == collection.digest()
    assert not stages.announce(token, {"changed": False, "digest": "x"})
    reads_another_corpus = run_of(harvested, corpus="bundled").token()
    assert not stages.announce(reads_another_corpus, {"changed": True, "digest": "x"})


def test_harvest_folder_can_be_one_that_several_workspaces_share(tmp_path):
    assert harvest_folder(run_of(tmp_path).settings) == tmp_path / "harvest"
    settings = run_of(tmp_path / "other", harvest_folder=str(tmp_path / "shared")).settings
    assert harvest_folder(settings) == tmp_path / "shared"


@pytest.mark.parametrize(
    ("named", "seeds"),
    [
        ("", []),
        (f" {FEED}  https://a.org/feed ", [FEED, "https://a.org/feed"]),
        ("seeds.txt", [FEED, "nonsense#1", "https://a.org/list/x-123456789abc"]),
    ],
)
def test_seeds_are_addresses_or_lines_of_a_file(tmp_path, monkeypatch, named, seeds):
    text = f"\ufeff# ours\n{FEED}\n\n  nonsense#1 # a note\n#https://b.org\nhttps://a.org/list/x-123456789abc"
    (tmp_path / "seeds.txt").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert seeds_of(Settings.resolve({"harvest_seeds": named})) == seeds


@pytest.mark.parametrize("value", [None, "", f"{FEED} https://a.org/feed", "seeds.txt"])
def test_the_form_names_addresses_or_the_file_of_the_environment(monkeypatch, value):
    monkeypatch.setenv("TAGSAGE_HARVEST_SEEDS", "seeds.txt")
    assert stages.prepare_harvest("run", {"harvest_seeds": value})["run_id"] == "run"


@pytest.mark.parametrize("value", ["/proc/self/environ", " file:///etc/passwd", "other.txt"])
def test_the_form_names_no_file_of_seeds(monkeypatch, value):
    monkeypatch.setenv("TAGSAGE_HARVEST_SEEDS", "seeds.txt")
    with pytest.raises(NonRetryableError, match="in the form takes http and https addresses"):
        stages.prepare_harvest("run", {"harvest_seeds": value})


def test_no_line_of_a_file_of_seeds_comes_back_in_an_error(tmp_path):
    (tmp_path / "secrets").write_text("OPENAI_API_KEY=hush\nhush@hush\n", encoding="utf-8")
    run = run_of(tmp_path / "w", harvest_seeds=str(tmp_path / "secrets"), harvest_contact="a@b.org")
    with pytest.raises(TagsageError, match="No seed can be harvested") as caught:
        stages.harvest_seeds(run.token())
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file or directory"), (b"\xff\xfe\xfa", "it is not UTF-8")]
)
def test_a_file_of_seeds_that_cannot_be_read_is_named(tmp_path, content, why):
    file = tmp_path / "seeds.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TagsageError, match=rf"seeds\.txt cannot be read: {why}; name a text file"):
        read_seeds(file)
