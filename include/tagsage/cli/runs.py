"""Commands of the run: ``run``, ``show``, ``tag``, ``settings``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, cast

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tagsage.cli.command import (
    DebugOption,
    SetOption,
    WorkspaceOption,
    command,
    exit_on_error,
    overrides_of,
)
from tagsage.errors import TagsageError
from tagsage.settings import ENV_PREFIX, Settings

app = typer.Typer()


@app.command()
def run(
    articles: Annotated[str | None, typer.Option(help="CSV of articles; .gz accepted.")] = None,
    lists: Annotated[str | None, typer.Option(help="CSV of memberships; .gz accepted.")] = None,
    workspace: WorkspaceOption = None,
    store: Annotated[
        str | None, typer.Option(help="Where articles are kept: sqlite, postgres or neo4j.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="What computes the graph: local, gds.")] = None,
    runner: Annotated[
        str | None, typer.Option(help="What works on partitions: local, spark.")
    ] = None,
    embedder: Annotated[
        str | None, typer.Option(help="lsa, e5, openai, or precomputed with --vectors.")
    ] = None,
    vectors: Annotated[str | None, typer.Option(help="CSV of URL, JSON list.")] = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Run all stages of the DAG in one process."""
    overrides = overrides_of(
        set_,
        articles=articles,
        lists=lists,
        workspace=workspace,
        store=store,
        engine=engine,
        runner=runner,
        embedder=embedder,
        vectors=vectors,
    )
    with exit_on_error(debug=debug):
        from tagsage.pipeline import run_pipeline

        token = run_pipeline(overrides)
        _print_results(Settings.model_validate(token["settings"]))


@command(app)
def show(settings: Settings) -> None:
    """Print the leaderboard of the last run, and where its files are."""
    _print_results(settings)


@command(app)
def tag(
    settings: Settings,
    title: Annotated[str, typer.Argument(help="The title of an article.")],
    subtitle: Annotated[str, typer.Option(help="Its subtitle.")] = "",
    in_list: Annotated[
        list[str] | None, typer.Option("--list", help="A list that holds it; may be repeated.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(
            "--beside", help="An article of the corpus in the same lists; may be repeated."
        ),
    ] = None,
    author: Annotated[str, typer.Option(help="Who wrote it.")] = "",
    story: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Its address: an article of the corpus then gets the scores of the last run.",
        ),
    ] = "",
    top: Annotated[int, typer.Option(min=1, help="How many tags to print.")] = 5,
) -> None:
    """Tag one title with the champion."""
    import pandas as pd

    from tagsage.registry.versions import load_version
    from tagsage.stages import tracking_of

    champion = load_version(tracking_of(settings, must_exist=True), settings.registered_model)
    signature = champion.metadata.signature
    if signature is not None and "vector" in signature.inputs.required_input_names():
        msg = (
            "The champion was trained on precomputed vectors, so a title alone is not enough; "
            "call its predict with a column vector, or train with the embedder lsa."
        )
        raise TagsageError(msg)
    row = {
        "title": title,
        "subtitle": subtitle,
        "author": author,
        "story": story,
        "lists": in_list or [],
        "articles": beside or [],
    }
    table = Table("tag", "probability", "needed", "assigned")
    tagged = champion.predict(pd.DataFrame([row]), params={"top_k": top})
    for item in cast("pd.DataFrame", tagged)["top"].iloc[0]:
        table.add_row(
            escape(item["tag"]),
            f"{item['score']:.3f}",
            f"{item['threshold']:.3f}",
            "yes" if item["assigned"] else "",
        )
    Console().print(table)


@app.command("settings")
def list_settings() -> None:
    """List every setting: name, default, what it is."""
    table = Table("setting", "default", "meaning")
    for name, field in Settings.model_fields.items():
        table.add_row(name, str(field.default), field.description)
    Console().print(table)
    typer.echo(f"Set one with --set name=value or in the environment as {ENV_PREFIX}NAME.")


def _print_results(settings: Settings) -> None:
    """Print the published leaderboard and the paths of the results."""
    import pandas as pd

    from tagsage.evaluate.metrics import METRIC_NAMES
    from tagsage.workspace import Workspace

    workspace = Workspace(settings.workspace)
    workspace.check()
    root = workspace.root
    board = root / "leaderboard.csv"
    if not board.exists():
        raise TagsageError(f"There is no run in {root} yet; start one with `tagsage run`.")
    columns = {"candidate": "candidate", **METRIC_NAMES, "accuracy": "accuracy"}
    columns["fit_seconds"] = "fit s"
    with board.open("r", encoding="utf-8") as file:
        frame = pd.read_csv(file)
    metrics = workspace.read_json("metrics.json") or {}
    of_trial = " of a trial" if metrics.get("trial") else ""
    table = Table(title=f"Leaderboard{of_trial} (test articles)")
    for heading in columns.values():
        table.add_column(
            heading, justify="left" if heading == "candidate" else "right", overflow="fold"
        )
    for row in frame.to_dict("records"):
        cells = [row[column] for column in columns]
        table.add_row(
            escape(str(cells[0])), *(f"{cell:.3f}" for cell in cells[1:-1]), f"{cells[-1]:.1f}"
        )
    console = Console()
    console.print(table)
    if by := metrics.get("predictions"):
        sentence = f"The tags were written by {by['candidate']} (version {by['version']})."
        console.print(escape(sentence), highlight=False)
    _print_findings(console, metrics)
    names = ("report.html", "predictions.csv", "leaderboard.csv", "scenarios.csv", "metrics.json")
    for name in names:
        where = escape(str(root / name))
        console.print(f"{name:16} {where}", soft_wrap=True, highlight=False)


def _print_findings(console: Console, metrics: Mapping[str, Any]) -> None:
    """Print the corrected winner, what lists gain over text, and the sentences about it."""
    from tagsage.evaluate.metrics import METRIC_NAMES

    findings = metrics.get("findings") or {}
    if winner := findings.get("winner"):
        console.print(escape(winner["sentence"]), highlight=False)
    lines = [line for line in findings.get("gains", []) if line["scenario"] != "share"]
    if not lines:
        return
    cells: dict[str, dict[str, str]] = {}
    for line in lines:
        text = f"{100 * line['gain']:+.1f}"
        if line["low"] is not None:
            text += f" [{100 * line['low']:.1f}, {100 * line['high']:.1f}]"
        if line["spread"] is not None:
            text += f" ± {100 * line['spread']:.1f}"
        cells.setdefault(line["scenario"], {})[line["metric"]] = text
    table = Table(title="Gain of lists over text, in points [interval on the run's split]")
    table.add_column("scenario")
    for heading in METRIC_NAMES.values():
        table.add_column(heading, justify="right", overflow="fold")
    for scenario, texts in cells.items():
        table.add_row(escape(scenario), *(escape(texts[metric]) for metric in METRIC_NAMES))
    console.print(table)
    for sentence in findings["sentences"]:
        console.print(escape(sentence), highlight=False)
    for scenario, reason in findings["not_measured"].items():
        console.print(escape(f"{scenario}: not measured, {reason}."), highlight=False)
