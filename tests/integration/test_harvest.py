"""`tagsage harvest`, `export`, and `run` on what was harvested, as a user gives them."""

from __future__ import annotations

import csv
import json
import zipfile
from pathlib import Path

import pytest

from scripts.medium_server import MediumServer, challenge
from tests.integration.conftest import run_in_process

pytestmark = [pytest.mark.integration]

CONTACT = ("--contact", "owner@example.org")
FIXTURES = Path(__file__).parents[1] / "harvest" / "fixtures"


def tagsage(*arguments):
    done = run_in_process(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def test_a_run_on_a_harvest_tags_the_articles_without_tags(tmp_path):
    w = ("--workspace", tmp_path / "w")
    with MediumServer(posts=240, lists=6) as site:
        barred = list(site.world.lists.values())[-1]
        site.faults[barred.path] = [challenge]
        seeds = tmp_path / "seeds.txt"
        lines = [*site.seeds(), f"{site.url}/feed/tag/none # a comment", "nonsense"]
        seeds.write_text("# ours\n" + "\n".join(lines), encoding="utf-8")
        fetch = ("harvest", "--seeds", seeds, "--delay", "0.02", "--consent", *CONTACT, *w)
        said = tagsage(*fetch)
        assert "Harvest stopped by the host: requests " in said
        assert "is left alone for now: it shows a challenge instead of the page" in said
        sent = len(site.log)
        again = tagsage(*fetch)
        assert "requests 0 " in again
        assert len(site.log) == sent

    status = tagsage("harvest", "--status", *w)
    assert "it shows a challenge" in status
    assert "nonsense" in status
    articles, lists = tmp_path / "a.csv", tmp_path / "l.csv"
    said = tagsage("export", "--articles", articles, "--lists", lists, *w)
    assert f"{len(rows_of(articles)):,} articles in {articles}" in said
    assert {row["list"] for row in rows_of(lists)} <= {
        site.url + each.path for each in site.world.lists.values()
    }

    pairs = ("corpus=harvest", "min_tag_articles=8", "candidates=text:ovr_logistic",
             "lsa_dimensions=16")  # fmt: skip
    tagsage("run", *w, *(part for pair in pairs for part in ("--set", pair)))
    untagged = {row["story"] for row in rows_of(articles) if json.loads(row["tags"]) == []}
    predicted = {row["story"] for row in rows_of(tmp_path / "w" / "predictions.csv")}
    assert untagged
    assert untagged <= predicted


def test_an_account_export_is_read_from_its_zip_file(tmp_path):
    file = tmp_path / "medium-export.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.write(FIXTURES / "export_list.html", "lists/Graphs-5d6e7f8a9b0c.html")
        archive.write(FIXTURES / "export_post.html", "posts/2022-01-01_Vectors-b1b2c3d4e5f6.html")
    w = ("--workspace", tmp_path / "w")
    said = tagsage("harvest", file, *w)
    assert "done: requests 0" in said
    assert "lists 1, articles 3, memberships 2." in said
    tagsage("export", "--articles", tmp_path / "a.csv", "--lists", tmp_path / "l.csv", *w)
    assert len(rows_of(tmp_path / "l.csv")) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["https://medium.com/@a/list/x-0123456789ab", *CONTACT], "consent"),
        (["https://medium.com/feed/@a"], "no contact is set"),
        (["nonsense", *CONTACT], "No seed can be harvested"),
        ([], "name a list or a feed"),
        (["gone.zip"], "there is no file gone.zip"),
        (["export.zip", "https://medium.com/feed/@a"], "go in separate commands"),
        (["--status", "--replay"], "go without addresses"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_sends_nothing(tmp_path, arguments, message):
    done = run_in_process("harvest", *arguments, "--workspace", tmp_path / "w")
    assert done.returncode == 2
    said = " ".join((done.stderr + done.stdout).replace("│", " ").split())
    assert message in said
    assert not (tmp_path / "w" / "harvest").exists()


def test_a_replay_of_nothing_says_how_to_begin(tmp_path):
    done = run_in_process("harvest", "--replay", "--workspace", tmp_path / "w")
    assert done.returncode == 1
    assert "start with `tagsage harvest`" in " ".join(done.stderr.split())
