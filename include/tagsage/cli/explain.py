"""The command ``explain``: why the champion gives an article a tag."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tagsage.cli.common import (
    DebugOption,
    SetOption,
    WorkspaceOption,
    exit_on_error,
    open_named_store,
    overrides_of,
)
from tagsage.errors import TagsageError
from tagsage.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

    from tagsage.explain.explanation import Explanation
    from tagsage.registry.tagger import Tagger
    from tagsage.store.snapshot import Snapshot

app = typer.Typer()

# An unknown address is compared with so many before and after it in the order of keys.
NEIGHBOURS = 2000


@app.command()
def explain(
    url: Annotated[str, typer.Argument(help="The address of an article of the corpus.")],
    tag: Annotated[str | None, typer.Option(help="One tag; by default the best ones.")] = None,
    top: Annotated[int, typer.Option(min=1, help="How many tags to explain.")] = 3,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    debug: DebugOption = False,
) -> None:
    """Explain why the champion gives an article its tags: lists, articles, texts and words."""
    with exit_on_error(debug=debug):
        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        snapshot = _snapshot(settings)
        row = _row(snapshot, url)
        explanations = _explanations(settings, snapshot, row, tag, top)
        if as_json:
            typer.echo(json.dumps([asdict(one) for one in explanations], indent=1))
            return
        console = Console()
        console.print(f"[bold]{_plain(snapshot.articles['title'].iloc[row])}[/bold]")
        for one in explanations:
            _print(console, one)


def _snapshot(settings: Settings) -> Snapshot:
    from tagsage.store.database import sqlite_file

    if settings.store == "sqlite" and not sqlite_file(settings).is_file():
        raise TagsageError(
            f"There is no corpus in {sqlite_file(settings)} yet; start a run with `tagsage run`."
        )
    with open_named_store(settings.store, settings, must_exist=True) as store:
        return store.snapshot()


def _row(snapshot: Snapshot, url: str) -> int:
    """Return the row of the article with an address, which has a text."""
    import pandas as pd

    from tagsage.corpus.keys import parse_address

    address = parse_address(url)
    if address is None:
        raise TagsageError(f"{url[:200]!r} is not the address of an article; give its URL.")
    keys = pd.Index(snapshot.articles["key"])
    if address.key not in keys:
        # Keys are sorted, so those that begin alike stand near.
        place = int(keys.searchsorted(address.key))
        near = slice(max(0, place - NEIGHBOURS), place + NEIGHBOURS)
        urls = dict(zip(keys[near], snapshot.articles["url"].iloc[near], strict=True))
        close = [urls[key] for key in get_close_matches(address.key, urls, n=3)]
        hint = f"; the nearest are {', '.join(close)}" if close else ""
        raise TagsageError(f"The store holds no article {address.url[:200]}{hint}.")
    row = int(keys.get_loc(address.key))
    if snapshot.articles["is_stub"].iloc[row]:
        raise TagsageError(
            f"Only the address of {address.url} is known, from lists: without a text it gets no "
            "tags; harvest it or add it to the articles, then run again."
        )
    return row


def _explanations(
    settings: Settings, snapshot: Snapshot, row: int, tag: str | None, top: int
) -> list[Explanation]:
    """Explain the best tags of an article, or one tag, with the champion."""
    import numpy as np

    from tagsage.explain.explain import explain as explain_tags
    from tagsage.explain.labelled_corpus import LabelledCorpus
    from tagsage.explain.scorer import Scorer
    from tagsage.registry.pyfunc import tagger_of
    from tagsage.registry.versions import load_version
    from tagsage.stages import tracking_of

    tracking, name = tracking_of(settings, must_exist=True), settings.registered_model
    tagger = tagger_of(load_version(tracking, name))
    tags = tagger.candidate.tags
    if tag is not None and tag not in tags:
        close = get_close_matches(tag, tags, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise TagsageError(f"The champion knows no tag {tag[:200]!r}{hint}; it has {len(tags):,}.")
    known = _known_vectors(settings, snapshot, tagger)
    corpus = LabelledCorpus.of(snapshot, tags, known)
    if known is None:
        corpus = replace(corpus, vectors=_labelled_vectors(tagger, corpus.labelled, snapshot))
    vectors = None if known is None else known.__getitem__
    if tag is None:
        scores = Scorer(tagger, corpus, np.array([row]), vectors).scores()[0]
        columns = np.argsort(-scores, kind="stable")[:top].tolist()
    else:
        columns = [tags.index(tag)]
    return list(explain_tags(tagger, corpus, [row] * len(columns), columns, vectors=vectors))


def _known_vectors(
    settings: Settings, snapshot: Snapshot, tagger: Tagger
) -> npt.NDArray[np.floating] | None:
    """Return the vectors that a run of this corpus left in the workspace; None without any."""
    import numpy as np

    from tagsage.workspace import MANIFEST, Workspace

    workspace = Workspace(settings.workspace)
    embedder = tagger.embedder
    for file in workspace.local_path.glob("artifacts/*/vectors.npy"):
        made = json.loads((file.parent / MANIFEST).read_text(encoding="utf-8"))
        corpus = made["inputs"].get("corpus", "")
        if not workspace.exists(corpus):
            continue
        vectors: npt.NDArray[np.floating] = np.load(file, mmap_mode="r", allow_pickle=False)
        same_model = (
            vectors.shape[1] == tagger.dimensions
            if embedder is None
            else made["summary"].get("model_id") == embedder.model_id
        )
        if same_model and workspace.open(corpus).summary["digest"] == snapshot.digest:
            return vectors
    if embedder is None and tagger.features.needs_vectors:
        raise TagsageError(
            "The champion was trained on precomputed vectors, and the workspace no longer holds "
            "those of the corpus as it is now; start a run with `tagsage run`."
        )
    return None


def _labelled_vectors(
    tagger: Tagger, labelled: npt.NDArray[np.bool_], snapshot: Snapshot
) -> npt.NDArray[np.float32] | None:
    """Embed the labelled articles where that is free; the others have zeros."""
    import numpy as np

    from tagsage.embed.lsa import LsaEmbedder
    from tagsage.embed.text import article_texts

    embedder = tagger.embedder
    if not isinstance(embedder, LsaEmbedder):
        return None
    vectors = np.zeros((len(labelled), embedder.dimensions), dtype=np.float32)
    vectors[labelled] = embedder.embed(article_texts(snapshot.articles[labelled]))
    return vectors


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
