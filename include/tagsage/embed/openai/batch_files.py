"""The files of a batch: requests planned to the API's limits, and results read in any order.

A job is one batch of the API: a file of lines, a line a request with many inputs. It is named after
what is in it, so that the same texts make the same job whenever they are planned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic_core import from_json

from tagsage.embed.files import new_folder
from tagsage.embed.openai.answers import BrokenAnswerError, read_parsed
from tagsage.embed.openai.config import OpenAiConfig
from tagsage.embed.openai.tokens import REQUEST_TOKENS, prepare
from tagsage.embed.text import EMPTY_HASH, HASH_DTYPE
from tagsage.errors import TagsageError

JOB_FILE = "job.json"
HASHES_FILE = "hashes.npy"
LINES_FILE = "lines.npy"
TOKENS_FILE = "tokens.npy"
INPUT_FILE = "input.jsonl"
# The meaning of a key: another layout of lines must not meet the results of this one.
LAYOUT = "1"

ENDPOINT: Final = "/v1/embeddings"


@dataclass(frozen=True)
class JobLimits:
    """What a job may hold; see https://developers.openai.com/api/docs/guides/batch.

    Attributes
    ----------
    texts : int
        Inputs of a job; the API's limit, over all lines.
    file_bytes : int
        Size of its file; the API takes twice as much.
    tokens : int
        Estimated tokens of a job. An account has a limit of tokens that wait at the same time; a
        job alone should be below what small accounts have, or it could never start.
    line_texts : int
        Inputs of a line: what fails together.
    line_tokens : int
        Estimated tokens of a line.
    """

    texts: int = 50_000
    file_bytes: int = 100_000_000
    tokens: int = 2_500_000
    line_texts: int = 256
    line_tokens: int = REQUEST_TOKENS


@dataclass(frozen=True, eq=False)
class Job:
    """One batch of the API.

    Attributes
    ----------
    key : str
        Digest of the model, the hashes and the layout.
    hashes : S32 array, shape [n]
        Hashes of the texts, in the order of the file.
    lines : int64 array, shape [m + 1]
        Line i asks for the texts from ``lines[i]`` to ``lines[i + 1]``.
    tokens : int64 array, shape [m]
        Estimated tokens of each line.
    bound_tokens : int
        Tokens, never fewer than there are.
    cut : int
        Texts that were too long.
    """

    key: str
    hashes: npt.NDArray[np.bytes_]
    lines: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    bound_tokens: int
    cut: int

    @property
    def texts(self) -> int:
        """Number of texts."""
        return len(self.hashes)

    @property
    def estimated_tokens(self) -> int:
        """Estimated tokens of the job."""
        return int(self.tokens.sum())

    def hashes_of(self, line: int) -> npt.NDArray[np.bytes_]:
        """Return the hashes of a line's texts."""
        return self.hashes[self.lines[line] : self.lines[line + 1]]

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a job that :func:`write_job` wrote.

        Raises
        ------
        TagsageError
            When a file is missing or damaged.
        """
        try:
            about = json.loads((folder / JOB_FILE).read_text(encoding="utf-8"))
            hashes = np.load(folder / HASHES_FILE, allow_pickle=False)
            lines = np.load(folder / LINES_FILE, allow_pickle=False)
            tokens = np.load(folder / TOKENS_FILE, allow_pickle=False)
            bound, cut = int(about["bound_tokens"]), int(about["cut"])
            if hashes.dtype != HASH_DTYPE or len(tokens) != len(lines) - 1:
                raise ValueError("its arrays do not fit together")
            if _key(str(about["model_id"]), hashes, lines) != folder.name:
                raise ValueError("it is not what it is named after")
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            msg = (
                f"Cannot read the batch job in {folder} ({error}); give it up "
                f"(tagsage vectors cancel {folder.name} --give-up) and run again."
            )
            raise TagsageError(msg) from error
        return cls(folder.name, hashes, lines, tokens, bound, cut)


def plan_jobs(
    texts: Sequence[str],
    hashes: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    *,
    config: OpenAiConfig,
    limits: JobLimits | None = None,
) -> list[tuple[Job, npt.NDArray[np.int64]]]:
    """Divide texts into jobs; nothing is sent or written.

    Parameters
    ----------
    texts : sequence of str, length n
        The exact texts.
    hashes : S32 array, shape [n]
        Their hashes.
    rows : int64 array
        Which of them; of equal texts one is taken, empty ones are left out.
    config : OpenAiConfig
        The model.
    limits : JobLimits, optional
        What a job may hold.

    Returns
    -------
    list of (Job, int64 array)
        The jobs, and the rows of each, in the order of its file. Texts are sorted by hash: the same
        texts make the same jobs in whatever order the corpus has them, and what is left after the
        first jobs makes the same further ones.
    """
    limits = limits or JobLimits()
    unique, first = np.unique(np.asarray(hashes[rows], HASH_DTYPE), return_index=True)
    first = first[unique != EMPTY_HASH]
    ordered = rows[first].astype(np.int64)
    if not len(ordered):
        return []
    sent = prepare([texts[row] for row in ordered])
    size = np.array([len(json.dumps(text)) + 2 for text in sent.texts], dtype=np.int64)
    line_texts = min(limits.line_texts, config.request_texts)
    lines = _pack(line_texts, (sent.estimates, limits.line_tokens), (size, limits.file_bytes))
    a_line = np.diff(lines)
    envelope = len(_line(0, [], config, encoding="base64")) + 16
    jobs = _pack(
        limits.texts,
        (a_line, limits.texts),
        (_sums(size, lines) + envelope, limits.file_bytes),
        (_sums(sent.estimates, lines), limits.tokens),
    )
    planned = []
    for begin, end in pairwise(jobs.tolist()):
        here = slice(lines[begin], lines[end])
        own_lines = lines[begin : end + 1] - lines[begin]
        own_hashes = np.asarray(hashes[ordered[here]], HASH_DTYPE)
        job = Job(
            _key(config.model_id, own_hashes, own_lines),
            own_hashes,
            own_lines,
            _sums(sent.estimates, lines)[begin:end],
            int(sent.bounds[here].sum()),
            int(sent.cut[here].sum()),
        )
        planned.append((job, ordered[here]))
    return planned


def write_job(
    folder: Path, job: Job, texts: Sequence[str], *, config: OpenAiConfig, encoding: str
) -> None:
    """Write a job's file and what tells its lines, whole or not at all.

    Parameters
    ----------
    folder : pathlib.Path
        Where; its name is the job's key. One that is there is left as it is.
    job : Job
        The job.
    texts : sequence of str
        Its texts, in its order.
    config : OpenAiConfig
        The model.
    encoding : str
        ``base64`` or ``float``: how vectors are to come.
    """
    if folder.is_dir():
        return
    with new_folder(folder) as new:
        sent = prepare(texts).texts
        with (new / INPUT_FILE).open("wb") as file:
            for line in range(len(job.lines) - 1):
                inputs = sent[job.lines[line] : job.lines[line + 1]]
                file.write(_line(line, inputs, config, encoding=encoding))
        np.save(new / HASHES_FILE, job.hashes, allow_pickle=False)
        np.save(new / LINES_FILE, job.lines, allow_pickle=False)
        np.save(new / TOKENS_FILE, job.tokens, allow_pickle=False)
        about = {
            "model_id": config.model_id,
            "bound_tokens": job.bound_tokens,
            "cut": job.cut,
        }
        (new / JOB_FILE).write_text(json.dumps(about, indent=1), encoding="utf-8")


@dataclass(frozen=True)
class LineResult:
    """What a line of a results file holds.

    Attributes
    ----------
    line : int
        Which line of the job it answers.
    hashes : S32 array, shape [k]
        Texts that have a sound vector.
    vectors : float32 array, shape [k, d]
        Their vectors.
    tokens : int
        What was charged: as the server says, else as estimated; 0 for an error.
    problems : dict of str to int
        What is wrong with the other texts of the line, and with how many.
    """

    line: int
    hashes: npt.NDArray[np.bytes_]
    vectors: npt.NDArray[np.float32]
    tokens: int
    problems: dict[str, int]


def read_results(paths: Sequence[Path], job: Job, *, dimensions: int) -> Iterator[LineResult]:
    """Read output and error files, line by line, in whatever order the lines are.

    Parameters
    ----------
    paths : sequence of pathlib.Path
        The files.
    job : Job
        The job that it answers.
    dimensions : int
        Numbers in a vector.

    Yields
    ------
    LineResult
        One a line of the job; what is no line of it, or comes again, is passed over.
    """
    seen: set[int] = set()
    for path in paths:
        with path.open("rb") as file:
            for raw in file:
                try:
                    parsed = from_json(raw)
                except ValueError:
                    continue
                line = _line_number(parsed, job)
                if line is None or line in seen:
                    continue
                seen.add(line)
                yield _read_line(parsed, line, job, dimensions)


def _read_line(parsed: dict[str, Any], line: int, job: Job, dimensions: int) -> LineResult:
    hashes = job.hashes_of(line)
    response = parsed.get("response")
    response = response if isinstance(response, dict) else {}
    nothing = np.zeros((0, dimensions), np.float32)
    if response.get("status_code") != 200:
        problem = _problem(parsed.get("error"), response)
        return LineResult(line, hashes[:0], nothing, 0, {problem: len(hashes)})
    body = response.get("body")
    try:
        answer = read_parsed(body, expected=len(hashes), dimensions=dimensions)
    except BrokenAnswerError as error:
        estimate = int(job.tokens[line])
        return LineResult(line, hashes[:0], nothing, estimate, {str(error): len(hashes)})
    problems: dict[str, int] = {}
    for problem in answer.bad.values():
        problems[problem] = problems.get(problem, 0) + 1
    tokens = int(job.tokens[line]) if answer.tokens is None else answer.tokens
    return LineResult(line, hashes[answer.good], answer.vectors, tokens, problems)


def _line_number(parsed: Any, job: Job) -> int | None:
    name = parsed.get("custom_id") if isinstance(parsed, dict) else None
    if not isinstance(name, str) or not name.isdecimal() or not name.isascii():
        return None
    number = int(name) if len(name) < 16 else len(job.lines)
    return number if number < len(job.lines) - 1 else None


def _problem(error: Any, response: dict[str, Any]) -> str:
    """Return what an error line complains of: a code."""
    body = response.get("body")
    inner = body.get("error") if isinstance(body, dict) else None
    for complaint in (error, inner):
        if isinstance(complaint, dict):
            # Not the message: it may repeat the text, or a key.
            said = complaint.get("code") or complaint.get("type")
            if said:
                return str(said)[:80]
    return f"status {response.get('status_code')}"


def _line(number: int, inputs: list[str], config: OpenAiConfig, *, encoding: str) -> bytes:
    body: dict[str, Any] = {"model": config.model, "input": inputs, "encoding_format": encoding}
    if config.dimensions:
        body["dimensions"] = config.dimensions
    request = {"custom_id": f"{number:06d}", "method": "POST", "url": ENDPOINT, "body": body}
    # ASCII only: some readers take other characters than a line feed for the end of a line.
    return json.dumps(request).encode() + b"\n"


def _key(model_id: str, hashes: npt.NDArray[np.bytes_], lines: npt.NDArray[np.int64]) -> str:
    digest = hashlib.sha256(f"{LAYOUT}\0{model_id}\0{len(hashes)}\0".encode())
    digest.update(hashes.tobytes())
    digest.update(np.asarray(lines, "<i8").tobytes())
    return digest.hexdigest()[:32]


def _pack(most: int, *limited: tuple[npt.NDArray[np.int64], int]) -> npt.NDArray[np.int64]:
    """Cut a sequence into the fewest consecutive parts within limits.

    Parameters
    ----------
    most : int
        Members of a part.
    *limited : tuple of (int64 array of shape [n], int)
        A weight of each member, and the most of it in a part.

    Returns
    -------
    int64 array
        Where the parts begin, and n. A member that is too heavy is a part of its own.
    """
    totals = [(np.concatenate([[0], np.cumsum(weight)]), limit) for weight, limit in limited]
    count = len(totals[0][0]) - 1
    starts = [0]
    while starts[-1] < count:
        start = starts[-1]
        stop = min(start + most, count)
        for total, limit in totals:
            stop = min(stop, int(np.searchsorted(total, total[start] + limit, side="right")) - 1)
        starts.append(max(stop, start + 1))
    return np.array(starts, dtype=np.int64)


def _sums(values: npt.NDArray[np.int64], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total = np.concatenate([[0], np.cumsum(values)])
    sums: npt.NDArray[np.int64] = np.diff(total[starts])
    return sums
