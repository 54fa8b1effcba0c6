"""The pyfunc model: any way of giving articles, and a clean process without the project."""

import ast
import json
import re
import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import load_model

import tagsage
from tagsage.errors import TagsageError
from tagsage.registry.pyfunc import REQUIREMENTS, save_pyfunc

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
    "package": tagsage.__file__,
    "modules": [
        module.__file__ for name, module in sys.modules.items()
        if name.partition(".")[0] == "tagsage" and getattr(module, "__file__", None)
    ],
}))
"""


@pytest.fixture(scope="module")
def saved(tagger_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "model"
    save_pyfunc(tagger_folder, folder)
    return folder


@pytest.fixture(scope="module")
def in_clean_process(saved, tmp_path_factory) -> dict:
    """Load and predict in a process of its own, elsewhere, where tagsage is not installed."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error::ImportWarning", "-c", CLEAN, str(saved)],
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path_factory.mktemp("home"))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_mlflow_checks_the_signature_and_passes_top_k(saved):
    model = load_model(str(saved))
    frame = pd.DataFrame({"title": ["pears"], "subtitle": ["x"], "lists": [["orchard"]]})
    made = model.predict(frame, params={"top_k": 1})
    assert [item["tag"] for item in made["top"].iloc[0]] == ["fruit"]
    assert model.predict(pd.Series(["gears"], name="title"))["tags"].tolist() == [["cars"]]
    assert model.predict({"title": "gears"})["tags"].tolist() == [["cars"]]
    assert {column.name for column in model.metadata.signature.inputs.inputs} == {
        "title", "subtitle", "author", "story", "lists", "articles",
    }  # fmt: skip


def test_saved_model_holds_arrays_json_and_source_and_no_pickle(tagger_folder, tmp_path):
    # Not the one of the other tests: to load it is to compile it, into the same folder.
    saved = tmp_path / "model"
    save_pyfunc(tagger_folder, saved)
    files = [file for file in saved.rglob("*") if file.is_file()]
    assert not [file for file in files if file.suffix in {".pkl", ".pickle", ".pyc"}]
    for file in (saved / "artifacts" / "tagger").rglob("*.*"):
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
        else:
            assert file.suffix in {".json", ".skops"}
    listed = json.loads((saved / "sha256.json").read_text(encoding="utf-8"))
    assert {saved / name for name in listed} == {*files} - {saved / "sha256.json"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("artifacts/tagger/tagger.json", "{}", r"file artifacts/tagger/tagger\.json was changed"),
        ("artifacts/tagger/features/known/ids.npy", "", r"features/known/ids\.npy was changed"),
        ("artifacts/tagger/candidate/candidate.json", None, r"candidate\.json is missing"),
        ("sha256.json", "[]", r"sha256\.json cannot be read"),
        ("sha256.json", None, r"sha256\.json cannot be read"),
    ],
)
def test_mlflow_loads_no_model_whose_files_were_changed(saved, tmp_path, name, content, said):
    copy = Path(shutil.copytree(saved, tmp_path / "copy"))
    (copy / "came_later.json").write_text("{}")
    assert load_model(str(copy)).predict([{"title": "pears"}])["tags"].tolist() == [["fruit"]]
    if content is None:
        (copy / name).unlink()
    else:
        (copy / name).write_text(content)
    # It runs the model's own copy of the package, whose errors have a class of their own.
    with pytest.raises(Exception, match=said) as caught:
        load_model(str(copy))
    assert {kind.__name__ for kind in type(caught.value).__mro__} >= {TagsageError.__name__}


def test_model_tags_in_a_clean_process_with_its_own_copy_of_the_package(in_clean_process, saved):
    assert in_clean_process["tags"] == [["fruit"], ["cars"]]
    assert Path(in_clean_process["package"]).is_relative_to(saved)


def test_requirements_cover_what_the_loaded_modules_import(in_clean_process):
    package = Path(tagsage.__file__).parent
    files = [*map(Path, in_clean_process["modules"]), package / "jax_cache.py"]
    files += (package / "learn" / "classifiers").glob("*.py")
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
    tree = ast.parse(file.read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not for_types_only(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def for_types_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
