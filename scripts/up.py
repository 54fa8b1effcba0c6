"""Serve Airflow and MLflow on this machine until Ctrl-C; print where they are and how to log in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from tagsage.errors import TagsageError
from tagsage.redact import redact
from tagsage.settings import Settings
from tagsage.stages import tracking_of

BIN = Path(sys.executable).parent
READY_WITHIN_S = 180


def answers(url: str) -> bool:
    """Tell whether a server on this machine answers at `url`."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def password() -> tuple[str, str] | None:
    """Return the user and the password that Airflow made on its first start."""
    home = Path(os.environ["AIRFLOW_HOME"])
    file = home / "simple_auth_manager_passwords.json.generated"
    if not file.exists():
        return None
    users = json.loads(file.read_text(encoding="utf-8"))
    return next(iter(users.items()), None)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own, with its output in a file."""
    variables = {
        **os.environ,
        # `airflow standalone` starts its parts by name.
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        # MLflow's own job runners are for language models; they would be five idle processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=variables,
        )


def stop(servers: dict[str, subprocess.Popen[bytes]]) -> None:
    """Stop the servers. SIGINT, since SIGTERM makes `airflow standalone` orphan its children.

    Not to their groups: `airflow standalone` passes it on, and a part of Airflow that is signalled
    twice at once can wait for itself for ever.
    """
    for server in servers.values():
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
    for name, server in servers.items():
        try:
            server.wait(timeout=30)
        except subprocess.TimeoutExpired:
            print(f"{name} did not stop within 30 s; killing it.", file=sys.stderr)
        # What is left of the group after a clean end is orphans.
        try:
            os.killpg(server.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def main() -> int:
    """Start both servers, wait until they answer, and watch them."""
    # A shell that starts us in the background has us ignore SIGINT, and the servers with us.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        settings = Settings.resolve()
        # Once, before the server and the first task would both make the tables.
        tracking = tracking_of(settings)
    except TagsageError as error:
        print(error, file=sys.stderr)
        return 1
    home = Path(os.environ["AIRFLOW_HOME"])
    airflow_url = f"http://127.0.0.1:{os.environ['AIRFLOW_PORT']}"
    mlflow_url = f"http://127.0.0.1:{os.environ['MLFLOW_PORT']}"
    for name, url in (("Airflow", airflow_url), ("MLflow", mlflow_url)):
        if answers(url):
            variable = f"{name.upper()}_PORT"
            print(
                f"Something already answers at {url}; stop it, or choose another port with "
                f"`make up {variable}=…`.",
                file=sys.stderr,
            )
            return 1
    logs = {"Airflow": home / "airflow.log", "MLflow": home / "mlflow.log"}
    own_mlflow = tracking.uri.startswith("sqlite:")
    if own_mlflow:
        # For links to it; what tasks log goes into the file.
        os.environ.setdefault("TAGSAGE_MLFLOW_URL", mlflow_url)
    servers = {"Airflow": start([str(BIN / "airflow"), "standalone"], logs["Airflow"])}
    if own_mlflow:
        servers["MLflow"] = start(
            [
                *(str(BIN / "mlflow"), "server", "--backend-store-uri", tracking.uri),
                *("--host", "127.0.0.1", "--port", os.environ["MLFLOW_PORT"], "--workers", "1"),
            ],
            logs["MLflow"],
        )
    else:
        mlflow_url = redact(tracking.uri)
    try:
        waited_until = time.monotonic() + READY_WITHIN_S
        waiting = {
            "Airflow": f"{airflow_url}/api/v2/monitor/health",
            "MLflow": f"{mlflow_url}/health",
        }
        waiting = {name: url for name, url in waiting.items() if name in servers}
        while waiting:
            waiting = {name: url for name, url in waiting.items() if not answers(url)}
            dead = [name for name, server in servers.items() if server.poll() is not None]
            if dead or time.monotonic() > waited_until:
                name = (dead or list(waiting))[0]
                print(f"{name} did not start; its last words are in {logs[name]}.", file=sys.stderr)
                return 1
            time.sleep(0.5)
        user = password()
        login = f"   log in as {user[0]} with password {user[1]}" if user else ""
        print(f"Airflow  {airflow_url}{login}", flush=True)
        print(f"MLflow   {mlflow_url}", flush=True)
        print("Trigger the DAG `retrain` in Airflow; Ctrl-C stops both.", flush=True)
        while True:
            for name, server in servers.items():
                if server.poll() is not None:
                    print(f"{name} stopped; its last words are in {logs[name]}.", file=sys.stderr)
                    return 1
            time.sleep(1)
    except KeyboardInterrupt:
        print("Stopping …", flush=True)
        return 0
    finally:
        stop(servers)


if __name__ == "__main__":
    sys.exit(main())
