"""The command line put together."""

from __future__ import annotations

import typer

from tagsage.cli import explain, harvest, model, runs, store, vectors

app = typer.Typer(
    name="tagsage",
    help="Retrain a model that tags articles from their text and their reading lists.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(runs.app)
app.add_typer(explain.app)
app.add_typer(harvest.app)
app.add_typer(model.app, name="model")
app.add_typer(store.app, name="store")
app.add_typer(vectors.app, name="vectors")


def main() -> None:
    """Run the command line; the console script `tagsage`."""
    app()
