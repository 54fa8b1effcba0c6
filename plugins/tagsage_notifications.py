"""Tells people how a run ended, through whatever notifiers of Airflow the settings name."""

from __future__ import annotations

import logging
from html import escape
from importlib import import_module
from urllib.parse import quote

from airflow.sdk import DAG, BaseNotifier
from airflow.sdk.configuration import conf
from airflow.sdk.log import redact

from tagsage_connections import Failed

logger = logging.getLogger(__name__)


def notifications(defaults, *, on_success=True):
    """Return a DAG's callbacks: one that tells of a failure, one that tells the night's summary.

    Parameters
    ----------
    defaults : tagsage.settings.Settings
        The settings of the environment in which the DAG is parsed.
    on_success : bool
        Whether anybody wants to know that a run ended well.

    Returns
    -------
    dict
        Arguments of the DAG; none where the settings name no notifier.

    Raises
    ------
    FinalError
        When a notifier cannot be imported or made. Airflow shows it as an error of the DAG file.
    """
    found = {}
    if failing := _notifiers("notify_on_failure", defaults):
        found["on_failure_callback"] = _Callback(failing, defaults.workspace, failed=True)
    if on_success and (ending := _notifiers("notify_on_success", defaults)):
        found["on_success_callback"] = _Callback(ending, defaults.workspace, failed=False)
    return found


def last_words(defaults):
    """Return a task's callbacks: why it failed ends its log, and is kept for the run's message."""

    def keep(context):
        from tagsage.report.summary import hidden
        from tagsage.stages.messages import note_failure

        ti = context["ti"]
        task = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        error = context.get("exception") or "it ended without a word, as tasks that are killed do"
        workspace = _workspace(context, defaults.workspace)
        says = hidden(str(redact(str(error))))
        try:
            note_failure(workspace, ti.dag_id, ti.run_id, task, says)
        # Whatever is wrong with the workspace is what the task itself has told already.
        except Exception as problem:  # ruff: ignore[blind-except]
            logger.error("The last words of %s were not kept: %s", task, _said(problem))

    kept = [keep] if defaults.notify_on_failure else []
    return {"on_failure_callback": [*kept, _end_log], "on_retry_callback": _end_log}


def _end_log(context):
    """Make the sentence the last line of the task's log."""
    error = context.get("exception")
    if isinstance(error, Failed):
        # Airflow has opened a group, which its page shows folded.
        logger.info("::endgroup::")
        logger.error("%s", error)


class _Callback:
    """Sends a message; whatever goes wrong is logged and nothing more."""

    def __init__(self, notifiers, workspace, *, failed):
        self.notifiers = notifiers
        self.workspace = workspace
        self.failed = failed

    def __call__(self, context):
        try:
            message = self._message(context)
        # Half a message is better than none: the workspace may be away or its disk full.
        except Exception as error:  # ruff: ignore[blind-except]
            logger.error("The workspace has nothing for a message: %s", _said(error))
            message = _worded(_bare(context, failed=self.failed), _links(context))
        for kind, arguments in self.notifiers:
            try:
                # A new one each time: rendering its templates changes it.
                kind(**arguments)({**context, "dag": _rendering(context["dag"]), **message})
            except Exception as error:  # ruff: ignore[blind-except]
                logger.error("The notifier %s did not send: %s", kind.__name__, _said(error))

    def _message(self, context):
        from tagsage.report.summary import Summary, failure
        from tagsage.stages.messages import take_failures, told_of

        workspace = _workspace(context, self.workspace)
        dag_id, run_id = context["dag"].dag_id, context["run_id"]
        told = told_of(workspace, run_id)
        links = _links(context, told["mlflow"])
        kept = told["summary"]
        if self.failed:
            tasks = take_failures(workspace, dag_id, run_id)
            summary = failure(tasks, dag_id=dag_id, reason=str(context.get("reason") or ""))
        elif kept:
            summary = Summary(kept["sentence"], kept["details"])
            pages = _pages_link() if self._on_pages(workspace) else {}
            links = {**pages, "Report": kept["report"], **links}
        else:
            summary = _bare(context, failed=False)
        return _worded(summary, links)

    def _on_pages(self, workspace):
        """Tell whether the pages show this workspace: they read that of the environment."""
        from tagsage.workspace import Workspace

        return workspace == str(self.workspace) and Workspace(workspace).is_local


def _rendering(dag):
    """Return a DAG that renders templates.

    `airflow dags test` gives callbacks the scheduler's copy of the DAG, which does not.
    """
    return dag if hasattr(dag, "get_template_env") else DAG(dag.dag_id, schedule=None)


def _bare(context, *, failed):
    """Return what is known without the workspace."""
    from tagsage.report.summary import Summary, harmless

    how = "failed" if failed else "ended well"
    told = f"The run {context['run_id']} of {context['dag'].dag_id} {how}."
    return Summary(harmless(told), [])


def _worded(summary, links):
    """Return the variables that a notifier's templates may use."""
    lines = [summary.sentence, *summary.details]
    shown = [f"{name}: {place}" for name, place in links.items()]
    listed = "".join(f"<li>{escape(line)}</li>" for line in summary.details)
    return {
        "tagsage_summary": summary.sentence,
        "tagsage_text": "\n".join([*lines, *shown]),
        "tagsage_html": f"<p>{escape(summary.sentence)}</p>"
        + (f"<ul>{listed}</ul>" if listed else "")
        + "".join(f"<p>{escape(name)}: {_html_link(place)}</p>" for name, place in links.items()),
    }


def _html_link(place):
    if place.startswith(("http://", "https://")):
        return f'<a href="{escape(place)}">{escape(place)}</a>'
    return escape(place)


def _links(context, mlflow=None):
    """Return where to look: the run in Airflow and, where somebody serves it, in MLflow."""
    base = conf.get("api", "base_url", fallback="").rstrip("/")
    found = {}
    if base:
        dag_id, run_id = (
            quote(name, safe="") for name in (context["dag"].dag_id, context["run_id"])
        )
        found["Airflow"] = f"{base}/dags/{dag_id}/runs/{run_id}"
    if mlflow:
        found["MLflow"] = mlflow
    return found


def _pages_link():
    """Return where people who are logged in open the latest report."""
    from tagsage_page import PREFIX

    base = conf.get("api", "base_url", fallback="").rstrip("/")
    return {"Report on the pages": f"{base}{PREFIX}/report"} if base else {}


def _workspace(context, default):
    """Return the workspace of a run: its form may name another than the environment."""
    return str((context.get("params") or {}).get("workspace") or default)


def _notifiers(name, defaults):
    """Return classes and arguments of the notifiers that a setting names; each can be made."""
    from tagsage.errors import FinalError
    from tagsage.settings.notifications import parse_notifiers

    found = []
    for item in parse_notifiers(name, getattr(defaults, name)):
        path = item["notifier"]
        module, _, attribute = path.rpartition(".")
        variable = f"TAGSAGE_{name.upper()}"
        try:
            kind = getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            msg = (
                f"{variable} names {path}, which cannot be imported: {error}; install the "
                "provider that has it, or mend the name."
            )
            raise FinalError(msg) from None
        if not (isinstance(kind, type) and issubclass(kind, BaseNotifier)):
            raise FinalError(f"{variable} names {path}, which is no notifier of Airflow.")
        try:
            kind(**item["arguments"])
        # A class of anybody's: what it raises is for whoever wrote the arguments.
        except Exception as error:  # ruff: ignore[blind-except]
            msg = f"{variable}: {path} does not take these arguments: {_said(error)}."
            raise FinalError(msg) from None
        found.append((kind, item["arguments"]))
    return found


def _said(error):
    """Return an exception's words without secrets, in one line."""
    from tagsage.report.summary import harmless, hidden

    return harmless(hidden(str(redact(f"{type(error).__name__}: {error}"))))
