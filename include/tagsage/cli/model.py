"""Commands that say which version of the model is champion: ``model list``, ``promote`` etc."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from tagsage.cli.command import command, print_table
from tagsage.settings import Settings

if TYPE_CHECKING:
    from tagsage.registry.tracking import Tracking
    from tagsage.registry.versions import RegisteredModel

app = typer.Typer(
    help="Look at the versions of the model; say which one is champion.", no_args_is_help=True
)

VersionArgument = Annotated[str, typer.Argument(help="A version; `tagsage model list` shows them.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; kept in the registry with your name and the time.")
]


@command(app, "list")
def list_versions(settings: Settings) -> None:
    """List the versions, newest first: score, alias, what the run decided, and why."""
    from tagsage.registry.champion import REPLACED, existing_model, pinned_sentence

    model = existing_model(*_registry(settings))
    print_table(_table(model))
    for version in model.versions:
        if REPLACED in version.tags:
            typer.echo(f"Version {version.number} was replaced {version.tags[REPLACED]}.")
    if pinned := pinned_sentence(model):
        typer.echo(f"{pinned[0].upper()}{pinned[1:]}.")


@command(app)
def promote(settings: Settings, version: VersionArgument, reason: ReasonOption = "") -> None:
    """Make a version champion."""
    from tagsage.registry.champion import promote_version

    typer.echo(promote_version(*_registry(settings), version, who=_who(), why=reason))


@command(app)
def rollback(settings: Settings, reason: ReasonOption = "") -> None:
    """Make the previous champion champion again; once more goes back one further."""
    from tagsage.registry.champion import roll_back

    typer.echo(roll_back(*_registry(settings), who=_who(), why=reason))


@command(app)
def pin(
    settings: Settings,
    version: Annotated[
        str | None, typer.Argument(help="A version that becomes champion; else the champion.")
    ] = None,
    reason: ReasonOption = "",
) -> None:
    """Keep the champion, whatever runs find, until it is unpinned."""
    from tagsage.registry.champion import pin as pin_champion

    typer.echo(pin_champion(*_registry(settings), version, who=_who(), why=reason))


@command(app)
def unpin(settings: Settings) -> None:
    """Let runs change the champion again."""
    from tagsage.registry.champion import unpin as unpin_champion

    typer.echo(unpin_champion(*_registry(settings)))


def _registry(settings: Settings) -> tuple[Tracking, str]:
    from tagsage.stages import tracking_of

    return tracking_of(settings, must_exist=True), settings.registered_model


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # A container's user may have no name.
        return "unknown"


def _table(model: RegisteredModel) -> Table:
    from tagsage.registry.champion import decision_of
    from tagsage.registry.runs import TRIAL
    from tagsage.registry.versions import CHAMPION, REFRESHED_FROM

    table = Table("version", "alias", "micro-F1", "candidate", "registered (UTC)", "decision")
    for version in model.versions:
        marks = [*version.aliases]
        marks += ["pinned"] if model.pinned and CHAMPION in version.aliases else []
        marks += ["trial"] if TRIAL in version.tags else []
        marks += [f"of {version.tags[REFRESHED_FROM]}"] if REFRESHED_FROM in version.tags else []
        decision = decision_of(version.tags)
        table.add_row(
            version.number,
            ", ".join(marks),
            "" if version.micro_f1 is None else f"{version.micro_f1:.4f}",
            escape(version.candidate),
            f"{datetime.fromtimestamp(version.created_ms / 1000, UTC):%Y-%m-%d %H:%M}",
            escape(decision.reason if decision else "none was made"),
        )
    return table
