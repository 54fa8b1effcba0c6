"""The registry: one version a run, its frozen test, the champion in a clean process."""

import dataclasses
import importlib.util
import py_compile
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from mlflow.utils.file_utils import local_file_uri_to_path

from tagsage.errors import NonRetryableError, TagsageError
from tagsage.evaluate.frozen_test import FrozenTest
from tagsage.registry.mlflow_models import load_model
from tagsage.registry.registry import (
    DATA_DIGEST,
    FROZEN_TEST,
    MICRO_F1,
    MODEL_DIGEST,
    DamagedTestError,
    Version,
    load_champion,
    load_frozen,
    register_winner,
)
from tagsage.registry.runs import log_candidate, log_run
from tagsage.registry.seal import DamagedModelError
from tagsage.registry.seal import seal as write_seal

CANDIDATE = "text+lists:ovr_logistic"
CLEAN = """
import sys
from pathlib import Path
from tagsage.registry.registry import load_champion
from tagsage.registry.store import initialise
tracking = initialise("", experiment="tests", folder=Path(sys.argv[1]))
print(load_champion(tracking, sys.argv[2]).predict([{"title": "plums"}])["tags"].tolist())
"""


@pytest.fixture
def name() -> str:
    return f"tagger-{uuid.uuid4().hex}"


@pytest.fixture
def register(tracking, served, frozen, name):
    def register(
        run_id: str,
        micro_f1: float,
        digest: str = "sha256:a",
        *,
        served_ref: str = "served-1",
        trial: bool = False,
    ) -> str:
        log_run(tracking, run_id, params={})
        log_candidate(tracking, run_id, CANDIDATE, params={}, scores={"micro_f1": micro_f1})
        return register_winner(
            tracking,
            run_id,
            CANDIDATE,
            name=name,
            served=served,
            served_ref=served_ref,
            frozen=frozen,
            micro_f1=micro_f1,
            data_digest=digest,
            description="The best of one candidate.",
            trial=trial,
        )

    return register


def holder(tracking, name, alias):
    return tracking.client.get_registered_model(name).aliases.get(alias)


def test_winner_becomes_a_version_with_words_numbers_and_the_alias_challenger(
    tracking, register, name, run_id
):
    version = register(run_id, 0.61)
    found = tracking.client.get_model_version(name, version)
    assert found.description == "The best of one candidate."
    assert found.tags[MICRO_F1] == "0.61"
    assert found.tags[DATA_DIGEST] == "sha256:a"
    assert found.tags["tagsage.candidate"] == CANDIDATE
    assert str(holder(tracking, name, "challenger")) == version
    assert holder(tracking, name, "champion") is None


def test_winner_of_a_trial_is_marked_and_leaves_the_alias_where_it_is(
    tracking, register, name, run_id
):
    first = register(run_id, 0.61)
    for _ in range(2):
        tried = register(f"{run_id}-trial", 0.7, trial=True)
    assert tracking.client.get_model_version(name, tried).tags["tagsage.trial"] == "true"
    assert str(holder(tracking, name, "challenger")) == first
    assert "tagsage.trial" not in tracking.client.get_model_version(name, first).tags


def test_winner_registered_again_after_a_kill_is_the_same_version(tracking, register, name, run_id):
    assert register(run_id, 0.61) == register(run_id, 0.61) == "1"
    assert len(tracking.client.search_model_versions(f"name = '{name}'")) == 1


def test_model_that_a_killed_task_left_unfinished_is_made_anew(tracking, register, name, run_id):
    from tagsage.registry.runs import candidate_run

    child = candidate_run(tracking, run_id, CANDIDATE)
    pending = tracking.client.create_logged_model(
        tracking.experiment_id, name="tagger", source_run_id=child
    )
    register(run_id, 0.61)
    models = tracking.client.search_logged_models(
        [tracking.experiment_id], filter_string=f"source_run_id = '{child}'"
    )
    assert [str(model.status) for model in models] == ["READY"]
    assert models[0].model_id != pending.model_id


def test_frozen_test_of_a_version_comes_back_as_it_was(
    tracking, register, name, run_id, tmp_path, frozen
):
    register(run_id, 0.6)
    version = Version.of(tracking.client.get_model_version(name, "1"))
    assert load_frozen(tracking, version, tmp_path)
    before, after = FrozenTest.load(frozen), FrozenTest.load(tmp_path)
    assert before.test.tolist() == after.test.tolist()
    assert (before.tags, before.scores, before.seed) == (after.tags, after.scores, after.seed)
    assert (before.assigned != after.assigned).nnz == 0


def test_version_of_a_run_that_kept_no_test_or_lost_it_has_none(
    tracking, register, name, run_id, tmp_path
):
    register(run_id, 0.6)
    version = Version.of(tracking.client.get_model_version(name, "1"))
    assert not load_frozen(tracking, dataclasses.replace(version, tags={}), tmp_path)
    assert not load_frozen(tracking, dataclasses.replace(version, run_id="0" * 32), tmp_path)
    elsewhere = {**version.tags, FROZEN_TEST: "frozen_test/removed"}
    assert not load_frozen(tracking, dataclasses.replace(version, tags=elsewhere), tmp_path)
    tracking.client.log_text(version.run_id, "{", f"{version.tags[FROZEN_TEST]}/frozen.json")
    with pytest.raises(DamagedTestError, match=r"^what the champion \(version 1\) answered is "):
        load_frozen(tracking, version, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_old_run_registered_again_takes_no_alias_from_a_later_one(tracking, register, name, run_id):
    register(run_id, 0.6)
    register(f"{run_id}-2", 0.7)
    register(run_id, 0.6)
    assert str(holder(tracking, name, "challenger")) == "2"


def test_champion_that_is_not_there_is_told_in_one_sentence(tracking, name):
    with pytest.raises(TagsageError, match=f"has no champion of the model '{name}'; run the"):
        load_champion(tracking, name)


@pytest.fixture
def registered(tracking, register, name, run_id) -> tuple[str, Path]:
    """Return a version and its folder."""
    version = register(run_id, 0.6)
    uri = tracking.client.get_model_version_download_uri(name, version)
    return version, Path(local_file_uri_to_path(uri))


def test_model_that_mlflow_has_loaded_is_still_what_was_registered(
    tracking, name, registered, monkeypatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking.uri)
    version, folder = registered
    asked = [{"title": "new brakes", "lists": ["garage"]}]
    before = load_champion(tracking, name, version=version).predict(asked)
    served = load_model(f"models:/{name}/{version}")
    # It writes into the folder of the model.
    assert (folder / "registered_model_meta").is_file()
    after = load_champion(tracking, name, version=version).predict(asked)
    assert served.predict(asked).equals(before)
    assert after.equals(before)


@pytest.mark.parametrize("where", ["served_model.py", "code/tagsage/registry/servable.py"])
def test_code_that_was_changed_is_refused_and_not_executed(
    tracking, name, registered, where, tmp_path
):
    version, folder = registered
    witness = tmp_path / "executed"
    with (folder / where).open("a", encoding="utf-8") as file:
        file.write(f"\nopen({str(witness)!r}, 'w').close()\n")
    with pytest.raises(DamagedModelError, match=f"The model's file {where} in .* was changed"):
        load_champion(tracking, name, version=version)
    assert not witness.exists()


def test_code_that_came_later_is_not_executed(tracking, name, registered, tmp_path):
    version, folder = registered
    witness = tmp_path / "executed"
    code = f"open({str(witness)!r}, 'w').close()\n"
    # A module that nothing has imported yet, and a package in the place of the model's module.
    (folder / "code" / "added_later.py").write_text(code)
    package = folder / "code" / "tagsage" / "errors"
    package.mkdir()
    (package / "__init__.py").write_text(code)
    load_champion(tracking, name, version=version)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("added_later")
    assert not witness.exists()


@pytest.mark.parametrize("seal", ["removed", "written anew"])
@pytest.mark.parametrize("of", ["", "artifacts/served"])
def test_model_whose_own_digests_were_removed_or_written_anew_is_refused(
    tracking, name, registered, seal, of
):
    version, folder = registered
    known = folder / "artifacts" / "served" / "features" / "known"
    (known / "state.json").write_text('{"list_names": ["orchard", "garage"]}')
    if seal == "removed":
        (folder / of / "sha256.json").unlink()
    else:
        write_seal(folder / of)
    with pytest.raises(DamagedModelError, match=r"is not what was registered|was changed|missing"):
        load_champion(tracking, name, version=version)


def test_compiled_code_in_the_place_of_the_models_source_is_not_executed(
    tracking, name, registered, tmp_path
):
    version, folder = registered
    source, witness = folder / "served_model.py", tmp_path / "executed"
    other = tmp_path / "other.py"
    text = source.read_text()
    other.write_text(f"{text}\nopen({str(witness)!r}, 'w').close()\n")
    py_compile.compile(
        str(other),
        cfile=importlib.util.cache_from_source(str(source)),
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )
    champion = load_champion(tracking, name, version=version)
    assert champion.predict([{"title": "new brakes"}])["tags"].tolist() == [["cars"]]
    assert not witness.exists()


def test_version_that_names_no_digest_is_refused(tracking, name, registered):
    version, _ = registered
    tracking.client.delete_model_version_tag(name, version, MODEL_DIGEST)
    with pytest.raises(DamagedModelError, match=r"is not what was registered"):
        load_champion(tracking, name, version=version)


@pytest.mark.parametrize("name_of_file", ["MLmodel", "served_model.py", "candidate.json", ""])
def test_champion_that_is_damaged_or_gone_is_told_apart_from_a_failing_mlflow(
    tracking, register, name, run_id, name_of_file
):
    version = register(run_id, 0.6)
    uri = tracking.client.get_model_version_download_uri(name, version)
    folder = Path(local_file_uri_to_path(uri))
    if name_of_file:
        for file in folder.rglob(name_of_file):
            file.write_text("{")
    else:
        shutil.rmtree(folder)
    with pytest.raises(DamagedModelError, match="roll back to another version or retrain"):
        load_champion(tracking, name, version=version)
    with pytest.raises(DamagedModelError, match=r"Version 99 of .* is gone; do not use"):
        load_champion(tracking, name, version="99")
    assert issubclass(DamagedModelError, NonRetryableError)


@pytest.mark.slow
def test_champion_loads_from_the_registry_in_a_new_process_and_tags(
    tracking, register, name, run_id, tmp_path
):
    version = register(run_id, 0.6)
    tracking.client.set_registered_model_alias(name, "champion", version)
    champion = load_champion(tracking, name)
    assert champion.predict([{"title": "new brakes"}])["tags"].tolist() == [["cars"]]
    done = subprocess.run(
        [sys.executable, "-c", CLEAN, str(tracking.folder), name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[['fruit']]"


def test_run_run_again_after_its_input_changed_gets_a_version_of_its_own(register):
    first = register("n1", 0.5)
    assert register("n1", 0.5) == first
    assert register("n1", 0.6, served_ref="served-2") != first
