"""Write the tables of settings in docs/configure.md anew from the program's own settings."""

from __future__ import annotations

import sys
from pathlib import Path

from tagsage.settings import Settings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "configure.md"
BEGIN = "<!-- settings: written by scripts/settings_page.py -->"
END = "<!-- settings: end -->"
LIMITS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
}
LONG = 80


def settings_tables() -> str:
    """Return a Markdown table for each section of the settings, under the section's heading."""
    parts = []
    for section in Settings.sections():
        parts.append(f"\n### {section.title}\n\n| setting | default | allowed | meaning |")
        parts.append("|---|---|---|---|")
        parts += [_row(name) for name in section.model_fields]
    return "\n".join(parts).strip()


def updated(page: str) -> str:
    """Return the text of the page with the tables as they should be."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not after:
        raise ValueError(f"the page lacks the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{settings_tables()}\n\n{END}{after}"


def _row(name: str) -> str:
    field = Settings.model_fields[name]
    cells = [f"`{name}`", _shown(field.default), _allowed(name), field.description or ""]
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _shown(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # A long list in one code span would not wrap.
    parts = text.split(",") if len(text) > LONG else [text]
    return ", ".join(f"`{part}`" for part in parts) if text else "empty"


def _allowed(name: str) -> str:
    schema = Settings.form_field(name)
    if "enum" in schema:
        # What else is taken is told in the description.
        named = (choice for choice in schema["enum"] if not isinstance(choice, bool))
        return ", ".join(f"`{choice}`" for choice in named)
    limits = [words.format(schema[key]) for key, words in LIMITS.items() if key in schema]
    kind = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`"}
    return " ".join([kind.get(str(schema["type"]), "text"), ", ".join(limits)]).strip()


def main() -> int:
    """Write the page."""
    PAGE.write_text(updated(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
