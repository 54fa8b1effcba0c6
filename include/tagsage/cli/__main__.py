"""``python -m tagsage.cli``."""

from __future__ import annotations

from tagsage.cli import main

main()
