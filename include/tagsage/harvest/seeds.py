"""The lists and feeds to harvest, as the settings or a file name them."""

from __future__ import annotations

import re
from pathlib import Path

from tagsage.errors import TagsageError
from tagsage.settings.harvest import HarvestSettings


def seeds_of(settings: HarvestSettings) -> list[str]:
    """Return the addresses in the setting `harvest_seeds`, or in the file that it names."""
    named = settings.harvest_seeds.strip()
    return named.split() if are_addresses(named) else read_seeds(Path(named).expanduser())


def are_addresses(named: str) -> bool:
    """Tell whether `harvest_seeds` are addresses, and not a file of them; none are, too."""
    named = named.strip().lower()
    return not named or named.startswith(("http://", "https://"))


def read_seeds(file: Path) -> list[str]:
    """Return the addresses in a file, one per line; a comment begins with # after a blank."""
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8"
        msg = f"The file of seeds {file} cannot be read: {why}; name a text file, one URL per line."
        raise TagsageError(msg) from error
    stripped = (re.sub(r"(^|\s)#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line]
