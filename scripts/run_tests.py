"""Run every test; what this machine has no program for is left out, and said in a line at the end.

In CI nothing is left out: a test without its program fails there.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import compose_check
import neo4j_server
import pytest

MOST_WORKERS = 4
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Need:
    """What the tests with a marker need besides Python's packages."""

    marker: str
    tests: str
    is_there: Callable[[], bool]
    remedy: str


def has_browser() -> bool:
    """Tell whether a Chromium is on this machine."""
    return any(shutil.which(name) for name in BROWSERS)


def has_neo4j() -> bool:
    """Tell whether a Neo4j can be assembled and started on this machine."""
    return not neo4j_server.missing_tools()


def has_services() -> bool:
    """Tell whether Postgres and Redis are on this machine; Debian's Postgres is on no path."""
    postgres = shutil.which("initdb") or any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return bool(postgres and shutil.which("psql") and shutil.which("redis-server"))


def has_compose() -> bool:
    """Tell whether Compose's loader is there or can be built."""
    try:
        compose_check.loader()
    except compose_check.ComposeError:
        return False
    return True


NEEDS = (
    Need("browser", "look at pages in a browser", has_browser, "apt-get install chromium"),
    Need(
        "neo4j",
        "use a Neo4j with GDS",
        has_neo4j,
        "apt-get install openjdk-17-jre-headless maven",
    ),
    Need(
        "services",
        "run the services of docker-compose.yaml",
        has_services,
        "apt-get install postgresql redis-server",
    ),
    Need(
        "compose",
        "read docker-compose.yaml with Compose's own loader",
        has_compose,
        "connect to the network once",
    ),
)


def main() -> int:
    """Run pytest with the arguments given; return its exit status."""
    # The workers use all cores already: threads of numpy's would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    in_ci = os.environ.get("CI") == "true"
    missing = [] if in_ci else [need for need in NEEDS if not need.is_there()]
    # `make test-spark` runs those with Spark, in an environment of its own.
    left_out = " and ".join(f"not {name}" for name in ("spark", *(need.marker for need in missing)))
    # Beside each other, one more than there are cores, because many tests wait: for servers, for
    # limits to pass, for programs to die. File by file, so that what a file's tests share is made
    # once; in the order of tests/conftest.py.
    workers = str(min((os.cpu_count() or 1) + 1, MOST_WORKERS))
    shared_out = ["-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    status = int(pytest.main([*shared_out, "-m", left_out, *sys.argv[1:]]))
    for need in missing:
        print(f"Left out: the tests that {need.tests}; to run them: {need.remedy}.")
    return status


if __name__ == "__main__":
    sys.exit(main())
