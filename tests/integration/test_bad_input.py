"""What `tagsage run` makes of bad input: a result, or one plain sentence and exit status 1."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from tagsage.workspace import Workspace
from tests.integration.conftest import SmallCorpus, run_in_process

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HEADER = ["story", "title", "subtitle", "date", "author", "tags"]
SUBJECTS = {"cooking": "bread oven flour", "gardens": "soil roses spade", "ships": "sail harbour"}


def article(number, **changes):
    """Build one good row; the subject follows the number."""
    tag, words = list(SUBJECTS.items())[number % 3]
    row = {
        "story": f"https://example.org/articles/{number}",
        "title": f"On {words} number {number % 7}",
        "subtitle": f"More of {words}",
        "date": "2024-05-01",
        "author": "Ann",
        "tags": json.dumps([tag] if number % 4 else []),
    }
    return {**row, **changes}


def write(folder, articles=None, memberships=None):
    """Write a corpus of 120 articles in 6 lists, or the rows given."""
    articles = [article(number) for number in range(120)] if articles is None else articles
    if memberships is None:
        memberships = [(f"list {n % 3}-{n % 2}", article(n)["story"]) for n in range(120)]
    corpus = SmallCorpus(folder / "A.csv", folder / "L.csv")
    with corpus.articles.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(articles)
    with corpus.lists.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("list", "article"), *memberships])
    return corpus


@pytest.fixture(scope="module")
def mlflow_uri(tmp_path_factory):
    """Name one MLflow for all these runs: making a database of its own costs each some seconds."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture
def run(mlflow_uri, tmp_path):
    """Return a function that runs `tagsage run` on a corpus in the workspace `w`."""

    def call(corpus, *arguments, workspace=tmp_path / "w", min_tag_articles=5):
        settings = {
            "min_tag_articles": min_tag_articles,
            "lsa_dimensions": 8,
            "graphsage_dimensions": 8,
            "graphsage_epochs": 1,
            "mlflow_tracking_uri": mlflow_uri,
            "registered_model": tmp_path.name,
        }
        return run_in_process(
            *("run", "--articles", corpus.articles, "--lists", corpus.lists),
            *("--workspace", workspace),
            *(part for name, value in settings.items() for part in ("--set", f"{name}={value}")),
            *arguments,
        )

    return call


def assert_one_sentence(done, *expected):
    assert done.returncode == 1, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert "Traceback" not in done.stderr
    for words in expected:
        assert words in lines[-1]


TEXT, LISTS = "text:ovr_logistic", "text+lists+memberships+labels:ovr_logistic"
FAST = ("--set", f"candidates={TEXT},{LISTS}", "--set", "memberships_dimensions=4")


def scores_in(workspace):
    """Return the scores of the candidates of a finished run, by name."""
    assert (workspace / "report.html").stat().st_size > 1000
    metrics = json.loads((workspace / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["candidates"].keys() == {TEXT, LISTS}
    return metrics["candidates"]


def test_one_tag_on_every_article_and_no_list(run, tmp_path):
    articles = [article(n, tags='["one"]' if n % 4 else "[]") for n in range(120)]
    done = run(write(tmp_path, articles, []), *FAST)
    assert done.returncode == 0, done.stderr
    scores = scores_in(tmp_path / "w")
    assert all(one["accuracy"] == 1 for one in scores.values())
    # All articles are in no list: the fallback predicts, which is the candidate on text.
    for metric in ("micro_f1", "macro_f1", "p_at_5", "lrap"):
        assert scores[LISTS][metric] == scores[TEXT][metric]


def test_a_tag_on_every_article_and_none_left_to_predict(run, tmp_path):
    articles = [article(n, tags='["ships", "all"]' if n % 3 else '["all"]') for n in range(120)]
    done = run(write(tmp_path, articles), *FAST)
    assert done.returncode == 0, done.stderr
    assert all(one["micro_f1"] > 0.9 for one in scores_in(tmp_path / "w").values())
    with (tmp_path / "w" / "predictions.csv").open(encoding="utf-8") as file:
        assert list(csv.DictReader(file)) == []


def test_tags_on_few_articles_are_learned_and_a_truncated_gz_after_them_changes_nothing(
    run, tmp_path
):
    # Each on four articles of 96: the part that tunes has hardly one of each.
    articles = [
        article(n, tags=json.dumps([f"tag {n // 5}"]) if n % 5 else "[]") for n in range(120)
    ]
    corpus = write(tmp_path, articles)
    done = run(corpus, *FAST, min_tag_articles=3)
    assert done.returncode == 0, done.stderr
    for one in scores_in(tmp_path / "w").values():
        assert 0 <= one["micro_f1"] <= 1
        assert 0 <= one["ece"] <= 1

    before = (tmp_path / "w" / "predictions.csv").read_bytes()
    whole = gzip.compress(corpus.articles.read_bytes())
    cut = SmallCorpus(tmp_path / "A.csv.gz", corpus.lists)
    cut.articles.write_bytes(whole[: len(whole) // 2])
    assert_one_sentence(run(cut, *FAST), "A.csv.gz")
    assert (tmp_path / "w" / "predictions.csv").read_bytes() == before
    counts = run_in_process("store", "counts", "--workspace", tmp_path / "w")
    assert "120" in counts.stdout


def test_nul_bytes_no_or_endless_texts_duplicates_and_broken_json(run, tmp_path):
    articles = [
        *[article(n, title="sail " * 20_000 if n < 3 else f"roses\0{n}") for n in range(60)],
        *[article(n, title="", subtitle="") for n in range(60, 80)],
        *[article(n) for n in range(80, 120)],
        *[article(n, date="2025-01-01") for n in range(9)],  # again
        article(500, tags="[broken"),
    ]
    done = run(write(tmp_path, articles), *FAST)
    assert done.returncode == 0, done.stderr
    assert all(one["micro_f1"] > 0.5 for one in scores_in(tmp_path / "w").values())


def test_every_default_candidate_copes_with_a_corpus_without_lists(run, tmp_path):
    done = run(write(tmp_path, None, []))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("articles", "arguments", "said"),
    [
        ([], {}, "no article"),
        ([article(n, tags="[]") for n in range(120)], {}, "No article has a tag"),
        (None, {"min_tag_articles": 1000}, "min_tag_articles"),
    ],
)
def test_corpus_that_cannot_be_learned_from_is_an_error_of_one_sentence(
    run, tmp_path, articles, arguments, said
):
    assert_one_sentence(run(write(tmp_path, articles), **arguments), said)


def test_missing_file_is_named(run, tmp_path):
    corpus = SmallCorpus(tmp_path / "nowhere.csv", tmp_path / "L.csv")
    assert_one_sentence(run(corpus), "nowhere.csv")


def test_too_many_broken_rows_stop_the_run_and_lie_in_the_quarantine(run, tmp_path):
    rows = [article(n, tags="[broken" if n % 2 else "[]") for n in range(120)]
    done = run(write(tmp_path, rows))
    assert_one_sentence(done, "A.csv", "max_rejected_share")
    with (tmp_path / "w" / "quarantine" / "quarantine.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == 60


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("sead=1", "did you mean seed"),
        ("candidates=text:magic", "label_powerset"),
    ],
)
def test_impossible_setting_is_refused_at_the_start(run, tmp_path, pair, words):
    done = run(write(tmp_path), "--set", pair)
    assert_one_sentence(done, words)
    assert not (tmp_path / "w" / "tagsage.db").exists()


def test_malformed_set_option_is_wrong_usage(run, tmp_path):
    assert run(write(tmp_path), "--set", "seed").returncode == 2


@pytest.mark.parametrize("held", [[], ["train.py"]])
@pytest.mark.parametrize(
    "command",
    [
        ["show"],
        ["tag", "A title"],
        ["explain", "https://a.example/b"],
        ["model", "list"],
        ["harvest", "--status"],
        ["store", "counts"],
    ],
    ids=" ".join,
)
def test_commands_that_only_read_say_where_nothing_is_and_make_nothing(tmp_path, command, held):
    for name in held:
        (tmp_path / name).write_text("", encoding="utf-8")
    done = run_in_process(*command, "--workspace", tmp_path)
    assert_one_sentence(done, str(tmp_path))
    assert [file.name for file in tmp_path.iterdir()] == held


def test_tag_before_any_champion_says_so(tmp_path):
    Workspace(str(tmp_path)).claim()
    done = run_in_process("tag", "A title", "--workspace", tmp_path)
    assert_one_sentence(done, "champion")


@pytest.mark.parametrize("command", ["run", "harvest"])
def test_a_workspace_in_somebody_elses_folder_is_refused_and_nothing_in_it_changes(
    run, tmp_path, command
):
    theirs = ("train.py", "artifacts/weights.pt", "runs/1/events.out")
    for name in theirs:
        (tmp_path / "w" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "w" / name).write_text("mine", encoding="utf-8")
    if command == "run":
        done = run(write(tmp_path))
    else:
        feed = ("harvest", "http://127.0.0.1:9/feed", "--contact", "a@b.org")
        done = run_in_process(*feed, "--workspace", tmp_path / "w")
    assert_one_sentence(done, "holds other files and is no workspace")
    found = {file.relative_to(tmp_path / "w").as_posix() for file in (tmp_path / "w").rglob("*")}
    assert found == {*theirs, "artifacts", "runs", "runs/1"}


def test_workspace_that_cannot_be_made_is_an_error_of_one_sentence(run, tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = run(write(tmp_path), workspace=tmp_path / "file" / "w")
    assert_one_sentence(done, "workspace")
