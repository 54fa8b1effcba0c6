"""What was asked of the server, and what became of it: one JSON object a line."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

# Of a request; as they came, or absent.
HEADERS = ("User-Agent", "From", "Cookie", "If-None-Match", "If-Modified-Since", "Accept-Encoding")


@dataclass
class Entry:
    """A request.

    Attributes
    ----------
    at, ended : float
        When it was there whole, and when its answer was: seconds since 1970. `ended` is taken
        before the last bytes leave, so no client can have it earlier.
    host : str
        Of the site's hosts, by its name there.
    kind : str
        robots, list, graphql, article, feed; other: whatever else there may be at its address.
    path : str
        With the query.
    list_id, cursor : str
        What GraphQL was asked for.
    status : int
        Of the answer; 0: there was none.
    fault : str
        What went wrong on purpose; empty: nothing.
    complete : bool
        Whether all of the answer was sent, as far as the server knows.
    sent : int
        Bytes.
    headers : dict of str to str
        Of HEADERS, those that came.
    """

    at: float
    host: str
    method: str
    path: str
    kind: str = "other"
    list_id: str = ""
    cursor: str = ""
    status: int = 0
    fault: str = ""
    complete: bool = False
    sent: int = 0
    ended: float = 0.0
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> tuple[str, ...]:
        """What was asked for: the same for the same thing."""
        return (self.host, self.method, self.path, self.list_id, self.cursor)


class Log:
    """All requests in the order in which they ended.

    Parameters
    ----------
    file : pathlib.Path, optional
        Each is appended to it at once.
    """

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._file = file.open("a", encoding="utf-8") if file else None

    def add(self, entry: Entry) -> None:
        """Enter a request that has ended."""
        with self._lock:
            self._entries.append(entry)
            if self._file:
                self._file.write(json.dumps(asdict(entry)) + "\n")
                self._file.flush()

    def entries(self) -> list[Entry]:
        """Return the requests in the order in which they came."""
        with self._lock:
            return sorted(self._entries, key=lambda entry: entry.at)

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    def clear(self) -> None:
        """Forget the requests; the file keeps them."""
        with self._lock:
            self._entries.clear()

    def close(self) -> None:
        """Close the file."""
        if self._file:
            self._file.close()


def read_log(file: Path) -> list[Entry]:
    """Read a log, in the order in which the requests came."""
    lines = file.read_text(encoding="utf-8").splitlines()
    return sorted((Entry(**json.loads(line)) for line in lines), key=lambda entry: entry.at)
