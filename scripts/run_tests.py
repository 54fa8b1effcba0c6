"""Run every test; without Chromium on the machine, say in one line what is left out."""

from __future__ import annotations

import os
import shutil
import sys

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> int:
    """Run pytest with the arguments given; browser tests need a browser, except in CI."""
    arguments = sys.argv[1:]
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None and os.environ.get("CI") != "true":
        arguments = ["-m", "not browser", *arguments]
    status = int(pytest.main(arguments))
    if "not browser" in arguments:
        print(
            "Left out: the tests that look at pages in a browser; "
            "install chromium (apt-get install chromium) to run them.",
        )
    return status


if __name__ == "__main__":
    sys.exit(main())
