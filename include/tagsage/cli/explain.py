"""The command ``explain``: why the champion gives an article a tag."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tagsage.cli.command import command
from tagsage.cli.store import open_named_store
from tagsage.errors import TagsageError
from tagsage.settings import Settings
from tagsage.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tagsage.explain.explanation import Explanation

app = typer.Typer()


@command(app)
def explain(
    settings: Settings,
    url: Annotated[str, typer.Argument(help="The address of an article of the corpus.")],
    tag: Annotated[str | None, typer.Option(help="One tag; by default the best ones.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many tags to explain.")] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Explain why the champion gives an article its tags: lists, articles, texts and words."""
    from tagsage.explain.one_article import explain_article, find_article
    from tagsage.registry.pyfunc import tagger_of
    from tagsage.registry.versions import load_version
    from tagsage.stages import tracking_of
    from tagsage.store.database import sqlite_file

    if settings.store == "sqlite" and not sqlite_file(settings).is_file():
        raise TagsageError(
            f"There is no corpus in {sqlite_file(settings)} yet; start a run with `tagsage run`."
        )
    with open_named_store(settings.store, settings, must_exist=True) as store:
        snapshot = store.snapshot()
    row = find_article(snapshot, url)
    tracking = tracking_of(settings, must_exist=True)
    tagger = tagger_of(load_version(tracking, settings.registered_model))
    workspace = Workspace(settings.workspace)
    explanations = explain_article(tagger, snapshot, workspace, row, tag, top)
    if as_json:
        typer.echo(json.dumps([asdict(one) for one in explanations], indent=1))
        return
    console = Console()
    console.print(f"[bold]{_plain(snapshot.articles['title'].iloc[row])}[/bold]")
    for one in explanations:
        _print(console, one)


def _print(console: Console, one: Explanation) -> None:
    console.print(
        f"\n[bold]{_plain(one.tag)}[/bold] {one.score:.3f}   (needed: {one.threshold:.3f}; "
        f"in no list: {one.score_without_graph:.3f})"
    )
    _table(
        console,
        "Lists that speak for it",
        ("list", "articles", "tagged", "with the tag", "falls by"),
        [(i.list, i.size, i.labelled, i.with_tag, f"{i.drop:.3f}") for i in one.lists],
    )
    _table(
        console,
        "Articles with the tag in the same lists",
        ("title", "lists", "story"),
        [(i.title, ", ".join(i.lists), i.story) for i in one.articles],
    )
    _table(
        console,
        "Nearest texts among tagged articles",
        ("title", "similarity", "has the tag", "story"),
        [
            (i.title, f"{i.similarity:.3f}", "yes" if i.has_tag else "no", i.story)
            for i in one.texts
        ],
    )
    _table(
        console,
        "Words that speak for it",
        ("word", "falls by"),
        [(i.word, f"{i.drop:.3f}") for i in one.words],
    )
    if one.terms:
        _table(
            console,
            "What adds up to its log-odds",
            ("what", "name", "log-odds"),
            [(i.kind, i.name, f"{i.log_odds:+.3f}") for i in one.terms],
        )


def _table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]
) -> None:
    if not rows:
        console.print(f"{title}: none.")
        return
    console.print(f"{title}:")
    table = Table()
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*map(_plain, row))
    console.print(table)


def _plain(text: object) -> str:
    """Return a text as one harmless line: titles may hold anything, even orders to a terminal."""
    plain = "".join(letter if letter.isprintable() else " " for letter in str(text)[:300])
    return escape(plain)
