"""A small server of OpenAI's embeddings, files and batches, for tests; it misbehaves on request.

    python scripts/openai_server.py --port 8001      # prints the base URL; stop it with Ctrl-C

Faults of a request, by name: ``429`` (with retry-after), ``500``, ``quota``, ``400``, ``reset`` (of
the connection), ``garbage`` (not JSON), ``nan``, ``zero``, ``short`` (vectors of another length),
``fewer`` (a vector is missing), ``twice`` (two vectors with one number), ``shuffled`` (in another
order, but numbered), ``slow`` (answers after `slow_s`).
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

MODELS = {
    "text-embedding-ada-002": 1536,
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
}
Json = dict[str, Any]


def expected_vectors(texts: Sequence[str], model: str, dimensions: int = 0) -> NDArray[np.float32]:
    """Return the server's vectors, float32 [n, d]: of unit length, near for texts that share words.

    Each is the sum of random vectors of the words, longer words weighing more.
    """
    d = dimensions or MODELS[model]
    known: dict[str, NDArray[np.float64]] = {}
    vectors = np.zeros((len(texts), d))
    for row, text in enumerate(texts):
        for word in re.findall(r"\w+", text.lower()) or [text]:
            if word not in known:
                seed = hashlib.sha256(f"{model} {word}".encode()).digest()[:8]
                known[word] = np.random.default_rng(int.from_bytes(seed)).standard_normal(d)
            vectors[row] += min(len(word), 10) * known[word]
        vectors[row] /= np.linalg.norm(vectors[row])
    return vectors.astype(np.float32)


def count_tokens(text: str) -> int:
    """Return the number of tokens the server counts: one for every four bytes begun."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


class ApiError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"message": message, "type": code or "error", "code": code}}


class OpenAiServer:
    """The server, in a thread of this process; a context manager.

    Parameters
    ----------
    port : int
        0: any that is free.
    api_key : str, optional
        The only key let in, and repeated when it is refused; None: any, or none.
    models : mapping of str to int
        Lengths of the vectors.
    base64, dimensions : bool
        Whether these options of a request are understood.
    latency_s, per_text_s, slow_s : float
        How long a request takes, what each text adds, and what the fault ``slow`` takes.
    chances : mapping of str to float
        Faults of requests for embeddings, and how often.
    poison : mapping of str to str
        Pieces of texts, and the fault of requests with them.
    batch_s : float
        How long a batch is in progress.
    lost_lines : float
        The share of a batch's lines that bring an error instead of a vector.

    Attributes
    ----------
    base_url : str
        What a client is given.
    next_faults : deque of str
        What happens to the next requests for embeddings, one each.
    requests : list of tuple
        Path and status of every answer.
    charges : list of tuple
        ``online`` or ``batch``, and the texts, of everything charged.
    batch_status : str
        How batches end.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        api_key: str | None = None,
        models: Mapping[str, int] = MODELS,
        base64: bool = True,
        dimensions: bool = True,
        latency_s: float = 0.0,
        per_text_s: float = 0.0,
        slow_s: float = 2.0,
        chances: Mapping[str, float] | None = None,
        poison: Mapping[str, str] | None = None,
        batch_s: float = 0.0,
        lost_lines: float = 0.0,
    ) -> None:
        self.api_key, self.models, self.base64, self.dimensions = (
            api_key,
            models,
            base64,
            dimensions,
        )
        self.latency_s, self.per_text_s, self.slow_s = latency_s, per_text_s, slow_s
        self.chances, self.poison = dict(chances or {}), dict(poison or {})
        self.batch_s, self.lost_lines, self.batch_status = batch_s, lost_lines, "completed"
        self.next_faults: deque[str] = deque()
        self.requests: list[tuple[str, int]] = []
        self.charges: list[tuple[str, list[str]]] = []
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, Json] = {}
        self.lock = threading.RLock()
        self.random = np.random.default_rng(0)
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self._http.daemon_threads = True
        self._http.api = self  # type: ignore[attr-defined]
        self.base_url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def texts(self, kind: str = "") -> list[str]:
        """Return every text that was charged, as often as it was; online, in batches or both."""
        return [text for how, texts in self.charges if kind in how for text in texts]

    def tokens(self) -> int:
        """Return all tokens that were charged."""
        return sum(map(count_tokens, self.texts()))

    # -- embeddings ------------------------------------------------------------------------
    def fault_of(self, texts: Sequence[str]) -> str:
        """Return what goes wrong with a request, or nothing."""
        with self.lock:
            for piece, fault in self.poison.items():
                if any(piece in text for text in texts):
                    return fault
            if self.next_faults:
                return self.next_faults.popleft()
            draw = self.random.random()
            for fault, chance in self.chances.items():
                if (draw := draw - chance) < 0:
                    return fault
        return ""

    def embed(self, body: Json, kind: str = "online", fault: str = "") -> Json:
        """Answer a request for embeddings.

        Raises
        ------
        ApiError
            When it is refused.
        """
        model, given = body.get("model"), body.get("input")
        texts = [given] if isinstance(given, str) else given
        if model not in self.models:
            raise ApiError(404, f"The model `{model}` does not exist.", "model_not_found")
        if not isinstance(texts, list) or not 0 < len(texts) <= 2048 or not all(texts):
            raise ApiError(400, "'$.input' is invalid: 1 to 2,048 texts, none empty.")
        counts = [count_tokens(text) for text in texts]
        if max(counts) > 8192 or sum(counts) > 300_000:
            raise ApiError(400, "This model's maximum context length is 8192 tokens.")
        if "dimensions" in body and not self.dimensions:
            raise ApiError(400, "dimensions is not supported.")
        length = body.get("dimensions") or self.models[model]
        vectors = expected_vectors(texts, model, length - (fault == "short"))
        poisoned = [any(piece in text for piece in self.poison) for text in texts]
        vectors[np.argmax(poisoned)] *= {"nan": np.nan, "zero": 0.0}.get(fault, 1.0)
        as_base64 = body.get("encoding_format") == "base64" and self.base64
        data = [
            {
                "object": "embedding",
                "index": place,
                "embedding": base64.b64encode(vector.tobytes()).decode()
                if as_base64
                else vector.tolist(),
            }
            for place, vector in enumerate(vectors)
        ]
        if fault == "twice" and len(data) > 1:
            data[1]["index"] = 0
        if fault == "shuffled":
            self.random.shuffle(data)
        with self.lock:
            self.charges.append((kind, texts))
        tokens = sum(counts)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return {
            "object": "list", "model": model, "usage": usage,
            "data": data[1:] if fault == "fewer" else data,
        }  # fmt: skip

    # -- batches ---------------------------------------------------------------------------
    def create_batch(self, body: Json) -> Json:
        """Start a batch."""
        batch = {
            "id": f"batch_{secrets.token_hex(8)}", "object": "batch", "status": "in_progress",
            "endpoint": body["endpoint"], "input_file_id": body["input_file_id"],
            "completion_window": "24h", "created_at": int(time.time()),
            "metadata": body.get("metadata"), "output_file_id": None, "errors": None,
            "ends": time.time() + self.batch_s,
        }  # fmt: skip
        self.batches[batch["id"]] = batch
        return batch

    def batch(self, name: str) -> Json:
        """Return a batch as it is now; it is computed when its time is over."""
        with self.lock:
            if name not in self.batches:
                raise ApiError(404, f"No batch found with id '{name}'.")
            batch = self.batches[name]
            if batch["status"] == "in_progress" and time.time() >= batch["ends"]:
                batch["status"] = self.batch_status
                if self.batch_status in {"completed", "expired"}:
                    batch["output_file_id"] = self._compute(batch)
            return batch

    def _compute(self, batch: Json) -> str:
        lines = []
        for line in self.files[batch["input_file_id"]].splitlines():
            request = json.loads(line)
            if self.random.random() < self.lost_lines:
                answer: Json = {"status_code": 500, "body": {"error": {"message": "lost"}}}
            else:
                answer = {"status_code": 200, "body": self.embed(request["body"], "batch")}
            lines.append({"custom_id": request["custom_id"], "response": answer, "error": None})
        self.random.shuffle(lines)
        name = f"file-{secrets.token_hex(8)}"
        self.files[name] = "".join(f"{json.dumps(line)}\n" for line in lines).encode()
        return name


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_DELETE(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        api: OpenAiServer = self.server.api  # type: ignore[attr-defined]
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path.removeprefix("/v1/")
        headers: dict[str, str] = {}
        status, body = 200, b""
        try:
            key = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if api.api_key and key != api.api_key:
                raise ApiError(401, f"Incorrect API key provided: {key}.", "invalid_api_key")
            answer = (
                self._embeddings(api, content, headers)
                if path == "embeddings"
                else self._other(api, path.split("/"), content)
            )
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        except ApiError as error:
            status, body = error.status, json.dumps(error.body).encode()
        except ConnectionAbortedError:
            status = 0
        api.requests.append((path, status))
        if not status:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # The client may have left.
        with suppress(ConnectionError):
            self.end_headers()
            self.wfile.write(body)

    def _embeddings(
        self, api: OpenAiServer, content: bytes, headers: dict[str, str]
    ) -> Json | bytes:
        body = json.loads(content)
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given or []
        fault = api.fault_of(texts)
        time.sleep(api.slow_s if fault == "slow" else api.latency_s + api.per_text_s * len(texts))
        if fault == "429":
            headers["retry-after-ms"] = "100"
            raise ApiError(429, "Rate limit reached.", "rate_limit_exceeded")
        if fault == "quota":
            raise ApiError(429, "You exceeded your current quota.", "insufficient_quota")
        if fault in {"400", "500"}:
            raise ApiError(int(fault), "The server cannot do this.")
        if fault == "reset":
            raise ConnectionAbortedError
        return b"<html>oops" if fault == "garbage" else api.embed(body, fault=fault)

    def _other(self, api: OpenAiServer, parts: list[str], content: bytes) -> Json | bytes:
        match self.command, *parts:
            case "POST", "files":
                boundary = str(self.headers.get_param("boundary")).encode()
                (upload,) = [
                    part for part in content.split(b"--" + boundary) if b'name="file"' in part
                ]
                name = f"file-{secrets.token_hex(8)}"
                api.files[name] = upload.partition(b"\r\n\r\n")[2].removesuffix(b"\r\n")
                size = len(api.files[name])
                about = {"object": "file", "purpose": "batch", "filename": "f", "created_at": 0}
                return {**about, "id": name, "bytes": size, "status": "processed"}
            case "GET", "files", name, "content" if name in api.files:
                return api.files[name]
            case "DELETE", "files", name:
                api.files.pop(name, None)
                return {"id": name, "object": "file", "deleted": True}
            case "POST", "batches":
                return api.create_batch(json.loads(content))
            case "GET", "batches":
                listed = [api.batch(name) for name in reversed(api.batches)]
                return {"object": "list", "data": listed, "has_more": False}
            case "GET", "batches", name:
                return api.batch(name)
            case "POST", "batches", name, "cancel":
                api.batch(name)["status"] = "cancelled"
                return api.batch(name)
        raise ApiError(404, f"Unknown: {self.command} {self.path}")


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--latency-s", type=float, default=0.0, help="how long a request takes")
    parser.add_argument("--per-text-s", type=float, default=0.0, help="what each text adds")
    parser.add_argument("--batch-s", type=float, default=0.0, help="how long a batch takes")
    options = vars(parser.parse_args())
    with OpenAiServer(**options) as server:
        print(server.base_url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
