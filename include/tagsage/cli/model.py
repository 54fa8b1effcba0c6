"""Commands that say which version of the model is champion: ``model list``, ``promote`` etc."""

from __future__ import annotations

import getpass
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
from tagsage.settings import Settings

if TYPE_CHECKING:
    from tagsage.registry.history import Registered
    from tagsage.registry.store import Tracking

app = typer.Typer(
    help="Look at the versions of the model; say which one is champion.", no_args_is_help=True
)

VersionArgument = Annotated[str, typer.Argument(help="A version; `tagsage model list` shows them.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; kept in the registry with your name and the time.")
]


@app.command("list")
def list_versions(
    workspace: WorkspaceOption = None, set_: SetOption = None, debug: DebugOption = False
) -> None:
    """List the versions, newest first: score, alias, what the run decided, and why."""
    with failures_told(debug=debug):
        from tagsage.registry.history import registered

        tracking, name = _registry(workspace, set_)
        now = registered(tracking, name)
        print_table(_table(now))
        for event in now.events:
            typer.echo(f"{event.action}: champion {event.version or 'none'}, {event.words()}")
        if now.pin is not None:
            words = now.pinned_words()
            typer.echo(f"{words[0].upper()}{words[1:]}.")


@app.command()
def promote(
    version: VersionArgument,
    reason: ReasonOption = "",
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Make a version champion."""
    with failures_told(debug=debug):
        from tagsage.registry.champions import promote_version

        tracking, name = _registry(workspace, set_)
        typer.echo(promote_version(tracking, name, version, who=_who(), why=reason))


@app.command()
def rollback(
    reason: ReasonOption = "",
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Make the champion before champion again; once more goes back one further."""
    with failures_told(debug=debug):
        from tagsage.registry.champions import roll_back

        tracking, name = _registry(workspace, set_)
        typer.echo(roll_back(tracking, name, who=_who(), why=reason))


@app.command()
def pin(
    version: Annotated[
        str | None, typer.Argument(help="A version that becomes champion; else the champion.")
    ] = None,
    reason: ReasonOption = "",
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Keep the champion, whatever runs find, until it is unpinned."""
    with failures_told(debug=debug):
        from tagsage.registry.champions import pin as pin_version

        tracking, name = _registry(workspace, set_)
        typer.echo(pin_version(tracking, name, version, who=_who(), why=reason))


@app.command()
def unpin(
    reason: ReasonOption = "",
    workspace: WorkspaceOption = None,
    set_: SetOption = None,
    debug: DebugOption = False,
) -> None:
    """Let runs change the champion again."""
    with failures_told(debug=debug):
        from tagsage.registry.champions import unpin as unpin_version

        tracking, name = _registry(workspace, set_)
        typer.echo(unpin_version(tracking, name, who=_who(), why=reason))


def _registry(workspace: str | None, set_: list[str] | None) -> tuple[Tracking, str]:
    from tagsage.stages import tracking_of

    settings = Settings.resolve(overrides_of(set_, workspace=workspace))
    return tracking_of(settings, must_exist=True), settings.registered_model


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


def _table(now: Registered) -> Table:
    from tagsage.registry.history import decision_of
    from tagsage.registry.registry import WINNER
    from tagsage.registry.runs import TRIAL

    table = Table("version", "alias", "micro-F1", "candidate", "registered (UTC)", "decision")
    for version in now.versions:
        marks = ["pinned"] if now.pin is not None and now.pin.version == version.number else []
        marks += ["trial"] if TRIAL in version.tags else []
        decision = decision_of(version.tags)
        score = version.micro_f1
        registered = datetime.fromtimestamp(version.created_ms / 1000, UTC)
        table.add_row(
            version.number,
            ", ".join([*version.aliases, *marks]),
            "" if score is None else f"{score:.4f}",
            escape(version.tags.get(WINNER, "")),
            f"{registered:%Y-%m-%d %H:%M}",
            escape(decision.reason if decision else "none was made"),
        )
    return table
