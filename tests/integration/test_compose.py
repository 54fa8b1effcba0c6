"""The services of docker-compose.yaml, run one by one without Docker.

A container is a command with an environment, some folders and names of other machines. Here each
service of Airflow and MLflow is run with exactly the command, the environment and the health check
of the resolved file; only ports, folders and host names are replaced. Postgres and Redis are
Debian's, Neo4j is the one of the other tests.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from compose import make_env
from scripts import compose_check
from scripts.neo4j_server import free_ports
from tagsage.neo4j_connection import open_driver
from tests.conftest import connection_to, empty, postgres_programs
from tests.integration.conftest import BIN, ROOT, SETTINGS, thinned
from tests.test_compose_file import REQUIRED

pytestmark = [
    *(pytest.mark.compose, pytest.mark.integration, pytest.mark.slow),
    *(pytest.mark.neo4j, pytest.mark.services, pytest.mark.timeout(2400)),
]

# What the run keeps articles in, and what computes its graph.
STORE, ENGINE = "neo4j", "gds"
CANDIDATES = "text:ovr_logistic,text+graphsage:ovr_logistic"
# Of the small corpus every third article: what is tested here is the way, not the result.
KEPT, MIN_TAG_ARTICLES = 3, 15

# The ports that the file names inside the containers; here each becomes a free one.
PORTS = (5432, 6379, 7687, 5000, 8080, 8974, 8793, 8794)
NAMES = {
    "postgres": 5432,
    "redis": 6379,
    "neo4j": 7687,
    "mlflow": 5000,
    "airflow-apiserver": 8080,
}
START = ("airflow-apiserver", "airflow-scheduler", "airflow-dag-processor", "airflow-triggerer")
READY_WITHIN_S = 600


class Services:
    """The services of the resolved compose file as processes of this machine."""

    def __init__(self, model, ports, folder):
        self.services = model["services"]
        self.ports = ports
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.processes = {}
        self.volumes_elsewhere = []
        # The image has the tree's folders at /opt/tagsage, and nothing may be written there.
        self.tree = folder / "opt-tagsage"
        self.tree.mkdir()
        for name in ("dags", "plugins", "data", "compose", "include"):
            (self.tree / name).symlink_to(ROOT / name)

    def volume(self, source):
        """Return the folder that stands for a volume, the same for all services."""
        if source.startswith(("/", ".")):
            return Path(source)
        path = self.folder / "volumes" / source
        path.mkdir(parents=True, exist_ok=True)
        return path

    def here(self, service, text):
        """Replace host names, ports and folders of the container by those of this machine."""
        for mount in self.services[service].get("volumes", []):
            text = text.replace(mount["target"], str(self.volume(mount["source"])))
        text = text.replace("/opt/tagsage", str(self.tree))
        for name, port in NAMES.items():
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{port}")
        # Nobody but this machine is to reach the tests' servers.
        text = text.replace("0.0.0.0", "127.0.0.1")
        known = "|".join(map(str, PORTS))
        return re.sub(
            rf"(?<![\w.-])({known})(?![\w.-])", lambda p: str(self.ports[int(p[1])]), text
        )

    def environment(self, service):
        """Return the variables of the service, with what its image would add."""
        named = self.services[service].get("environment") or {}
        # One without a value comes from the environment, where it is not set.
        given = {name: value for name, value in named.items() if value is not None}
        return {
            "PATH": os.pathsep.join((str(BIN), str(postgres_programs()), os.environ["PATH"])),
            "HOME": str(self.folder),
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            **{name: self.here(service, value) for name, value in given.items()},
        }

    def command(self, service):
        return [self.here(service, part) for part in self.services[service]["command"]]

    def start(self, service, command=None, environment=None):
        with (self.logs / f"{service}.log").open("wb") as output:
            self.processes[service] = subprocess.Popen(
                command or self.command(service),
                cwd=self.tree,
                env=environment or self.environment(service),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def log(self, service):
        return (self.logs / f"{service}.log").read_text(encoding="utf-8", errors="replace")

    def run_to_its_end(self, service):
        self.start(service)
        status = self.processes.pop(service).wait(timeout=READY_WITHIN_S)
        assert status == 0, self.log(service)[-3000:]

    def wait_until_healthy(self, service):
        """Run the service's own health check until it passes."""
        kind, *rest = self.services[service]["healthcheck"]["test"]
        rest = [self.here(service, part) for part in rest]
        command = ["sh", "-c", rest[0]] if kind == "CMD-SHELL" else rest
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            done = subprocess.run(
                command,
                cwd=self.tree,
                env=self.environment(service),
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode == 0:
                return
            said = f"{service}: {done.stderr[-300:]}\n{self.log(service)[-3000:]}"
            assert self.processes[service].poll() is None, said
            assert time.monotonic() < deadline, said
            # A check of Airflow's imports all of it: not so often that the service has to wait.
            time.sleep(5)

    def stop(self):
        """Stop all as `docker compose stop` does, those last that others need."""
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes.values()):
            # What does not end in time, or leaves orphans, is killed.
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for folder in self.volumes_elsewhere:
            shutil.rmtree(folder, ignore_errors=True)


def start_postgres(services):
    """Do what the image of Postgres does on an empty volume: make the cluster, run the script."""
    port, programs = services.ports[5432], postgres_programs()
    environment = services.environment("postgres")
    # Postgres refuses to be root, and pytest's folders are closed to others.
    folder = Path(tempfile.mkdtemp(prefix="tagsage-postgres-"))
    services.volumes_elsewhere.append(folder)
    (folder / "password").write_text(environment["POSTGRES_PASSWORD"], encoding="utf-8")
    as_nobody = []
    if os.getuid() == 0:
        as_nobody = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
        for path in (folder, folder / "password"):
            shutil.chown(path, "nobody", "nogroup")
    made = subprocess.run(
        [
            *(*as_nobody, programs / "initdb", "--pgdata", folder / "data", "--no-sync"),
            *("--username=postgres", "--auth=scram-sha-256", "--pwfile", folder / "password"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    services.start(
        "postgres",
        [
            *(*as_nobody, programs / "postgres", "-D", folder / "data", "-p", str(port)),
            *("-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
        ],
    )
    services.wait_until_healthy("postgres")
    subprocess.run(
        ["sh", services.tree / "compose" / "postgres" / "databases.sh"],
        env={
            **environment,
            "PGHOST": "127.0.0.1",
            "PGPORT": str(port),
            "PGPASSWORD": environment["POSTGRES_PASSWORD"],
        },
        check=True,
    )


@pytest.fixture(scope="module")
def corpus(small_corpus, tmp_path_factory):
    """Write the corpus of the run into a folder that stands for /corpus."""
    folder = tmp_path_factory.mktemp("corpus")
    thinned(small_corpus, folder, every=KEPT)
    return folder


@pytest.fixture(scope="module")
def services(corpus, neo4j_server, tmp_path_factory):
    """Start every service in the order of the file's conditions, each healthy before the next."""
    folder = tmp_path_factory.mktemp("compose")
    for name in ("docker-compose.yaml", ".env.example"):
        shutil.copy(ROOT / name, folder)
    assert make_env.main(folder) == 0
    variables = dict(
        re.findall(r"^(\w+)=(.+)$", (folder / ".env").read_text("utf-8"), flags=re.MULTILINE)
    )
    # Neo4j is the one of all tests, with its password.
    variables |= {
        "NEO4J_PASSWORD": neo4j_server.password,
        "CORPUS_FOLDER": str(corpus),
        "MLFLOW_WORKERS": "1",
        "TAGSAGE_STORE": STORE,
        "TAGSAGE_ENGINE": ENGINE,
    }
    # A first start shortly after the hour of the schedule would begin a run of its own.
    lines = [
        f"TAGSAGE_LSA_DIMENSIONS={SETTINGS['lsa_dimensions']}",
        "TAGSAGE_SCHEDULE=never",
        "TAGSAGE_SCENARIOS=",
        "TAGSAGE_ARTICLES=/corpus/articles.csv",
        "TAGSAGE_LISTS=/corpus/lists.csv",
    ]
    (folder / "tagsage.env").write_text("\n".join(lines), encoding="utf-8")
    model = compose_check.resolve(variables, folder / "docker-compose.yaml")
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    ports[7687] = neo4j_server.port
    services = Services(model, ports, folder)
    services.secrets = {variables[name] for name in REQUIRED}
    services.login = ("admin", variables["AIRFLOW_ADMIN_PASSWORD"])
    with open_driver(connection_to(neo4j_server)) as driver:
        empty(driver)
    try:
        start_postgres(services)
        services.start("redis")
        services.wait_until_healthy("redis")
        services.start("mlflow")
        services.run_to_its_end("airflow-init")
        for name in START:
            services.start(name)
        for name in ("mlflow", *START):
            services.wait_until_healthy(name)
        services.start("airflow-worker")
        services.wait_until_healthy("airflow-worker")
        yield services
    finally:
        services.stop()


def call(services, path, body=None, token=""):
    """Call Airflow's REST API; return what it answers."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{services.ports[8080]}{path}",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def log_in(services, password):
    user, _ = services.login
    return call(services, "/auth/token", {"username": user, "password": password})["access_token"]


def wait_for(condition, services, within_s, what):
    """Call `condition` until it returns something; return that."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        for name, process in services.processes.items():
            assert process.poll() is None, f"{name} died\n{services.log(name)[-3000:]}"
        assert time.monotonic() < deadline, what
        time.sleep(2)
    return found


def command_lines(services):
    """Return the command lines of all processes of the services."""
    groups = {process.pid for process in services.processes.values()}
    lines = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(entry.name)) in groups:
                lines.append((entry / "cmdline").read_text(encoding="utf-8", errors="replace"))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return lines


@pytest.fixture(scope="module")
def finished(services):
    """Log in, trigger the DAG by the REST API, wait for its end; return the token and the run."""
    token = log_in(services, services.login[1])

    def dag():
        found = call(services, "/api/v2/dags", token=token)["dags"]
        return [each for each in found if each["dag_id"] == "retrain" and not each["is_paused"]]

    wait_for(dag, services, 240, "the DAG was not parsed")
    services.command_lines = command_lines(services)
    conf = {
        **{name: value for name, value in SETTINGS.items() if name != "lsa_dimensions"},
        "min_tag_articles": MIN_TAG_ARTICLES,
        "graphsage_dimensions": int(SETTINGS["graphsage_dimensions"]),
        "graphsage_epochs": int(SETTINGS["graphsage_epochs"]),
        "candidates": CANDIDATES,
    }
    body = {"logical_date": datetime.now(UTC).isoformat(), "conf": conf}
    run = call(services, "/api/v2/dags/retrain/dagRuns", body, token)
    path = f"/api/v2/dags/retrain/dagRuns/{urllib.request.pathname2url(run['dag_run_id'])}"

    def ended():
        found = call(services, path, token=token)
        return found if found["state"] in {"success", "failed"} else None

    run = wait_for(ended, services, 1800, "the run did not end")
    instances = call(services, f"{path}/taskInstances?limit=100", token=token)["task_instances"]
    return run, instances


def test_run_triggered_over_rest_ends_well_on_the_worker(finished, services):
    run, instances = finished
    failed = [each["task_id"] for each in instances if each["state"] not in {"success", "skipped"}]
    assert (run["state"], failed) == ("success", [])
    # A retry would hide a fault.
    assert {each["try_number"] for each in instances} <= {0, 1}
    assert {each["executor"] for each in instances} <= {None, "CeleryExecutor"}
    assert {each["pool"] for each in instances} == {"default_pool", "tagsage_cpu"}


def test_run_leaves_its_results_in_the_shared_workspace_and_the_store(
    finished, services, neo4j_server
):
    from tagsage.store.open import open_store

    workspace = services.volume("workspace")
    board = (workspace / "leaderboard.csv").read_text(encoding="utf-8").splitlines()
    assert len(board) == 1 + len(CANDIDATES.split(","))
    assert (workspace / "report.html").stat().st_size > 1000
    written = len((workspace / "predictions.csv").read_text(encoding="utf-8").splitlines()) - 1
    assert written > 0
    connection = connection_to(neo4j_server)
    with open_store(STORE, sqlite_path=workspace / "tagsage.db", neo4j=connection) as store:
        assert len(store.read_predictions()) == written


def test_run_leaves_no_graph_and_no_model_in_the_memory_of_neo4j(finished, neo4j_server):
    with open_driver(connection_to(neo4j_server)) as driver, driver.session() as session:
        graphs = session.run("CALL gds.graph.list() YIELD graphName").value()
        models = session.run("CALL gds.model.list() YIELD modelName").value()
    assert (graphs, models) == ([], [])


def test_run_is_in_mlflow_with_its_candidates_and_served_artifacts(finished, services):
    from mlflow import MlflowClient

    uri = f"http://127.0.0.1:{services.ports[5000]}"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("tagsage")
    assert experiment.artifact_location.startswith("mlflow-artifacts:/")
    runs = client.search_runs([experiment.experiment_id])
    named = {each.data.tags.get("tagsage.candidate") for each in runs}
    assert named == {None, *CANDIDATES.split(",")}
    (run,) = (each for each in runs if "tagsage.candidate" not in each.data.tags)
    assert (run.data.params["store"], run.data.params["engine"]) == (STORE, ENGINE)
    assert client.get_model_version_by_alias("tagsage", "champion").version == "1"
    assert any(services.volume("mlflow-artifacts").rglob("*.json"))


def test_services_show_no_secret_in_logs_and_command_lines(finished, services):
    files = [*services.logs.iterdir(), *services.volume("airflow-logs").rglob("*")]
    texts = {str(path): path.read_bytes() for path in files if path.is_file()}
    assert any("fit_candidate" in name for name in texts)
    texts["command lines"] = "\n".join(services.command_lines).encode()
    assert b"celery" in texts["command lines"]
    told = {
        name: secret
        for name, text in texts.items()
        for secret in services.secrets
        if secret.encode() in text
    }
    assert told == {}


def test_services_write_nothing_beside_their_volumes(finished, services):
    names = {"dags", "plugins", "data", "compose", "include"}
    assert {path.name for path in services.tree.iterdir()} == names


def test_wrong_password_and_no_password_are_refused(services):
    with pytest.raises(urllib.error.HTTPError, match="401"):
        log_in(services, "wrong")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        call(services, "/api/v2/dags")


def test_pages_show_the_run_to_people_who_may_read_the_dag_and_to_nobody_else(finished, services):
    run, _ = finished

    def page(path, token=""):
        request = urllib.request.Request(
            f"http://127.0.0.1:{services.ports[8080]}/tagsage{path}",
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read().decode()

    for path in ("/", "/search", "/report", "/style.css"):
        with pytest.raises(urllib.error.HTTPError, match="401"):
            page(path)
    token = log_in(services, services.login[1])
    assert CANDIDATES.split(",")[0].partition(":")[2] in page("/", token)
    assert run["dag_run_id"].partition("+")[0] in page("/", token)
    assert "article?key=" in page("/search?state=untagged", token)


def test_init_run_again_changes_nothing(finished, services):
    services.run_to_its_end("airflow-init")
    assert log_in(services, services.login[1])


def test_databases_of_airflow_and_mlflow_are_closed_to_each_other(services):
    uri = services.environment("mlflow")["MLFLOW_BACKEND_STORE_URI"]
    other = uri.replace("+psycopg2", "").removesuffix("mlflow") + "airflow"
    done = subprocess.run(
        ["psql", other, "-c", "SELECT 1"],
        env=services.environment("postgres"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "permission denied for database" in done.stderr
