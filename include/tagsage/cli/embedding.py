"""Commands of `vectors` that ask a server, or tell of what was asked: plan, cost, batches."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.common import (
    DebugOption,
    SetOption,
    WorkspaceOption,
    failures_told,
    overrides_of,
    print_table,
)
from tagsage.cli.vectors import ModelOption, StoreOption, articles_of
from tagsage.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from tagsage.embed.openai.batch_results import TakeReport
    from tagsage.embed.openai.ledger import Spending
    from tagsage.embed.openai.online import OnlineReport
    from tagsage.embed.plan import Plan

app = typer.Typer()

NOT_ASKED = "Nothing was sent, and no server was asked."


@app.command("plan")
def plan(
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Tell how many texts are new, and what they will cost; nothing is sent."""
    with failures_told(debug=debug):
        from tagsage.stages.embed_openai import plan_texts

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        _tell_plan(plan_texts(settings, *_texts(settings, store), probe=None), settings)
        typer.echo(NOT_ASKED)


@app.command("embed")
def embed(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only plan; send nothing.")] = False,
    run_id: Annotated[
        str | None,
        typer.Option("--run-id", help="Whose ceiling counts; default: one of today's date."),
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", help="Wait for batches (openai_mode=batch).")
    ] = True,
    store: StoreOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Get the vectors that the store's articles lack, outside of a run."""
    with failures_told(debug=debug):
        from tagsage.stages.embed_jobs import await_jobs, submit_texts, take_results
        from tagsage.stages.embed_openai import plan_texts, send_online
        from tagsage.workspace import Workspace

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        texts, hashes = _texts(settings, store)
        Workspace(settings.workspace).claim()
        payer = run_id or f"embed-{datetime.now(UTC):%Y-%m-%d}"

        def probe(rows: npt.NDArray[np.int64]) -> object:
            return send_online(settings, texts, hashes, rows, run_id=payer, dimensions=None)

        todo = plan_texts(settings, texts, hashes, probe=None if dry_run else probe)
        _tell_plan(todo, settings)
        if dry_run or not len(todo.missing):
            typer.echo(NOT_ASKED if dry_run else "There is nothing to send.")
            return
        waiting = submit_texts(settings, texts, hashes, todo, run_id=payer)
        if waiting and not wait:
            typer.echo(
                f"Batches under way: {', '.join(waiting)}; run the command again for the results."
            )
        else:
            await_jobs(settings, waiting, lambda key: _tell_taken(take_results(settings, key)))
        # In batch mode, what the batches brought no vector for.
        if wait or settings.openai_mode == "online":
            missing, dimensions = todo.missing, todo.dimensions
            _tell_report(
                send_online(settings, texts, hashes, missing, run_id=payer, dimensions=dimensions)
            )
        _tell_spending(settings, payer)


@app.command("spent")
def spent(
    run_id: Annotated[str | None, typer.Option("--run-id", help="Of one run.")] = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Print what every run has spent, the latest first, and all of them."""
    with failures_told(debug=debug):
        from tagsage.embed.openai.ledger import Ledger

        folder = _used_folder(Settings.resolve(overrides_of(set_, workspace=workspace)))
        table = Table("run")
        for heading in ("requests", "texts", "tokens", "dollars", "without an answer"):
            table.add_column(heading, justify="right")
        with Ledger(folder) as ledger:
            for each in [run_id] if run_id else ledger.runs():
                table.add_row(escape(each), *_cells(ledger.spent(each)))
            if run_id is None:
                table.add_section()
                table.add_row("all", *_cells(ledger.spent()))
        print_table(table)


def _cells(spending: Spending) -> list[str]:
    return [
        f"{spending.requests:,}",
        f"{spending.texts:,}",
        f"{spending.tokens:,}",
        f"{spending.dollars:.4f}",
        f"{spending.lost_requests:,}",
    ]


@app.command("jobs")
def jobs(
    workspace: WorkspaceOption = None, set_: SetOption = None, debug: DebugOption = False
) -> None:
    """List the batches of the Batch API that were made, and how far they are known to be."""
    with failures_told(debug=debug):
        from tagsage.embed.openai.batch_jobs import list_jobs

        folder = _used_folder(Settings.resolve(overrides_of(set_, workspace=workspace)))
        table = Table("job", "state", "at the server", "texts", "run", "since", "note")
        table.columns[3].justify = "right"
        for job in list_jobs(folder):
            table.add_row(
                job.key,
                job.state,
                job.status,
                f"{job.texts:,}",
                escape(job.run_id),
                f"{datetime.fromtimestamp(job.created_at, UTC):%Y-%m-%d %H:%M} UTC",
                escape(job.note),
            )
        print_table(table)


@app.command("cancel")
def cancel(
    key: Annotated[str, typer.Argument(help="A job, as `vectors jobs` names it.")],
    give_up: Annotated[
        bool,
        typer.Option("--give-up", help="Without asking the server; its price counts as spent."),
    ] = False,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Cancel a batch; what it brings until then is kept."""
    with failures_told(debug=debug):
        from tagsage.embed.openai.batch_jobs import cancel_job
        from tagsage.openai_connection import resolve_openai_connection
        from tagsage.stages.common import openai_folder
        from tagsage.stages.embed_openai import config_of

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        connection = None if give_up else resolve_openai_connection()
        job = cancel_job(connection, config_of(settings), key, folder=openai_folder(settings))
        typer.echo(f"{job.key} is {job.status or job.state} {job.note}".rstrip() + ".")


@app.command("retry")
def retry(
    model: ModelOption = None,
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Let texts be sent again that the server has refused, or always failed at."""
    with failures_told(debug=debug):
        from tagsage.embed.openai.ledger import Ledger
        from tagsage.stages.embed_openai import config_of

        settings = Settings.resolve(overrides_of(set_, workspace=workspace))
        folder = _used_folder(settings)
        name = model or config_of(settings).model_id
        with Ledger(folder) as ledger:
            count = ledger.forget_rejected(name)
        typer.echo(f"{count:,} texts without a vector of {name} are sent again by the next run.")


def _used_folder(settings: Settings) -> Path:
    """Return the folder of the ledger; the command ends here when nothing was ever sent."""
    from tagsage.embed.openai.ledger import FILE
    from tagsage.stages.common import openai_folder

    folder = openai_folder(settings)
    if not (folder / FILE).exists():
        typer.echo(f"Nothing was ever sent with the cache in {folder}.")
        raise typer.Exit
    return folder


def _texts(settings: Settings, store: str | None) -> tuple[list[str], npt.NDArray[np.bytes_]]:
    from tagsage.embed.text import article_texts, text_hashes

    texts = article_texts(articles_of(settings, store))
    return texts, text_hashes(texts)


def _tell_taken(taken: TakeReport) -> None:
    typer.echo(f"{taken.key}: {taken.embedded:,} of {taken.texts:,} texts have a vector.")


def _tell_report(report: OnlineReport) -> None:
    typer.echo(
        f"{report.embedded:,} texts were embedded on line, {report.cut:,} of them cut; "
        f"{len(report.rejected):,} have no vector."
    )
    for reason in sorted(set(report.rejected.values()))[:5]:
        typer.echo(f"  {reason}")


def _tell_plan(todo: Plan, settings: Settings) -> None:
    said = todo.summary
    typer.echo(
        f"{said['new_texts']:,} of {said['unique_texts']:,} texts have no vector of "
        f"{todo.model_id} yet: about {said['estimated_tokens']:,} tokens, "
        f"${said['estimated_dollars']:,.4f} at ${said['price']:g} a million; the ceiling is "
        f"${settings.openai_max_dollars:,g} and {settings.openai_max_tokens:,} tokens."
    )
    if said.get("cut_texts"):
        typer.echo(f"{said['cut_texts']:,} texts are too long and will be cut.")
    if said.get("rejected_texts"):
        typer.echo(f"{said['rejected_texts']:,} texts were refused before and are not sent.")


def _tell_spending(settings: Settings, run_id: str) -> None:
    from tagsage.embed.openai.ledger import Ledger
    from tagsage.stages.common import openai_folder

    with Ledger(openai_folder(settings)) as ledger:
        spent = ledger.spent(run_id)
    typer.echo(
        f"The run {run_id} has sent {spent.texts:,} texts in {spent.requests:,} requests so far: "
        f"{spent.tokens:,} tokens, ${spent.dollars:.4f}."
    )
