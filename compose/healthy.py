"""Tell by the exit status whether a server answers, or what Airflow says of one of its parts.

``healthy.py URL`` asks for the status 200; ``healthy.py URL PART`` reads Airflow's
``/api/v2/monitor/health`` and asks for a recent heartbeat of the part, such as ``triggerer``.
"""

from __future__ import annotations

import json
import sys
import urllib.request

PATIENCE_S = 10


def main(url: str, part: str = "") -> int:
    """Return 0 when healthy; say why not otherwise."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:
            said = answer.read()
    except OSError as error:
        print(f"{url}: {error}", file=sys.stderr)
        return 1
    if not part:
        return 0
    status = json.loads(said)[part]["status"]
    if status == "healthy":
        return 0
    print(f"{part}: {status}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
