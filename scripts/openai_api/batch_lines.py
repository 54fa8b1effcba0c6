"""Lines of the files that go into batches and come out of them, and what can be wrong with them."""

from __future__ import annotations

import json
import secrets

from scripts.openai_api.embeddings import ApiError
from scripts.openai_api.vectors import JsonObject


def read_lines(content: bytes, endpoint: str) -> tuple[list[JsonObject], str, list[JsonObject]]:
    """Read an input file.

    Returns
    -------
    tuple
        Its requests, the model they are for, and the errors, each with its line.
    """
    lines: list[JsonObject] = []
    errors: list[JsonObject] = []
    seen: set[str] = set()
    model = ""
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError:
            message = "This line is not parseable as JSON."
            errors.append(error_of("invalid_json_line", message, number))
            continue
        wrong = _wrong_line(line, seen, endpoint, model)
        if wrong:
            errors.append(error_of(*wrong, number))
            continue
        seen.add(line["custom_id"])
        model = line["body"]["model"]
        lines.append(line)
    return lines, model, errors


def check_metadata(metadata: object) -> None:
    """Check the metadata of a batch.

    Raises
    ------
    ApiError
        When it is larger than the API takes.
    """
    if metadata is None:
        return
    right = isinstance(metadata, dict) and len(metadata) <= 16
    if not right or not all(
        isinstance(value, str) and len(value) <= 512 and len(name) <= 64
        for name, value in metadata.items()  # type: ignore[attr-defined]
    ):
        message = "Invalid 'metadata': at most 16 names of 64 characters, values of 512."
        raise ApiError(400, message, param="metadata")


def _wrong_line(line: object, seen: set[str], endpoint: str, model: str) -> tuple[str, str] | None:
    """Return the code and message of what is wrong with a line of an input file, if anything."""
    if not isinstance(line, dict) or not isinstance(line.get("custom_id"), str):
        return "missing_required_parameter", "Missing required parameter: 'custom_id'."
    if line["custom_id"] in seen:
        message = f"The custom_id '{line['custom_id']}' for this request is a duplicate."
        return "duplicate_custom_id", message
    if line.get("method") != "POST":
        return "invalid_method", "The method must be POST."
    if line.get("url") != endpoint:
        return "mismatched_endpoint", "The URL must match the endpoint of the batch."
    body = line.get("body")
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        return "missing_required_parameter", "Missing required parameter: 'body.model'."
    if model and body["model"] != model:
        return "mismatched_model", "All requests of a batch must be for the same model."
    return None


def error_of(code: str, message: str, line: int | None = None) -> JsonObject:
    """Return one of the errors of a batch that failed."""
    return {"code": code, "message": message, "param": None, "line": line}


def written_line(custom_id: str, response: JsonObject | None, error: JsonObject | None) -> bytes:
    """Return a line of output as it stands in the file."""
    written = {
        "id": f"batch_req_{secrets.token_hex(12)}",
        "custom_id": custom_id,
        "response": response,
        "error": error,
    }
    return json.dumps(written).encode() + b"\n"
