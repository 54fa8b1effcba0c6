"""The documentation keeps to what there is."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import typer

from tagsage.cli import app
from tagsage.features import BLOCKS
from tagsage.learn.candidate_names import check_candidates
from tagsage.learn.classifiers import CLASSIFIERS
from tagsage.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_in(text: str) -> list[str]:
    """Return the lines of code blocks, continued lines joined, and the code spans."""
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*lines, *re.findall(r"`([^`]+)`", prose)]


@every_page
def test_links_lead_to_files_that_exist(page):
    links = re.findall(r"\]\(([^)#\s]+)", text_of(page))
    missing = [
        link for link in links if "://" not in link and not (page.parent / link).resolve().exists()
    ]
    assert not missing


@every_page
def test_make_targets_named_exist(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", text_of(ROOT / "Makefile"), flags=re.MULTILINE))
    named = {
        found[1]
        for code in code_in(text_of(page))
        if (found := re.match(r"(?:\S+=\S+ )*make ([a-z0-9-]+)", code))
    }
    assert named <= targets


@every_page
def test_tagsage_commands_and_options_named_exist(page):
    commands = typer.main.get_command(app).commands
    for code in code_in(text_of(page)):
        found = re.match(r"(?:\.venv/bin/)?tagsage ([a-z]+)(.*)", code.partition(" #")[0])
        if found is None:
            continue
        assert found[1] in commands, code
        command, rest = commands[found[1]], found[2]
        if subcommand := re.match(r" ([a-z]+)", rest) if hasattr(command, "commands") else None:
            assert subcommand[1] in command.commands, code
            command, rest = command.commands[subcommand[1]], rest[subcommand.end() :]
        known = {name for option in command.params for name in option.opts}
        assert set(re.findall(r"(?<!\S)--[a-z]+(?:-[a-z]+)*", rest)) <= known, code


@every_page
def test_settings_given_in_examples_are_possible(page):
    for code in code_in(text_of(page)):
        pairs = re.findall(r"--set (\w+)=(\S+)", code)
        pairs += [
            (name.lower(), value) for name, value in re.findall(r"TAGSAGE_([A-Z_]+)=(\S+)", code)
        ]
        given = {name: value for name, value in pairs if value != "value"}
        check_candidates(Settings.resolve(given).parsed_candidates())


def test_settings_page_is_up_to_date():
    page = text_of(ROOT / "docs" / "configure.md")
    script = runpy.run_path(str(ROOT / "scripts" / "settings_page.py"))
    assert page == script["updated"](page), "run `.venv/bin/python scripts/settings_page.py`"


def test_settings_page_lists_every_block_and_classifier():
    page = text_of(ROOT / "docs" / "configure.md")
    named = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert set(named) >= {*BLOCKS, *CLASSIFIERS}


def test_every_file_of_docs_is_linked_from_the_readme():
    readme = text_of(ROOT / "README.md")
    unlinked = [
        file.relative_to(ROOT).as_posix()
        for file in (ROOT / "docs").rglob("*")
        if file.is_file() and f"({file.relative_to(ROOT).as_posix()})" not in readme
    ]
    assert not unlinked
