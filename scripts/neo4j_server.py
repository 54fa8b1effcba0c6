"""A real Neo4j with Graph Data Science, without Docker: assembled from Maven, started, stopped.

`make neo4j` runs this module; the tests and the benchmarks use :class:`Neo4jServer`.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
POM = ROOT / "scripts" / "neo4j" / "pom.xml"
CACHE = ROOT / ".neo4j"

USER = "neo4j"
READY = "Started."
READY_WITHIN_S = 180
STOPPED_WITHIN_S = 60
# Procedures are looked for in plugins/ only; the jars beside these need to be in lib/ only.
PROCEDURES = (
    *("alpha-proc", "proc-catalog", "proc-centrality", "proc-common", "proc-community"),
    *("proc-embeddings", "proc-machine-learning", "proc-misc", "proc-path-finding"),
    *("proc-pipeline-catalog", "proc-similarity", "proc-sysinfo"),
)
# What Neo4j's own start script gives Java.
JAVA_OPTIONS = (
    "-XX:+UseG1GC",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.io=ALL-UNNAMED",
    "--add-opens=java.base/sun.nio.ch=ALL-UNNAMED",
    "-Dlog4j2.disable.jmx=true",
    "-Dio.netty.tryReflectionSetAccessible=true",
)


class ServerError(RuntimeError):
    """The server could not be assembled or started; the message says why and what to do."""


def missing_tools() -> list[str]:
    """Return which of Java 17 or newer and Maven are not on this machine."""
    missing = []
    version = None
    if java := shutil.which("java"):
        done = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
        version = re.search(r'version "(\d+)', done.stderr)
    if version is None or int(version[1]) < 17:
        missing.append("Java 17 or newer")
    if shutil.which("mvn") is None:
        missing.append("Maven")
    return missing


def assemble() -> Path:
    """Fetch the jars of the pom, once per state of it; return their folder."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:12]
    assembled = CACHE / f"server-{digest}"
    if assembled.is_dir():
        return assembled
    if missing := missing_tools():
        names = " and ".join(missing)
        raise ServerError(
            f"Neo4j needs {names} on this machine; install them "
            "(apt-get install openjdk-17-jre-headless maven) and try again."
        )
    CACHE.mkdir(exist_ok=True)
    temporary = CACHE / f".assembling-{os.getpid()}"
    shutil.rmtree(temporary, ignore_errors=True)
    print("Bringing Neo4j and GDS from Maven (132 MB, once) ...", flush=True)
    done = subprocess.run(
        [
            *("mvn", "--quiet", "--batch-mode", "--file", str(POM)),
            *("dependency:copy-dependencies", "-DincludeScope=runtime"),
            f"-DoutputDirectory={temporary / 'lib'}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        shutil.rmtree(temporary, ignore_errors=True)
        last = [line for line in done.stdout.splitlines() if "ERROR" in line][:1] or ["no message"]
        raise ServerError(
            f"Maven could not bring Neo4j: {last[0]}; check the network and try again."
        )
    (temporary / "plugins").mkdir()
    for name in PROCEDURES:
        (jar,) = (temporary / "lib").glob(f"{name}-[0-9]*.jar")
        (temporary / "plugins" / jar.name).hardlink_to(jar)
    try:
        temporary.rename(assembled)
    except OSError:
        # Another process was first.
        shutil.rmtree(temporary, ignore_errors=True)
    return assembled


def free_ports(count: int) -> list[int]:
    """Return different ports of this machine that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    return free_ports(1)[0]


class Neo4jServer:
    """One server on this machine, its data in a folder that outlives it.

    The password of the user ``neo4j`` counts only at the first start of a home; without one there
    is no authentication. `settings` go to neo4j.conf.
    """

    def __init__(
        self,
        home: Path,
        *,
        port: int,
        password: str = "",
        heap_mb: int = 4096,
        settings: Mapping[str, str] | None = None,
        with_gds: bool = True,
        java_options: Sequence[str] = (),
    ) -> None:
        self.home = home
        self.port = port
        self.password = password
        self.heap_mb = heap_mb
        self.settings = dict(settings or {})
        self.with_gds = with_gds
        self.java_options = tuple(java_options)
        self.process: subprocess.Popen[bytes] | None = None
        self.log = home / "logs" / "console.log"

    @property
    def uri(self) -> str:
        """Where it listens."""
        return f"bolt://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which tagsage finds it."""
        credentials = (
            {"NEO4J_USERNAME": USER, "NEO4J_PASSWORD": self.password} if self.password else {}
        )
        return {"NEO4J_URI": self.uri, **credentials}

    def start(self) -> None:
        """Start it and wait until it answers; raise a ServerError when it does not."""
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                raise ServerError(
                    f"Something already listens on port {self.port}; stop it, or choose another "
                    "port with `make neo4j NEO4J_PORT=...`."
                )
        assembled = assemble()
        self._configure(assembled)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [
                    *("java", "-Xms512m", f"-Xmx{self.heap_mb}m", *JAVA_OPTIONS),
                    *self.java_options,
                    *("-cp", f"{assembled / 'lib'}/*", "org.neo4j.server.CommunityEntryPoint"),
                    *(f"--home-dir={self.home}", f"--config-dir={self.home / 'conf'}"),
                    "--console-mode",
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is ours to pass on.
                start_new_session=True,
            )
        deadline = time.monotonic() + READY_WITHIN_S
        while READY not in (said := self.log.read_text(encoding="utf-8", errors="replace")):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                lines = re.findall(r".*(?:ERROR|Exception).*", said) or ["no message"]
                raise ServerError(f"Neo4j did not start: {lines[0]}; all it said is in {self.log}.")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it cleanly; kill it when it does not stop in time."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=STOPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process = None

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        """Stop it cleanly and start it again: graphs and models of GDS are gone then."""
        self.stop()
        self.start()

    def __enter__(self) -> Neo4jServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _configure(self, assembled: Path) -> None:
        settings = {
            "server.bolt.listen_address": f"127.0.0.1:{self.port}",
            "server.http.enabled": "false",
            "server.directories.lib": str(assembled / "lib"),
            "server.directories.plugins": str(
                assembled / "plugins" if self.with_gds else self.home / "plugins"
            ),
            # At a stop it would wait 5 s for threads that have nothing to do.
            "internal.server.bolt.thread_pool_shutdown_wait_time": "1s",
            "server.memory.pagecache.size": "512m",
            "dbms.security.procedures.unrestricted": "gds.*",
            "dbms.security.auth_enabled": "true" if self.password else "false",
            "dbms.usage_report.enabled": "false",
            **self.settings,
        }
        conf = self.home / "conf"
        conf.mkdir(parents=True, exist_ok=True)
        (self.home / "plugins").mkdir(exist_ok=True)
        lines = [f"{name}={value}\n" for name, value in settings.items()]
        (conf / "neo4j.conf").write_text("".join(lines), encoding="utf-8")
        if self.password and not (self.home / "data" / "dbms").exists():
            self._set_password(assembled)

    def _set_password(self, assembled: Path) -> None:
        done = subprocess.run(
            [
                *("java", "-cp", f"{assembled / 'lib'}/*", "org.neo4j.cli.AdminTool"),
                *("dbms", "set-initial-password", self.password),
            ],
            env={**os.environ, "NEO4J_HOME": f"{self.home}", "NEO4J_CONF": f"{self.home}/conf"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            said = done.stdout.replace(self.password, "***").strip()
            raise ServerError(f"Neo4j's password could not be set: {said}")


def kept_password(home: Path) -> str:
    """Return the password of a home: from its file, else NEO4J_PASSWORD or a new one; keep it."""
    file = home / "password"
    if file.exists() and (kept := file.read_text(encoding="utf-8").strip()):
        return kept
    password = os.environ.get("NEO4J_PASSWORD") or secrets.token_hex(16)
    home.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(password + "\n", encoding="utf-8")
    return password


def main() -> int:
    """Start the server, print how to reach it, and watch it until Ctrl-C."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    home = Path(os.environ.get("NEO4J_FOLDER") or CACHE / "home").absolute()
    try:
        server = Neo4jServer(
            home,
            port=int(os.environ.get("NEO4J_PORT") or 7687),
            password=kept_password(home),
            heap_mb=int(os.environ.get("NEO4J_HEAP_MB") or 4096),
        )
        server.start()
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"Neo4j with GDS  {server.uri}   data in {home}")
    print("In the shell where you run tagsage or `make up`:\n")
    print(f"  export NEO4J_URI={server.uri} NEO4J_USERNAME={USER}")
    print(f"  export NEO4J_PASSWORD=$(cat {home / 'password'})\n")
    print("Ctrl-C stops it; the data stays.", flush=True)
    try:
        while not stopped.wait(1):
            if server.process is None or server.process.poll() is not None:
                print(f"Neo4j stopped; see {server.log}.", file=sys.stderr)
                return 1
        print("Stopping ...", flush=True)
        return 0
    finally:
        server.stop()


if __name__ == "__main__":
    sys.exit(main())
