"""Notify people how a run ended, through the Airflow notifiers that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.sdk import DAG, BaseNotifier
from airflow.sdk.configuration import conf
from airflow.sdk.log import redact as redact_masked  # type: ignore[attr-defined]
from pydantic import BaseModel, ConfigDict, ImportString, TypeAdapter, ValidationError

from tagsage.airflow.connections import TaskFailed
from tagsage.errors import NonRetryableError
from tagsage.redact import redact

if TYPE_CHECKING:
    from tagsage.report.summary import Summary
    from tagsage.settings import Settings

logger = logging.getLogger(__name__)

# Where Airflow serves the pages.
PAGES_PREFIX = "/tagsage"

Context = Mapping[str, Any]


class NotifierSpec(BaseModel):
    """A notifier as the settings name it: the path of its class, and what it is made with."""

    model_config = ConfigDict(extra="forbid")

    notifier: ImportString[type[BaseNotifier]]
    arguments: dict[str, Any] = {}

    def make(self) -> BaseNotifier:
        """Return a new notifier, because rendering its templates changes it."""
        return self.notifier(**self.arguments)


def notifications(defaults: Settings, *, on_success: bool = True) -> dict[str, Any]:
    """Return a DAG's callbacks; raises `NonRetryableError` when a notifier cannot be made."""
    callbacks = {}
    if notifiers := _notifiers("notify_on_failure", defaults):
        callbacks["on_failure_callback"] = _callback(notifiers, defaults, failed=True)
    if on_success and (notifiers := _notifiers("notify_on_success", defaults)):
        callbacks["on_success_callback"] = _callback(notifiers, defaults, failed=False)
    return callbacks


def on_failure(defaults: Settings) -> dict[str, Any]:
    """Return a task's callbacks: its error ends its log, and is recorded for the notification."""

    def record(context: Context) -> None:
        from tagsage.stages.notifications import record_failure

        ti = context["ti"]
        task = ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]"
        error = context.get("exception") or "it ended without a message, as a killed task does"
        try:
            record_failure(defaults.workspace, ti.dag_id, ti.run_id, task, _redacted(error))
        # The task itself has reported already what is wrong with the workspace.
        except Exception as problem:  # ruff: ignore[blind-except]
            logger.error("The failure of %s was not recorded: %s", task, _one_line(problem))

    recording = [record] if defaults.notify_on_failure.get_secret_value() else []
    return {"on_failure_callback": [*recording, _end_log], "on_retry_callback": _end_log}


def _end_log(context: Context) -> None:
    error = context.get("exception")
    if isinstance(error, TaskFailed):
        # Airflow has opened a group, which its page shows folded.
        logger.info("::endgroup::")
        logger.error("%s", error)


def _notifiers(name: str, defaults: Settings) -> list[NotifierSpec]:
    """Read the notifiers of a setting and make each once, to see that it can be made."""
    text = getattr(defaults, name).get_secret_value().strip()
    variable = f"TAGSAGE_{name.upper()}"
    if not text:
        return []
    if not text.startswith("["):
        text = f"[{text}]"
    try:
        specs = TypeAdapter(list[NotifierSpec]).validate_json(text)
    except ValidationError as error:
        # Not the input: it may hold a secret.
        what = "; ".join(detail["msg"] for detail in error.errors(include_input=False))
        msg = (
            f'{variable} must be JSON like {{"notifier": "package.module.Class", "arguments": '
            f"{{…}}}}, or a list of these: {what}."
        )
        raise NonRetryableError(msg) from None
    for spec in specs:
        try:
            spec.make()
        # The class may be anybody's, and may raise anything.
        except Exception as error:  # ruff: ignore[blind-except]
            kind = spec.notifier.__name__
            msg = f"{variable}: {kind} does not take these arguments: {_one_line(error)}."
            raise NonRetryableError(msg) from None
    return specs


def _callback(
    notifiers: Sequence[NotifierSpec], defaults: Settings, *, failed: bool
) -> Callable[[Context], None]:
    """Return a DAG's callback that sends a notification; its own errors are only logged."""

    def notify(context: Context) -> None:
        try:
            summary, links = _read(context, defaults, failed=failed)
        # Less is better than nothing: the workspace may be out of reach or its disk full.
        except Exception as error:  # ruff: ignore[blind-except]
            logger.error("The workspace cannot be read: %s", _one_line(error))
            summary, links = _short_summary(context, failed=failed), _links(context)
        variables = _variables(summary, links)
        # `airflow dags test` passes a copy of the DAG that cannot render templates.
        dag = context["dag"]
        dag = dag if hasattr(dag, "get_template_env") else DAG(dag.dag_id, schedule=None)
        for spec in notifiers:
            try:
                spec.make()({**context, "dag": dag, **variables})
            except Exception as error:  # ruff: ignore[blind-except]
                kind = spec.notifier.__name__
                logger.error("The notifier %s did not send: %s", kind, _one_line(error))

    return notify


def _read(context: Context, defaults: Settings, *, failed: bool) -> tuple[Summary, dict[str, str]]:
    from tagsage.report.summary import Summary, summarise_failure
    from tagsage.stages.notifications import read_summary, take_failures
    from tagsage.workspace import Workspace

    workspace = defaults.workspace
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    found, mlflow = read_summary(workspace, run_id)
    links = _links(context) | ({"MLflow": mlflow} if mlflow else {})
    if failed:
        tasks = take_failures(workspace, dag_id, run_id)
        reason = str(context.get("reason") or "")
        return summarise_failure(tasks, dag_id=dag_id, reason=reason), links
    if not found:
        return _short_summary(context, failed=False), links
    links = {"Report": found["report"], **links}
    # The pages show only a workspace on this machine.
    if Workspace(workspace).is_local and (base := _base_url()):
        links = {"Report on the pages": f"{base}{PAGES_PREFIX}/report", **links}
    return Summary(found["sentence"], found["details"]), links


def _short_summary(context: Context, *, failed: bool) -> Summary:
    from tagsage.report.summary import Summary, harmless

    outcome = "failed" if failed else "ended well"
    return Summary(
        harmless(f"The run {context['run_id']} of {context['dag'].dag_id} {outcome}."), []
    )


def _links(context: Context) -> dict[str, str]:
    if not (base := _base_url()):
        return {}
    dag_id, run_id = (quote(name, safe="") for name in (context["dag"].dag_id, context["run_id"]))
    return {"Airflow": f"{base}/dags/{dag_id}/runs/{run_id}"}


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def _variables(summary: Summary, links: Mapping[str, str]) -> dict[str, str]:
    lines = [summary.sentence, *summary.details, *(f"{name}: {url}" for name, url in links.items())]
    items = "".join(f"<li>{escape(line)}</li>" for line in summary.details)
    return {
        "tagsage_summary": summary.sentence,
        "tagsage_text": "\n".join(lines),
        "tagsage_html": f"<p>{escape(summary.sentence)}</p>"
        + (f"<ul>{items}</ul>" if items else "")
        + "".join(f"<p>{escape(name)}: {_html_link(url)}</p>" for name, url in links.items()),
    }


def _html_link(url: str) -> str:
    is_web = url.startswith(("http://", "https://"))
    return f'<a href="{escape(url)}">{escape(url)}</a>' if is_web else escape(url)


def _redacted(error: object) -> str:
    """Return an error without what Airflow knows, or we take, to be a secret."""
    return redact(str(redact_masked(str(error))))


def _one_line(error: Exception) -> str:
    from tagsage.report.summary import harmless

    return harmless(_redacted(f"{type(error).__name__}: {error}"))
