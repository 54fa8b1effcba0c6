"""Fail when requirements*.txt is not what requirements*.in compiles to.

``check_lock.py NAME ...`` checks others than the two of .venv; Spark's takes a large download.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")


def body(file: Path) -> list[str]:
    """Return the lines of a lock without the comments, which name the command that made it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if not line.lstrip().startswith("#")]


def main(names: list[str]) -> int:
    """Compile each list again, keeping the locked versions, and compare."""
    drifted = []
    with tempfile.TemporaryDirectory() as folder:
        for file in ROOT.glob("requirements*"):
            shutil.copy(file, folder)
        for name in names or ("requirements", "requirements-dev"):
            command = [
                str(UV),
                *("pip", "compile", "--quiet", "--python-version", "3.11"),
                *("--no-emit-index-url", f"{name}.in", "--output-file", f"{name}.txt"),
            ]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                print(f"{name}.in does not compile:\n{done.stderr}", file=sys.stderr)
                return 1
            if body(Path(folder) / f"{name}.txt") != body(ROOT / f"{name}.txt"):
                drifted.append(f"{name}.txt")
    if drifted:
        print(
            f"{' and '.join(drifted)} drifted from the .in file; run `make lock` and commit it.",
            file=sys.stderr,
        )
    return bool(drifted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
