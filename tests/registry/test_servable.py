"""The served model: any way of giving articles, and a clean process without the project."""

import ast
import dataclasses
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from threadpoolctl import OpenBLASController, ThreadpoolController

import tagsage
from tagsage.errors import TagsageError
from tagsage.registry.mlflow_models import load_model
from tagsage.registry.servable import REQUIREMENTS, ServableModel, as_frame, save_servable
from tagsage.registry.tagger import Tagger

CLEAN = """
import json, sys
from mlflow.pyfunc import load_model
model = load_model(sys.argv[1])
made = model.predict([
    {"title": "pears and plums", "lists": None},
    {"title": "wheels", "lists": ["garage"]},
])
import tagsage
print(json.dumps({
    "tags": made["tags"].tolist(),
    "top": made["top"].tolist(),
    "package": tagsage.__file__,
    "modules": [
        module.__file__ for name, module in sys.modules.items()
        if name.partition(".")[0] == "tagsage" and getattr(module, "__file__", None)
    ],
}))
"""


@pytest.fixture(scope="module")
def tagger(served) -> Tagger:
    return Tagger.load(served)


@pytest.fixture(scope="module")
def saved(served, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_servable(served, folder)
    return folder


@pytest.fixture(scope="module")
def in_clean_process(saved, tmp_path_factory) -> dict:
    """Load and predict in a process of its own, elsewhere, where tagsage is not installed."""
    command = [sys.executable, "-P", "-W", "error::ImportWarning", "-c", CLEAN, str(saved)]
    done = subprocess.run(
        command,
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path_factory.mktemp("home"))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_new_titles_are_tagged_from_their_text_and_their_lists(tagger):
    made = tagger.tag(
        pd.DataFrame({
            "title": ["ripe cherries", "new engines", "", ""],
            "lists": [[], [], ["orchard"], ["garage", "never seen"]],
        })
    )
    assert made["tags"].tolist() == [["fruit"], ["cars"], ["fruit"], ["cars"]]
    for top in made["top"]:
        assert [item["score"] for item in top] == sorted(
            (item["score"] for item in top), reverse=True
        )
        assert all(0 <= item["score"] <= 1 for item in top)
        assert {item["tag"] for item in top} == {"fruit", "cars"}


def test_assigned_tags_are_those_whose_score_reaches_the_threshold(tagger):
    (top,) = tagger.tag(as_frame("apples and wheels"))["top"]
    assert [item["assigned"] for item in top] == [
        item["score"] >= item["threshold"] for item in top
    ]


def test_output_is_json_able_and_keeps_the_index(tagger):
    frame = pd.DataFrame({"title": ["pears", "gears"]}, index=["a", "b"])
    made = tagger.tag(frame)
    assert made.index.tolist() == ["a", "b"]
    assert json.loads(json.dumps(made["top"].tolist())) == made["top"].tolist()


@pytest.mark.parametrize("title", ["", None, np.nan, "\x00", "🎉 مرحبا", "x" * 100_000, "<script>"])
def test_any_title_is_tagged(tagger, title):
    made = tagger.tag(pd.DataFrame({"title": [title], "subtitle": [None], "lists": [None]}))
    assert len(made["top"].iloc[0]) == 2


def test_tags_do_not_depend_on_the_articles_beside(tagger, monkeypatch):
    frame = pd.DataFrame({"title": [f"pears {n}" for n in range(7)] + ["gears and wheels"]})
    whole = tagger.tag(frame)
    monkeypatch.setattr("tagsage.registry.tagger.BLOCK_ROWS", 3)
    assert tagger.tag(frame)["top"].tolist() == whole["top"].tolist()


def test_no_article_gives_no_row(tagger):
    made = tagger.tag(pd.DataFrame({"title": []}))
    assert made.columns.tolist() == ["tags", "top"]
    assert len(made) == 0


def test_top_k_limits_the_ranking(tagger):
    assert len(tagger.tag(as_frame("pears"), top_k=1)["top"].iloc[0]) == 1
    with pytest.raises(TagsageError, match="top_k must be at least 1, not 0"):
        tagger.tag(as_frame("pears"), top_k=0)


def test_frame_without_titles_is_refused_naming_what_came(tagger):
    with pytest.raises(TagsageError, match="needs a column title; its columns are: name, x"):
        tagger.tag(pd.DataFrame({"name": ["a"], "x": [1]}))


@pytest.mark.parametrize(
    "articles",
    [
        "pears",
        ["pears"],
        pd.Series(["pears"]),
        np.array(["pears"]),
        {"title": "pears"},
        [{"title": "pears", "lists": ["orchard"]}],
        pd.DataFrame({"title": ["pears"]}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_articles_may_be_given_in_any_usual_way(served, articles):
    model = ServableModel()
    model.load_context(SimpleNamespace(artifacts={"served": str(served)}))
    assert model.predict(None, articles)["tags"].tolist() == [["fruit"]]


def test_a_single_list_name_is_one_list_and_not_its_letters(tagger):
    made = tagger.tag(pd.DataFrame({"title": [""], "lists": ["garage"]}))
    assert made["tags"].tolist() == [["cars"]]


def test_known_companions_stand_for_their_lists(tagger):
    # Articles 0 to 11 are of the orchard, 12 to 23 of the garage.
    made = tagger.tag(
        pd.DataFrame({
            "title": [""] * 5,
            "articles": [
                ["https://site.example/1?source=rss", "site.example/3"],
                ["http://site.example/13/"],
                ["site.example/999", "no address", ""],
                None,
                "site.example/12",
            ],
        })
    )
    by_name = tagger.tag(
        pd.DataFrame({"title": [""] * 5, "lists": [["orchard"], "garage", [], None, ["garage"]]})
    )
    assert made["top"].tolist() == by_name["top"].tolist()
    assert made["tags"].tolist()[:2] == [["fruit"], ["cars"]]


def test_unknown_lists_of_any_kind_count_as_none(tagger):
    odd = [[None, "never seen"], [float("nan")], 7, [7, "garage"]]
    made = tagger.tag(pd.DataFrame({"title": [""] * 4, "lists": pd.Series(odd, dtype=object)}))
    plain = tagger.tag(pd.DataFrame({"title": [""] * 4, "lists": [[], [], [], ["garage"]]}))
    assert made["top"].tolist() == plain["top"].tolist()


def test_requests_that_overlap_leave_the_process_its_threads(tagger):
    """One comes, another comes, the first leaves and its thread ends, the second leaves."""
    first_in, second_in, both_seen, first_left = (Event() for _ in range(4))
    seen = []

    class InTurn:
        known = tagger.features.known
        needs_vectors = True

        def transform(self, articles):
            if articles.texts == ["pears"]:
                first_in.set()
                assert both_seen.wait(60)
            else:
                second_in.set()
                assert first_left.wait(60)
            return tagger.features.transform(articles)

    in_turn = dataclasses.replace(tagger, features=InTurn())
    blas = ThreadpoolController().select(user_api="blas")

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in blas.info()}

    with blas.limit(limits=2):
        # Only the thread that limited last may limit while it lives.
        OpenBLASController.clear_controlling_thread(force=True)
        first = Thread(target=in_turn.tag, args=[as_frame("pears")])
        second = Thread(target=in_turn.tag, args=[as_frame("gears")])
        first.start()
        assert first_in.wait(60)
        second.start()
        assert second_in.wait(60)
        seen.append(threads())
        both_seen.set()
        first.join(60)
        seen.append(threads())
        first_left.set()
        second.join(60)
        assert [*seen, threads()] == [{1}, {2}, {2}]


@pytest.fixture
def copied(served, tmp_path) -> Path:
    return Path(shutil.copytree(served, tmp_path / "copy"))


@pytest.mark.parametrize(
    "name",
    ["tagger.json", "candidate/classifier/classifier.json", "embedder/components.npy",
     "features/lists/means1.npy", "features/known/ids.npy"],
)  # fmt: skip
def test_file_that_was_changed_is_named_and_nothing_is_loaded(copied, name):
    content = bytearray((copied / name).read_bytes())
    content[-3] ^= 1
    (copied / name).write_bytes(content)
    with pytest.raises(TagsageError, match=f"The model's file {name} in .* was changed since"):
        Tagger.load(copied)


def test_file_that_is_gone_is_named(copied):
    (copied / "candidate" / "candidate.json").unlink()
    with pytest.raises(TagsageError, match=r"file candidate/candidate\.json in .* missing"):
        Tagger.load(copied)


@pytest.mark.parametrize("seal", ["{", "[]", '{"../../x": "ab"}'])
def test_seal_that_is_no_seal_is_refused(copied, seal):
    (copied / "sha256.json").write_text(seal)
    with pytest.raises(TagsageError, match=r"sha256\.json"):
        Tagger.load(copied)


def test_model_that_lost_its_seal_is_refused(copied):
    (copied / "sha256.json").unlink()
    with pytest.raises(TagsageError, match=r"file sha256\.json in .* cannot be read"):
        Tagger.load(copied)


def test_files_that_came_later_do_not_matter(copied):
    (copied / "artifact.json").write_text("{}")
    assert Tagger.load(copied).tag(as_frame("pears"))["tags"].tolist() == [["fruit"]]


def test_mlflow_checks_the_signature_and_passes_top_k(saved):
    model = load_model(str(saved))
    frame = pd.DataFrame({"title": ["pears"], "subtitle": ["x"], "lists": [["orchard"]]})
    made = model.predict(frame, params={"top_k": 1})
    assert [item["tag"] for item in made["top"].iloc[0]] == ["fruit"]
    assert model.predict(pd.Series(["gears"], name="title"))["tags"].tolist() == [["cars"]]
    assert model.unwrap_python_model().predict(None, ["gears"])["tags"].tolist() == [["cars"]]
    assert {column.name for column in model.metadata.signature.inputs.inputs} == {
        "title", "subtitle", "author", "story", "lists", "articles",
    }  # fmt: skip
    assert model.input_example["title"].tolist() == ["How graphs help to tag articles"]


def test_saved_model_holds_arrays_json_and_source_and_no_pickle(served, tmp_path):
    # Not the one of the other tests: to load it is to compile it, into the same folder.
    saved = tmp_path / "model"
    save_servable(served, saved)
    files = [file for file in saved.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in {".pkl", ".pickle", ".pyc"}]
    served = saved / "artifacts" / "served"
    assert {file.suffix for file in served.rglob("*") if file.is_file()} == {".npy", ".json"}
    assert (saved / "code" / "tagsage" / "registry" / "served_model.py").is_file()
    assert (saved / "requirements.txt").read_text().count("==") == len(REQUIREMENTS)


def test_model_tags_in_a_clean_process_with_its_own_copy_of_the_package(in_clean_process, saved):
    assert in_clean_process["tags"] == [["fruit"], ["cars"]]
    assert Path(in_clean_process["package"]).is_relative_to(saved)


def test_requirements_cover_what_the_loaded_modules_import(in_clean_process):
    classifiers = Path(tagsage.__file__).parent / "learn" / "classifiers"
    files = [*map(Path, in_clean_process["modules"]), *classifiers.glob("*.py")]
    distributions = packages_distributions()
    needed: set[str] = set()
    for file in files:
        for name in imported(file) - set(sys.stdlib_module_names) - {"tagsage"}:
            needed |= set(distributions[name])
    skinny = {"mlflow-skinny", "mlflow-tracing"}  # parts of mlflow
    assert {normal(name) for name in needed} - skinny == {normal(name) for name in REQUIREMENTS}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(file: Path) -> set[str]:
    """Return the top-level names that a module imports, at its top or in functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names
