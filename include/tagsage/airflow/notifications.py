"""Tell people how a run ended, through the Airflow notifiers that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from html import escape
from importlib import import_module
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import DAG, BaseNotifier
from airflow.sdk.configuration import conf
from airflow.sdk.log import redact  # type: ignore[attr-defined]

from tagsage.airflow.connections import TaskFailed

if TYPE_CHECKING:
    from tagsage.report.summary import Summary
    from tagsage.settings import Settings

logger = logging.getLogger(__name__)

# Where Airflow serves the pages.
PAGES_PREFIX = "/tagsage"

Context = Mapping[str, Any]
# The class of a notifier, and the arguments to make one with.
NotifierSpec = tuple[type[BaseNotifier], dict[str, Any]]


def notifications(defaults: Settings, *, on_success: bool = True) -> dict[str, Any]:
    """Return a DAG's callbacks: they send a message when a run fails, and when it succeeds.

    Parameters
    ----------
    defaults : Settings
        The settings of the environment in which the DAG is parsed.
    on_success : bool
        Whether anybody wants to know that a run succeeded.

    Returns
    -------
    dict
        Arguments of the DAG; empty when the settings name no notifier.

    Raises
    ------
    NonRetryableError
        When a notifier cannot be imported or made. Airflow shows it as an error of the DAG file.
    """
    callbacks = {}
    if notifiers := _load_notifiers("notify_on_failure", defaults):
        callbacks["on_failure_callback"] = _Message(notifiers, defaults.workspace, failed=True)
    if on_success and (notifiers := _load_notifiers("notify_on_success", defaults)):
        callbacks["on_success_callback"] = _Message(notifiers, defaults.workspace, failed=False)
    return callbacks


def on_failure(defaults: Settings) -> dict[str, Any]:
    """Return a task's callbacks: the reason of a failure ends its log, and goes into the message.

    Parameters
    ----------
    defaults : Settings
        The settings of the environment in which the DAG is parsed.

    Returns
    -------
    dict
        Arguments of a task.
    """

    def record(context: Context) -> None:
        from tagsage.report.summary import hidden
        from tagsage.stages.messages import note_failure

        ti = context["ti"]
        task = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        error = context.get("exception") or "it ended without a message, as a killed task does"
        workspace = _workspace(context, defaults.workspace)
        reason = hidden(str(redact(str(error))))
        try:
            note_failure(workspace, ti.dag_id, ti.run_id, task, reason)
        # The task itself has reported already what is wrong with the workspace.
        except Exception as problem:  # ruff: ignore[blind-except]
            logger.error("The failure of %s was not recorded: %s", task, _one_line(problem))

    recording = [record] if defaults.notify_on_failure else []
    return {"on_failure_callback": [*recording, _end_log], "on_retry_callback": _end_log}


def _end_log(context: Context) -> None:
    """Make the error's sentence the last line of the task's log."""
    error = context.get("exception")
    if isinstance(error, TaskFailed):
        # Airflow has opened a group, which its page shows folded.
        logger.info("::endgroup::")
        logger.error("%s", error)


class _Message:
    """A DAG's callback that sends a message; its own errors are logged and nothing more."""

    def __init__(self, notifiers: Sequence[NotifierSpec], workspace: str, *, failed: bool) -> None:
        self.notifiers = notifiers
        self.workspace = workspace
        self.failed = failed

    def __call__(self, context: Context) -> None:
        try:
            message = self._write(context)
        # Half a message is better than none: the workspace may be out of reach or its disk full.
        except Exception as error:  # ruff: ignore[blind-except]
            logger.error("The workspace has nothing for a message: %s", _one_line(error))
            message = _variables(_short_summary(context, failed=self.failed), _links(context))
        for kind, arguments in self.notifiers:
            try:
                # A new notifier each time, because rendering its templates changes it.
                kind(**arguments)({**context, "dag": _renderable(context["dag"]), **message})
            except Exception as error:  # ruff: ignore[blind-except]
                logger.error("The notifier %s did not send: %s", kind.__name__, _one_line(error))

    def _write(self, context: Context) -> dict[str, str]:
        from tagsage.report.summary import Summary, failure
        from tagsage.stages.messages import take_failures, told_of

        workspace = _workspace(context, self.workspace)
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        left = told_of(workspace, run_id)
        links = _links(context, left["mlflow"])
        summary = left["summary"]
        if self.failed:
            tasks = take_failures(workspace, dag_id, run_id)
            reason = str(context.get("reason") or "")
            return _variables(failure(tasks, dag_id=dag_id, reason=reason), links)
        if not summary:
            return _variables(_short_summary(context, failed=False), links)
        pages = _pages_link() if self._on_pages(workspace) else {}
        links = {**pages, "Report": summary["report"], **links}
        return _variables(Summary(summary["sentence"], summary["details"]), links)

    def _on_pages(self, workspace: str) -> bool:
        """Tell whether the pages show this workspace: they read that of the environment."""
        from tagsage.workspace import Workspace

        return workspace == str(self.workspace) and Workspace(workspace).is_local


def _renderable(dag: Any) -> Any:
    """Return a DAG that renders templates, unlike the copy that `airflow dags test` passes."""
    return dag if hasattr(dag, "get_template_env") else DAG(dag.dag_id, schedule=None)


def _short_summary(context: Context, *, failed: bool) -> Summary:
    """Return what is known without the workspace."""
    from tagsage.report.summary import Summary, harmless

    outcome = "failed" if failed else "ended well"
    sentence = f"The run {context['run_id']} of {context['dag'].dag_id} {outcome}."
    return Summary(harmless(sentence), [])


def _variables(summary: Summary, links: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a notifier's templates may use."""
    lines = [summary.sentence, *summary.details]
    text_links = [f"{name}: {place}" for name, place in links.items()]
    items = "".join(f"<li>{escape(line)}</li>" for line in summary.details)
    return {
        "tagsage_summary": summary.sentence,
        "tagsage_text": "\n".join([*lines, *text_links]),
        "tagsage_html": f"<p>{escape(summary.sentence)}</p>"
        + (f"<ul>{items}</ul>" if items else "")
        + "".join(f"<p>{escape(name)}: {_html_link(place)}</p>" for name, place in links.items()),
    }


def _html_link(place: str) -> str:
    if place.startswith(("http://", "https://")):
        return f'<a href="{escape(place)}">{escape(place)}</a>'
    return escape(place)


def _links(context: Context, mlflow: str | None = None) -> dict[str, str]:
    """Return the addresses of the run in Airflow and, if MLflow's pages are served, in MLflow."""
    links = {}
    if base := _base_url():
        dag_id, run_id = (
            quote(name, safe="") for name in (context["dag"].dag_id, context["run_id"])
        )
        links["Airflow"] = f"{base}/dags/{dag_id}/runs/{run_id}"
    if mlflow:
        links["MLflow"] = mlflow
    return links


def _pages_link() -> dict[str, str]:
    """Return the address of the latest report for people who are logged in to Airflow."""
    base = _base_url()
    return {"Report on the pages": f"{base}{PAGES_PREFIX}/report"} if base else {}


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def _workspace(context: Context, default: str) -> str:
    """Return the workspace of a run: its form may name another one than the environment."""
    return str((context.get("params") or {}).get("workspace") or default)


def _load_notifiers(name: str, defaults: Settings) -> list[NotifierSpec]:
    """Return classes and arguments of the notifiers that a setting names; each can be made."""
    from tagsage.errors import NonRetryableError
    from tagsage.settings.notifications import parse_notifiers

    notifiers: list[NotifierSpec] = []
    for item in parse_notifiers(name, getattr(defaults, name)):
        path = item["notifier"]
        module, _, attribute = path.rpartition(".")
        variable = f"TAGSAGE_{name.upper()}"
        try:
            kind = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            msg = (
                f"{variable} names {path}, which cannot be imported: {error}; install the "
                "provider that has it, or correct the name."
            )
            raise NonRetryableError(msg) from None
        if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
            raise NonRetryableError(f"{variable} names {path}, which isn't a notifier of Airflow.")
        try:
            kind(**item["arguments"])
        # The class may be anybody's, and may raise anything.
        except Exception as error:  # ruff: ignore[blind-except]
            msg = f"{variable}: {path} does not take these arguments: {_one_line(error)}."
            raise NonRetryableError(msg) from None
        notifiers.append((kind, item["arguments"]))
    return notifiers


def _one_line(error: Exception) -> str:
    """Return an exception in one line, without secrets."""
    from tagsage.report.summary import harmless, hidden

    return harmless(hidden(str(redact(f"{type(error).__name__}: {error}"))))
