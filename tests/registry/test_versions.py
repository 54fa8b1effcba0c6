"""Registered versions: one per run and model, its frozen test, and its files as they were saved."""

import dataclasses
import importlib.util
import py_compile
import shutil
from pathlib import Path

import pytest
from mlflow.pyfunc import load_model
from mlflow.utils.file_utils import local_file_uri_to_path

from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.registry.checksums import CHECKSUMS, DamagedModelError, digest_of, write_checksums
from tagsage.registry.runs import candidate_run
from tagsage.registry.versions import (
    DATA_DIGEST,
    FROZEN_TEST,
    MODEL_DIGEST,
    DamagedTestError,
    load_frozen,
    load_version,
    registered_model,
)
from tests.registry.conftest import CANDIDATE


def aliases(tracking, name) -> dict[str, str]:
    found = tracking.client.get_registered_model(name).aliases
    return {alias: str(version) for alias, version in found.items()}


def test_winner_becomes_a_version_once_and_the_challenger(tracking, register, name, run_id):
    for _ in range(2):
        version = register(tracking, name, run_id, micro_f1=0.61)
    (found,) = registered_model(tracking, name).versions
    assert (found.number, found.micro_f1, found.candidate) == (version, 0.61, CANDIDATE)
    assert found.tags[DATA_DIGEST] == "sha256:a"
    assert aliases(tracking, name) == {"challenger": version}
    described = tracking.client.get_model_version(name, version).description
    assert described == "The best of one candidate."
    # A trial takes no alias, and nor does an older run that runs again; a changed model is another.
    tried = register(tracking, name, f"{run_id}-trial", trial=True)
    assert registered_model(tracking, name).version(tried).tags["tagsage.trial"] == "true"
    assert aliases(tracking, name) == {"challenger": version}
    changed = register(tracking, name, run_id, tagger_ref="tagger-2")
    register(tracking, name, run_id, micro_f1=0.61)
    assert aliases(tracking, name) == {"challenger": changed}
    assert len(registered_model(tracking, name).versions) == 3


def test_model_that_a_killed_task_left_unfinished_is_made_anew(tracking, register, name, run_id):
    child = candidate_run(tracking, run_id, CANDIDATE)
    pending = tracking.client.create_logged_model(
        tracking.experiment_id, name="tagger", source_run_id=child
    )
    register(tracking, name, run_id)
    (model,) = tracking.client.search_logged_models(
        [tracking.experiment_id], filter_string=f"source_run_id = '{child}'"
    )
    assert str(model.status) == "READY"
    assert model.model_id != pending.model_id


def test_frozen_test_comes_back_unless_it_is_lost_or_damaged(
    tracking, register, name, run_id, tmp_path, frozen
):
    register(tracking, name, run_id)
    (version,) = registered_model(tracking, name).versions
    assert load_frozen(tracking, version, tmp_path / "kept")
    before, after = FrozenTest.load(frozen), FrozenTest.load(tmp_path / "kept")
    assert before.test.tolist() == after.test.tolist()
    assert (before.tags, before.scores, before.seed) == (after.tags, after.scores, after.seed)
    assert (before.assigned != after.assigned).nnz == 0
    elsewhere = {**version.tags, FROZEN_TEST: "frozen_test/removed"}
    for lost in ({"tags": {}}, {"run_id": "0" * 32}, {"tags": elsewhere}):
        changed = dataclasses.replace(version, **lost)
        assert not load_frozen(tracking, changed, tmp_path / "lost")
    tracking.client.log_text(version.run_id, "{", f"{version.tags[FROZEN_TEST]}/frozen.json")
    with pytest.raises(DamagedTestError, match=r"^the frozen test of the champion \(version 1\)"):
        load_frozen(tracking, version, tmp_path / "lost")
    assert not (tmp_path / "lost").exists()


@pytest.fixture
def registered(tracking, register, name, run_id) -> Path:
    """Register a version, the first; return its folder."""
    version = register(tracking, name, run_id)
    uri = tracking.client.get_model_version_download_uri(name, version)
    return Path(local_file_uri_to_path(uri))


def test_model_that_mlflow_has_loaded_is_still_what_was_registered(
    tracking, name, registered, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    request = [{"title": "new brakes", "lists": ["garage"]}]
    before = load_version(tracking, name, "1").predict(request)
    served = load_model(f"models:/{name}/1")
    # It writes into the folder of the model.
    assert (registered / "registered_model_meta").is_file()
    assert load_version(tracking, name, "1").predict(request).equals(before)
    assert served.predict(request).equals(before)


@pytest.mark.parametrize("where", ["model_code.py", "code/tagsage/registry/pyfunc.py"])
def test_code_that_was_changed_is_not_executed(tracking, name, registered, where, tmp_path):
    witness = tmp_path / "executed"
    with (registered / where).open("a", encoding="utf-8") as file:
        file.write(f"\nopen({str(witness)!r}, 'w').close()\n")
    with pytest.raises(DamagedModelError, match=f"The model's file {where} was changed"):
        load_version(tracking, name, "1")
    # Nor with a list that was written anew: its digest is in the registry.
    (registered / CHECKSUMS).unlink()
    write_checksums(registered)
    with pytest.raises(DamagedModelError, match="is not what was registered"):
        load_version(tracking, name, "1")
    assert not witness.exists()


def test_code_that_came_later_is_not_executed(tracking, name, registered, tmp_path):
    witness = tmp_path / "executed"
    code = f"open({str(witness)!r}, 'w').close()\n"
    # A module that nothing has imported yet, a package in the place of a module, compiled code.
    (registered / "code" / "added_later.py").write_text(code)
    package = registered / "code" / "tagsage" / "errors"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    source, other = registered / "model_code.py", tmp_path / "other.py"
    other.write_text(f"{source.read_text()}\n{code}")
    py_compile.compile(
        str(other),
        cfile=importlib.util.cache_from_source(str(source)),
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    champion = load_version(tracking, name, "1")
    assert champion.predict([{"title": "new brakes"}])["tags"].tolist() == [["cars"]]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("added_later")
    assert not witness.exists()


@pytest.mark.parametrize("damaged", ["MLmodel", CHECKSUMS, ""])
def test_version_that_is_damaged_or_gone_is_told_apart_from_a_failing_mlflow(
    tracking, name, registered, damaged
):
    if damaged:
        for file in registered.rglob(damaged):
            file.write_text("{")
    else:
        shutil.rmtree(registered)
    with pytest.raises(DamagedModelError, match="roll back to another version or retrain"):
        load_version(tracking, name, "1")
    with pytest.raises(DamagedModelError, match=r"Version 99 of .* is gone; do not use"):
        load_version(tracking, name, "99")


def test_file_that_a_library_cannot_read_is_damage_too(tracking, name, registered):
    # As if it had been damaged before it was registered.
    (registered / "MLmodel").write_text("{")
    (registered / CHECKSUMS).unlink()
    write_checksums(registered)
    tracking.client.set_model_version_tag(name, "1", MODEL_DIGEST, digest_of(registered))
    with pytest.raises(DamagedModelError, match="cannot be loaded"):
        load_version(tracking, name, "1")
