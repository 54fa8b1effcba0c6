"""Write ``.env`` from ``.env.example`` with secrets drawn at random; never over an existing one."""

from __future__ import annotations

import base64
import os
import re
import secrets
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def draw(name: str) -> str:
    """Return a new secret of the form that the variable asks for; all are safe inside URLs."""
    if name == "AIRFLOW_FERNET_KEY":
        return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(32 if name.endswith(("_SECRET", "_KEY")) else 16)


def filled(example: str) -> str:
    """Return the example with a secret drawn for every variable that it leaves empty."""
    return re.sub(
        r"^([A-Z0-9_]+)=$",
        lambda found: f"{found[1]}={draw(found[1])}",
        example,
        flags=re.MULTILINE,
    )


def main(folder: Path = ROOT) -> int:
    """Write the file, readable by its owner alone."""
    text = filled((folder / ".env.example").read_text(encoding="utf-8"))
    file = folder / ".env"
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(f"{file} is there already and was left as it is.", file=sys.stderr)
        return 1
    with os.fdopen(descriptor, "w", encoding="utf-8") as output:
        output.write(text)
    print(f"Wrote {file} with new secrets; AIRFLOW_ADMIN_PASSWORD in it is the one to log in with.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
