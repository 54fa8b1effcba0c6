"""Large files over HTTPS: limited in size and time, resumed, checked, and kept while unchanged."""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import json
import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from io import BufferedRandom
from pathlib import Path
from typing import Any, BinaryIO, cast

import httpx

from tagsage.errors import TagsageError
from tagsage.retry import retry_after

logger = logging.getLogger(__name__)

MAX_ATTEMPTS_WITHOUT_PROGRESS = 5
MAX_REDIRECTS = 5
SILENCE_S = 30.0  # a server that says nothing for so long has gone
LONGEST_WAIT_S = 60.0
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Fetched:
    """What is known of a complete file; kept beside it as ``<name>.sha256.json``.

    Attributes
    ----------
    url : str
        Where it came from.
    etag : str
        The server's mark of this version; may be empty.
    size : int
        Bytes.
    sha256 : str
        Of the content, in hexadecimal digits.
    when : str
        When it was complete, ISO 8601, UTC.
    """

    url: str
    etag: str
    size: int
    sha256: str
    when: str


@dataclass(frozen=True)
class Limits:
    """What a download may take.

    Attributes
    ----------
    max_bytes : int
        Size of the file.
    timeout_s : float
        Seconds in all, waits between attempts included.
    first_wait_s : float
        Seconds before the second attempt; doubled with every further one.
    """

    max_bytes: int
    timeout_s: float
    first_wait_s: float = 1.0


class _TryAgainError(Exception):
    """An attempt failed in a way that another may not."""

    def __init__(self, why: str, wait_s: float | None = None) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def download(url: str, target: Path, limits: Limits) -> Fetched:
    """Download a file, or find that the one already there is still the server's.

    The content goes to ``<name>.part``, which a later call resumes when the server still has the
    same version (a strong ETag, ``If-Range``), and is renamed when complete.

    Parameters
    ----------
    url : str
        An https URL; http is refused except on this machine itself.
    target : pathlib.Path
        Where to.
    limits : Limits
        Size and time.

    Returns
    -------
    Fetched
        Origin, size and SHA-256.

    Raises
    ------
    TagsageError
        When a limit is reached, the server refuses, or attempts are used up. A complete file that
        is already there stays; when the server cannot be asked, it is used, with a warning.
    """
    _check_scheme(url)
    deadline = time.monotonic() + limits.timeout_s
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(target) as part:
            known = _complete(target, url)
            try:
                fetched = _attempts(url, part, known, limits, deadline)
            except TagsageError as error:
                if known is None:
                    raise
                logger.warning("%s The copy of %s is used.", error, known.when)
                return known
            if fetched is None:
                if known is None:
                    raise TagsageError(f"{url} answered 304 without having been asked; try again.")
                logger.info("%s is unchanged: sha256:%s", url, known.sha256)
                return known
            # In this order: a file whose note is missing or older is simply fetched again.
            _part_note(target).unlink(missing_ok=True)
            _part_path(target).replace(target)
            _write_json(_note(target), asdict(fetched))
            logger.info("%s: %s bytes, sha256:%s", url, f"{fetched.size:,}", fetched.sha256)
            return fetched
    except OSError as error:
        why = error.strerror or str(error)
        raise TagsageError(
            f"{target} cannot be written: {why}; make room, or choose another workspace."
        ) from error


def _attempts(
    url: str, part: BinaryIO, known: Fetched | None, limits: Limits, deadline: float
) -> Fetched | None:
    """Try until the file is complete; None when the known one is unchanged."""
    failures = 0
    note = _part_note_of(part)
    with httpx.Client(trust_env=not _is_loopback(httpx.URL(url).host)) as client:
        while True:
            before = part.seek(0, 2)
            try:
                return _attempt(client, url, part, known, limits, deadline)
            except _TryAgainError as error:
                failures = 0 if part.seek(0, 2) > before and note.exists() else failures + 1
                wait = error.wait_s
                if wait is None:
                    wait = min(limits.first_wait_s * 2 ** max(0, failures - 1), LONGEST_WAIT_S)
                if failures >= MAX_ATTEMPTS_WITHOUT_PROGRESS:
                    msg = f"{url} could not be downloaded: {error}; try again later."
                    raise TagsageError(msg) from error
                if time.monotonic() + wait >= deadline:
                    raise _out_of_time(url, limits, f"{error}, next attempt in {wait:.0f} s") from (
                        error
                    )
                logger.info("%s: %s; next attempt in %.1f s", url, error, wait)
                time.sleep(wait)


def _attempt(
    client: httpx.Client,
    url: str,
    part: BinaryIO,
    known: Fetched | None,
    limits: Limits,
    deadline: float,
) -> Fetched | None:
    note = _part_note_of(part)
    begun = _read_json(note)
    offset = part.seek(0, 2)
    # Ranges are of the bytes sent, so they must not be compressed on the way.
    headers = {"Accept-Encoding": "identity"}
    if offset and begun and begun.get("url") == url and begun.get("etag"):
        headers |= {"Range": f"bytes={offset}-", "If-Range": str(begun["etag"])}
    else:
        offset = 0
        if known and known.etag:
            headers["If-None-Match"] = known.etag
    try:
        with _get(client, url, headers, deadline) as response:
            if response.status_code == 304:
                return None
            etag = response.headers.get("ETag", "")
            if response.status_code == 206:
                sent = response.headers.get("Content-Range", "")
                if not sent.startswith(f"bytes {offset}-") or (begun or {}).get("etag") != etag:
                    _start_anew(part, note)
                    raise _TryAgainError("the server sent another part than the one asked for")
            elif response.status_code == 200:
                offset = 0
                _start_anew(part, note)
                if etag and not etag.startswith("W/"):  # If-Range needs a strong one
                    _write_json(note, {"url": url, "etag": etag})
            elif response.status_code == 416:
                told = response.headers.get("Content-Range")
                if offset and told == f"bytes */{offset}":
                    # All of it is here: a run before was killed between the last byte and the end.
                    return _fetched(url, headers["If-Range"], part)
                _start_anew(part, note)
                raise _TryAgainError("the server no longer has the version begun", 0.0)
            else:
                raise _refusal(url, response)
            size = _announced(response, offset)
            _check_size(url, size or 0, limits)
            part.seek(offset)
            for piece in response.iter_raw():
                part.write(piece)
                offset += len(piece)
                _check_size(url, offset, limits)
                if time.monotonic() >= deadline:
                    part.flush()
                    raise _out_of_time(url, limits, f"{offset:,} bytes so far are kept")
            part.flush()
            if size is not None and offset != size:
                raise _TryAgainError(f"{offset:,} of {size:,} bytes came")
    except httpx.TransportError as error:
        part.flush()
        if time.monotonic() >= deadline:
            raise _out_of_time(url, limits, "the server is silent") from error
        raise _TryAgainError(str(error) or type(error).__name__) from error
    except httpx.HTTPError as error:
        raise TagsageError(f"{url} could not be downloaded: {error}.") from error
    return _fetched(url, etag, part)


def _fetched(url: str, etag: str, part: BinaryIO) -> Fetched:
    size = part.seek(0, 2)
    return Fetched(url, etag, size, _sha256(part), datetime.now(UTC).isoformat(timespec="seconds"))


@contextmanager
def _get(
    client: httpx.Client, url: str, headers: dict[str, str], deadline: float
) -> Generator[httpx.Response]:
    """Send a GET request, following redirects, to https only."""
    place = httpx.URL(url)
    for _ in range(MAX_REDIRECTS + 1):
        left = max(0.1, deadline - time.monotonic())
        timeout = httpx.Timeout(min(SILENCE_S, left))
        with client.stream("GET", place, headers=headers, timeout=timeout) as response:
            if response.status_code not in _REDIRECTS:
                yield response
                return
            try:
                place = place.join(response.headers.get("Location", ""))
            except httpx.InvalidURL as error:
                raise TagsageError(f"{url} redirects to what is no URL: {error}.") from error
        if place.scheme != "https":
            raise TagsageError(f"{url} redirects to {place}, which is not https; refused.")
    raise TagsageError(f"{url} redirects more than {MAX_REDIRECTS} times; check the address.")


def _refusal(url: str, response: httpx.Response) -> Exception:
    said = f"the server answered {response.status_code} {response.reason_phrase}".rstrip()
    if response.status_code in _RETRIED:
        return _TryAgainError(said, _retry_after(response))
    return TagsageError(f"{url} could not be downloaded: {said}; check the address.")


def _retry_after(response: httpx.Response) -> float | None:
    return retry_after(response.headers.get("Retry-After", ""), time.time())


def _announced(response: httpx.Response, offset: int) -> int | None:
    """Return the whole file's size by the response's headers, when they tell it."""
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _check_size(url: str, size: int, limits: Limits) -> None:
    if size > limits.max_bytes:
        msg = (
            f"{url} is larger than the {limits.max_bytes:,} bytes allowed; "
            "raise download_max_mb if that is meant."
        )
        raise TagsageError(msg)


def _out_of_time(url: str, limits: Limits, state: str) -> TagsageError:
    return TagsageError(
        f"{url} did not come within {limits.timeout_s:g} s ({state}); "
        "run again to go on, or raise download_timeout_s."
    )


def _check_scheme(url: str) -> None:
    try:
        place = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise TagsageError(f"{url!r} is not a URL: {error}.") from error
    if place.scheme == "https" or (place.scheme == "http" and _is_loopback(place.host)):
        return
    raise TagsageError(f"{url} is not https; downloads come over https only.")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# -- files beside the target ---------------------------------------------------------------


def _note(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256.json")


def _part_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


def _part_note(target: Path) -> Path:
    return target.with_name(f"{target.name}.part.json")


def _part_note_of(part: BinaryIO) -> Path:
    return Path(f"{part.name}.json")


@contextmanager
def _alone(target: Path) -> Generator[BinaryIO]:
    """Open the part file; no second process may write to it."""
    part_path = _part_path(target)
    # The lock is a file of its own, for the part file itself is renamed in the end.
    with target.with_name(f".{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"Another process is downloading {target}; wait for it to end."
            raise TagsageError(msg) from None
        part_path.touch()
        try:
            with part_path.open("r+b") as part:
                yield part
        finally:
            if part_path.exists() and not part_path.stat().st_size:
                part_path.unlink()  # an empty part is no state worth keeping


def _start_anew(part: BinaryIO, note: Path) -> None:
    # The note goes first: bytes without one are never resumed.
    note.unlink(missing_ok=True)
    part.seek(0)
    part.truncate()


def _complete(target: Path, url: str) -> Fetched | None:
    """Return what is known of the file, if it came from `url` and is as it was then."""
    note = _read_json(_note(target))
    if note is None or not target.is_file():
        return None
    try:
        known = Fetched(**note)
    except TypeError:
        return None
    with target.open("rb") as file:
        same = known.url == url and _sha256(file) == known.sha256
    return known if same else None


def _sha256(file: BinaryIO) -> str:
    file.seek(0)
    return hashlib.file_digest(cast("BufferedRandom", file), "sha256").hexdigest()


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _write_json(path: Path, value: object) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(json.dumps(value, indent=1), encoding="utf-8")
    temporary.replace(path)
