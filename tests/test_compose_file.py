"""What docker-compose.yaml and the images promise, read by Compose's own loader."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from compose import make_env
from scripts import compose_check

pytestmark = pytest.mark.compose

ROOT = compose_check.ROOT
TEXT = compose_check.COMPOSE.read_text(encoding="utf-8")
EXAMPLE = compose_check.EXAMPLE.read_text(encoding="utf-8")
# The variables without which Compose refuses to start.
REQUIRED = set(re.findall(r"\$\{(\w+):\?", TEXT))
# A tag that names a release: it begins with a number of at least two parts.
EXACT_TAG = re.compile(r"v?\d+\.\d+[\w.-]*")
SECRET = re.compile(r"PASSWORD|SECRET|KEY|TOKEN|AUTH$")
DOCKERFILES = (ROOT / "Dockerfile", ROOT / "compose" / "neo4j" / "Dockerfile")


@pytest.fixture(scope="module")
def model():
    return compose_check.resolve(compose_check.example_variables())


def test_compose_refuses_to_start_without_every_secret():
    assert len(REQUIRED) == 9
    with pytest.raises(compose_check.ComposeError) as error:
        compose_check.resolve({})
    assert all(name in str(error.value) for name in REQUIRED)


def test_images_are_pinned_and_ports_are_open_to_this_machine_alone(model):
    for name, service in model["services"].items():
        assert EXACT_TAG.fullmatch(service["image"].rpartition(":")[2]), name
        assert {port.get("host_ip") for port in service.get("ports", [])} <= {"127.0.0.1"}, name


def test_every_service_is_watched_and_started_again(model):
    waited = [service.get("depends_on", {}) for service in model["services"].values()]
    ending = {
        name
        for names in waited
        for name, condition in names.items()
        if condition["condition"] == "service_completed_successfully"
    }
    assert ending == {"airflow-init"}
    for name, service in model["services"].items():
        if name not in ending:
            assert service["healthcheck"]["test"], name
            assert service["restart"] == "unless-stopped", name


def test_no_secret_is_written_in_the_file_or_on_a_command_line(model):
    for name, service in model["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            assert not SECRET.search(variable) or "dummy-" in str(value), (name, variable)
            assert variable != "OPENAI_API_KEY" or name == "airflow-worker"
        assert not any("dummy-" in part for part in service.get("command") or []), name


def test_example_of_env_lists_every_variable_and_leaves_secrets_empty():
    variables = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    # Written without a value: it goes through when there is one.
    variables |= set(re.findall(r"^ +([A-Z_]+):$", TEXT, flags=re.MULTILINE))
    listed = dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE, flags=re.MULTILINE))
    assert set(listed) == variables
    optional = {"OPENAI_API_KEY"}
    assert {name for name in variables if SECRET.search(name)} <= REQUIRED | optional
    assert {listed[name] for name in REQUIRED | optional} == {""}


def test_make_env_draws_a_new_secret_for_every_empty_name_and_keeps_an_existing_file(tmp_path):
    (tmp_path / ".env.example").write_text(EXAMPLE, encoding="utf-8")
    assert make_env.main(tmp_path) == 0
    file = tmp_path / ".env"
    assert file.stat().st_mode & 0o777 == 0o600
    drawn = dict(re.findall(r"^(\w+)=(.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert set(drawn) == REQUIRED
    assert len(set(drawn.values())) == len(drawn)
    # They become part of URLs.
    assert all(re.fullmatch(r"[\w=-]{32,}", secret) for secret in drawn.values())
    before = file.read_bytes()
    assert make_env.main(tmp_path) == 1
    assert file.read_bytes() == before


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.parent.name)
def test_image_has_exact_bases_and_copies_only_what_reaches_the_builder(file):
    text = file.read_text("utf-8")
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    assert bases
    assert all(EXACT_TAG.fullmatch(base.partition(":")[2]) for base in bases)
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [Path(line[1:]) for line in ignored if line.startswith("!")]
    lines = re.findall(r"^COPY (?!--from)(.+)$", text, flags=re.MULTILINE)
    sources = [Path(source) for line in lines for source in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert any(source.is_relative_to(allowed) for allowed in let_in), source
    assert not any(Path(".env").is_relative_to(allowed) for allowed in let_in)


def test_script_of_postgres_is_executable():
    # Its image would read it into its own shell otherwise, options of the shell included.
    assert os.access(ROOT / "compose" / "postgres" / "databases.sh", os.X_OK)


def test_images_have_the_versions_that_the_tests_run_on():
    pom = (ROOT / "scripts" / "neo4j" / "pom.xml").read_text("utf-8")
    neo4j = re.search(r"<neo4j.version>(.+)</neo4j.version>", pom)[1]
    gds = re.search(r"<gds.version>(.+)</gds.version>", pom)[1]
    assert f"FROM neo4j:{neo4j}-community" in DOCKERFILES[1].read_text("utf-8")
    assert f"image: tagsage-neo4j:{neo4j}-gds{gds}\n" in TEXT
    uv = re.search(r"^UV_VERSION := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert f"uv=={uv[1]} " in DOCKERFILES[0].read_text("utf-8")
