"""The Batch API: files of requests, computed while nobody waits."""

from __future__ import annotations

import json
import secrets
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from scripts.openai_api.batch_lines import check_metadata, error_of, read_lines, written_line
from scripts.openai_api.embeddings import ApiError, Dialect, Wanted, build_answer, check_request
from scripts.openai_api.faults import ITEMS, Faults
from scripts.openai_api.files import Files, page
from scripts.openai_api.vectors import JsonObject

ENDED = ("failed", "completed", "expired", "cancelled")
UNDER_WAY = ("validating", "in_progress", "finalizing", "cancelling")
DAY_S = 24 * 3600


@dataclass(frozen=True)
class BatchRules:
    """Limits and paces of the Batch API.

    Attributes
    ----------
    seconds : mapping, optional
        State -> how long a batch stays in it (0 when not named); while in progress its lines are
        computed evenly over that time. None: it moves only when it is told to.
    expires_after_s : float
        From its creation; what is not computed then never will be.
    max_lines, max_inputs : int
        In one file.
    enqueued_tokens : int, optional
        Of one model, over all batches under way; None: any number.
    max_file_bytes : int
        Of an upload.
    """

    seconds: Mapping[str, float] | None = field(default_factory=dict)
    expires_after_s: float = DAY_S
    max_lines: int = 50_000
    max_inputs: int = 50_000
    enqueued_tokens: int | None = None
    max_file_bytes: int = 200 * 1024 * 1024


@dataclass
class Batch:
    """One batch; `shown` is its object in the API."""

    shown: JsonObject
    since: float
    created: float
    fails: bool
    lines: list[JsonObject] = field(default_factory=list)
    done: int = 0
    tokens: int = 0
    model: str = ""
    # Lines of output wait on disk: those of a full batch are half a gigabyte.
    spool: BinaryIO = field(default_factory=tempfile.TemporaryFile)
    output: list[tuple[int, int]] = field(default_factory=list)
    errors: list[bytes] = field(default_factory=list)


class Batches:
    """The batches of the account.

    Parameters
    ----------
    rules : BatchRules
        Limits and paces.
    dialect, faults : Dialect, Faults
        Of the server.
    files : Files
        Where inputs come from and outputs go.
    charge : callable
        Kind, request -> number of the charge; raises ApiError when the quota is used up.
    spoilt : callable
        Charge, why, texts: enters a bad answer.
    """

    def __init__(
        self,
        rules: BatchRules,
        dialect: Dialect,
        faults: Faults,
        files: Files,
        charge: Callable[[str, Wanted], int],
        spoilt: Callable[[int, str, Any], None],
    ) -> None:
        self.rules = rules
        self._dialect = dialect
        self._faults = faults
        self._files = files
        self._charge = charge
        self._spoilt = spoilt
        self._lock = threading.RLock()
        self._batches: dict[str, Batch] = {}

    # -- the API ---------------------------------------------------------------------------

    def create(self, body: object, *, fails: bool) -> JsonObject:
        """Begin a batch; its file is looked at later, while it is validated.

        Raises
        ------
        ApiError
            When the request is wrong.
        """
        given = body if isinstance(body, dict) else {}
        for name in ("input_file_id", "endpoint", "completion_window"):
            if not isinstance(given.get(name), str):
                raise ApiError(400, f"Missing required parameter: '{name}'.", param=name)
        if given["endpoint"] != "/v1/embeddings":
            raise ApiError(400, f"Invalid value: '{given['endpoint']}'.", param="endpoint")
        if given["completion_window"] != "24h":
            raise ApiError(
                400, "Invalid value: only '24h' is supported.", param="completion_window"
            )
        metadata = given.get("metadata")
        check_metadata(metadata)
        self._files.get(given["input_file_id"])
        now = time.time()
        shown: JsonObject = {
            "id": f"batch_{secrets.token_hex(16)}",
            "object": "batch",
            "endpoint": given["endpoint"],
            "errors": None,
            "input_file_id": given["input_file_id"],
            "completion_window": "24h",
            "status": "validating",
            "output_file_id": None,
            "error_file_id": None,
            "created_at": int(now),
            **dict.fromkeys(("in_progress_at", "finalizing_at", "completed_at", "failed_at")),
            **dict.fromkeys(("expired_at", "cancelling_at", "cancelled_at")),
            "expires_at": int(now + self.rules.expires_after_s),
            "request_counts": {"total": 0, "completed": 0, "failed": 0},
            "metadata": metadata,
        }
        with self._lock:
            batch = Batch(shown, time.monotonic(), time.monotonic(), fails)
            self._batches[shown["id"]] = batch
            return dict(shown)

    def get(self, identifier: str) -> JsonObject:
        """Return a batch as it is now."""
        with self._lock:
            batch = self._find(identifier)
            self._keep_pace(batch)
            return dict(batch.shown)

    def listed(self, query: Mapping[str, str]) -> JsonObject:
        """Return one page, the newest first: parameters ``after``, ``limit``."""
        with self._lock:
            self.tick()
            newest_first = [dict(batch.shown) for batch in self._batches.values()][::-1]
            return page(newest_first, query, default=20, most=100)

    def cancel(self, identifier: str) -> JsonObject:
        """Ask for the end of a batch; what is computed is kept."""
        with self._lock:
            batch = self._find(identifier)
            self._keep_pace(batch)
            if batch.shown["status"] in ENDED:
                raise ApiError(409, f"Cannot cancel a batch with status '{batch.shown['status']}'.")
            if batch.shown["status"] != "cancelling":
                self._enter(batch, "cancelling")
            return dict(batch.shown)

    def close(self) -> None:
        """Let go of the files."""
        with self._lock:
            for batch in self._batches.values():
                batch.spool.close()

    # -- time ------------------------------------------------------------------------------

    def tick(self) -> None:
        """Let every batch come to where it should be by now."""
        with self._lock:
            for batch in self._batches.values():
                self._keep_pace(batch)

    def advance(self, identifier: str, *, lines: int | None = None) -> str:
        """Bring a batch to its next state, or compute some of its lines; return its state."""
        with self._lock:
            batch = self._find(identifier)
            if lines is None:
                self._step(batch)
            else:
                self._compute(batch, batch.done + lines)
            return str(batch.shown["status"])

    def expire(self, identifier: str) -> None:
        """End a batch as if its time was over."""
        with self._lock:
            batch = self._find(identifier)
            if batch.shown["status"] not in ENDED:
                self._expire(batch)

    def _find(self, identifier: str) -> Batch:
        if (batch := self._batches.get(identifier)) is None:
            raise ApiError(404, f"No batch found with id '{identifier}'.", param="batch_id")
        return batch

    def _keep_pace(self, batch: Batch) -> None:
        seconds = self.rules.seconds
        while seconds is not None and batch.shown["status"] not in ENDED:
            now = time.monotonic()
            state = batch.shown["status"]
            if now - batch.created >= self.rules.expires_after_s and state == "in_progress":
                self._expire(batch)
                return
            stay = seconds.get(state, 0.0)
            passed = now - batch.since
            if passed < stay:
                if state == "in_progress":
                    self._compute(batch, int(len(batch.lines) * passed / stay))
                return
            self._step(batch)

    def _step(self, batch: Batch) -> None:
        match batch.shown["status"]:
            case "validating":
                self._validate(batch)
            case "in_progress":
                self._compute(batch, len(batch.lines))
                self._enter(batch, "finalizing")
            case "finalizing":
                self._leave_files(batch)
                self._enter(batch, "completed")
            case "cancelling":
                self._leave_files(batch)
                self._enter(batch, "cancelled")

    def _enter(self, batch: Batch, state: str) -> None:
        batch.shown["status"] = state
        batch.shown[f"{state}_at"] = int(time.time())
        batch.since = time.monotonic()

    def _expire(self, batch: Batch) -> None:
        for line in batch.lines[batch.done :]:
            error = {
                "code": "batch_expired",
                "message": "This request could not be executed before the completion window "
                "expired.",
            }
            batch.errors.append(written_line(line["custom_id"], None, error))
            batch.shown["request_counts"]["failed"] += 1
        self._leave_files(batch)
        self._enter(batch, "expired")

    # -- validation ------------------------------------------------------------------------

    def _validate(self, batch: Batch) -> None:
        try:
            content = self._files.get(batch.shown["input_file_id"]).path.read_bytes()
        except (ApiError, FileNotFoundError):
            content = b""
        batch.lines, batch.model, errors = read_lines(content, batch.shown["endpoint"])
        if not errors:
            errors = self._check_size(batch)
        if batch.fails:
            errors = [error_of("internal_error", "The batch failed on purpose.")]
        if errors:
            batch.shown["errors"] = {"object": "list", "data": errors}
            self._enter(batch, "failed")
            batch.spool.close()
            return
        batch.shown["request_counts"] = {"total": len(batch.lines), "completed": 0, "failed": 0}
        batch.shown["model"] = batch.model
        self._enter(batch, "in_progress")

    def _check_size(self, batch: Batch) -> list[JsonObject]:
        rules = self.rules
        if not batch.lines:
            return [error_of("empty_file", "The input file is empty or cannot be read.")]
        if len(batch.lines) > rules.max_lines:
            message = f"The batch exceeds the limit of {rules.max_lines} requests."
            return [error_of("too_many_tasks", message)]
        inputs = [line["body"].get("input") for line in batch.lines]
        texts = [
            text for given in inputs for text in (given if isinstance(given, list) else [given])
        ]
        if len(texts) > rules.max_inputs:
            message = f"The batch exceeds the limit of {rules.max_inputs} embedding inputs."
            return [error_of("too_many_inputs", message)]
        batch.tokens = sum(
            self._dialect.count_tokens(text) for text in texts if isinstance(text, str)
        )
        enqueued = sum(
            other.tokens
            for other in self._batches.values()
            if other.model == batch.model and other.shown["status"] in UNDER_WAY
        )
        if rules.enqueued_tokens is not None and enqueued > rules.enqueued_tokens:
            # This one counts no more against the others.
            batch.tokens = 0
            message = (
                f"Enqueued token limit reached for {batch.model} in organization org-test. "
                f"Limit: {rules.enqueued_tokens} enqueued tokens. Please try again once some "
                "in_progress batches have been completed."
            )
            return [error_of("token_limit_exceeded", message)]
        return []

    # -- computing -------------------------------------------------------------------------

    def _compute(self, batch: Batch, until: int) -> None:
        until = min(until, len(batch.lines))
        counts = batch.shown["request_counts"]
        while batch.done < until:
            line = batch.lines[batch.done]
            batch.done += 1
            try:
                self._compute_line(batch, line)
                counts["completed"] += 1
            except ApiError as refusal:
                response = {
                    "status_code": refusal.status,
                    "request_id": secrets.token_hex(16),
                    "body": {"error": refusal.error},
                }
                batch.errors.append(written_line(line["custom_id"], response, None))
                counts["failed"] += 1

    def _compute_line(self, batch: Batch, line: JsonObject) -> None:
        fault = self._faults.draw("batch_line")
        wanted = check_request(line["body"], self._dialect)
        at = self._faults.of_texts(wanted.texts)
        refused = next(
            (told for told in (fault, *at.values()) if told in {"400", "429", "500"}), ""
        )
        if refused:
            kind = "invalid_request_error" if refused == "400" else "server_error"
            raise ApiError(int(refused), "The request was refused on purpose.", kind=kind)
        at = {position: told for position, told in at.items() if told in ITEMS}
        if fault in ITEMS:
            at.setdefault(self._faults.choose(len(wanted.texts)), fault)
        answer = build_answer(wanted, self._dialect, self._faults, at)
        charge = self._charge("batch", wanted)
        if answer.why:
            self._spoilt(charge, answer.why, answer.spoilt)
        elif fault in {"missing_line", "broken_line"}:
            self._spoilt(charge, fault, wanted.texts)
        if fault == "missing_line":
            return
        written = b'{"id":"batch_req_%b","custom_id":%b,"response":{"status_code":200,' % (
            secrets.token_hex(12).encode(),
            json.dumps(line["custom_id"]).encode(),
        )
        written += b'"request_id":"%b","body":%b},"error":null}' % (
            secrets.token_hex(16).encode(),
            answer.body,
        )
        if fault == "broken_line":
            written = written[: len(written) // 2]
        batch.output.append((batch.spool.tell(), batch.spool.write(written + b"\n")))

    def _leave_files(self, batch: Batch) -> None:
        name = batch.shown["id"]
        if batch.output:
            order = self._faults.shuffled(len(batch.output))
            pieces = (_piece(batch.spool, *batch.output[place]) for place in order)
            output = self._files.add(f"{name}_output.jsonl", "batch_output", pieces)
            batch.shown["output_file_id"] = output.shown["id"]
        if batch.errors:
            errors = self._files.add(f"{name}_error.jsonl", "batch_output", batch.errors)
            batch.shown["error_file_id"] = errors.shown["id"]
        batch.output, batch.errors, batch.lines = [], [], []
        batch.spool.close()


def _piece(spool: BinaryIO, start: int, length: int) -> bytes:
    spool.seek(start)
    return spool.read(length)
