"""The commands of the README, pasted one after the other into one shell."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
from contextlib import suppress

import pytest

from scripts.neo4j_server import free_ports
from tests.integration.conftest import BIN, ROOT, environment

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SUBJECTS = {"cooking": "bread oven flour", "gardens": "soil roses spade", "ships": "sail harbour"}
# Not run here: `make` takes minutes, starts servers or fetches programs, and other tests run
# its targets; Docker is not everywhere; no host of others is asked.
LEFT_OUT = r"^make |^docker |^tagsage harvest https"
# A tiny corpus, made fast.
SETTINGS = {
    "TAGSAGE_MIN_TAG_ARTICLES": "20",
    "TAGSAGE_CANDIDATES": "text:ovr_logistic",
    "TAGSAGE_LSA_DIMENSIONS": "8",
    "TAGSAGE_SCENARIOS": "",
    "TAGSAGE_EXPLAIN_ARTICLES": "12",
}
SERVE = "mlflow models serve"


def write_corpus(folder):
    """Write articles.csv, lists.csv and vectors.csv: 300 articles, every fourth without tags."""
    files = {
        "articles.csv": [("story", "title", "date", "author", "tags")],
        "lists.csv": [("list", "article")],
        "vectors.csv": [("url", "vector")],
    }
    for number in range(300):
        url = f"https://example.org/articles/{number}"
        tag, words = list(SUBJECTS.items())[number % 3]
        tags = json.dumps([tag] if number % 4 else [])
        files["articles.csv"].append((url, f"On {words} {number}", "2024-05-01", "Ann", tags))
        files["lists.csv"].append((f"list {number % 6}", url))
        files["vectors.csv"].append((url, str([number % 3, number % 2, 1])))
    for name, rows in files.items():
        with (folder / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)


def pasted(port):
    """Return the README's blocks as one script; what serves is waited for, on another port."""
    page = (ROOT / "README.md").read_text(encoding="utf-8").partition("## Your own articles")[2]
    blocks = re.findall(r"^```sh\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    script = ["set -e -o pipefail"]
    for block in blocks:
        if re.search(LEFT_OUT, block, flags=re.MULTILINE):
            continue
        block = block.replace("5001", str(port)).rstrip()
        if SERVE in block:
            block += " >&2 &\n"
            block += f"until curl -s http://127.0.0.1:{port}/ping; do kill -0 $!; sleep 1; done"
        script.append(block)
    return "\n".join(script)


def test_commands_of_the_readme_work_one_after_the_other(tmp_path):
    write_corpus(tmp_path)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    (port,) = free_ports(1)
    script = pasted(port)
    assert SERVE in script
    said, log = tmp_path / "said.txt", tmp_path / "log.txt"
    with said.open("w") as output, log.open("w") as errors:
        shell = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path,
            env=environment(**SETTINGS),
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout=1200)
        finally:
            # Nothing is left to end when a command before the server failed.
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    assert status == 0, log.read_text(encoding="utf-8")[-3000:]
    metrics = json.loads((tmp_path / "my-vectors" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["promoted"]
    # The model of given vectors is timed, too: with vectors.
    (latency,) = [one for one in metrics["promotion"]["checks"] if one["name"] == "latency"]
    assert latency["value"] > 0
    (answer,) = json.loads(said.read_text(encoding="utf-8").splitlines()[-1])["predictions"]
    assert len(answer["top"]) == 3
