"""CSV files read row by row: plain or gzip, local or remote, with line numbers."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import zlib
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Self, cast

from typing_extensions import Buffer
from upath import UPath

from tagsage.corpus.quarantine import REJECTED, Quarantine
from tagsage.errors import TagsageError

FIELD_LIMIT = 4_000_000  # characters; also the most that an unclosed quote swallows
BUFFER = 1 << 20
_GZIP = b"\x1f\x8b"
_ARCHIVES = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_REASONS = (
    ("unexpected end of data", "a quoted field is never closed"),
    ("field larger than", f"a field is longer than {FIELD_LIMIT:,} characters"),
    ("expected after", "a quote inside a quoted field is not doubled"),
)


class CsvFile:
    """A CSV file (or fsspec URL, perhaps gzip), opened for one pass; `rows_read` has bad rows, too.

    A broken row goes to the quarantine, and reading continues on the line after the row's first.
    Raises `TagsageError`, on opening or reading, when the whole file is unusable.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.name = path.rstrip("/").rpartition("/")[2]
        self.rows_read = 0
        self._stack = ExitStack()
        self._lines = _Lines(iter(()))

    def __enter__(self) -> Self:
        # The limit is the process's own; it is only ever raised, because others may have set it.
        csv.field_size_limit(max(csv.field_size_limit(), FIELD_LIMIT))
        with self._translated(), ExitStack() as stack:
            raw = stack.enter_context(_open(self.path))
            self._digesting = _Digesting(raw)
            content = _unzipped(io.BufferedReader(self._digesting, BUFFER), stack)
            text = io.TextIOWrapper(content, encoding="utf-8-sig", newline="")
            stack.callback(text.detach)
            self._lines = _Lines(text)
            self._reader = csv.reader(self._lines, strict=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def header(self) -> list[str]:
        """Read the first row: the columns, stripped, in lower case; none of an empty file."""
        with self._translated():
            for fields in self._reader:
                if fields:
                    return [field.replace("\0", "").strip().lower() for field in fields]
        return []

    def rows(
        self, header: Sequence[str], quarantine: Quarantine
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the line (from 1) where each remaining row begins, and its fields.

        Rows that cannot be read, or have another number of columns than the header, are rejected.
        """
        with self._translated():
            while True:
                line = self._lines.begin_row()
                fault = ""
                try:
                    fields = next(self._reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    fault = _reason(error)
                else:
                    if not fields:
                        continue
                    if len(fields) != len(header):
                        fault = f"{len(fields)} fields instead of {len(header)}"
                self.rows_read += 1
                if fault:
                    self._lines.give_back()
                    quarantine.add(self.name, line, REJECTED, fault, self.content())
                    continue
                if "\0" in self.content():
                    fields = self._without_nul(line, header, fields, quarantine)
                yield line, fields

    def content(self) -> str:
        """Return the text of the row just read."""
        return "".join(self._lines.row)

    def digest(self) -> str:
        """Return ``sha256:…`` of the file's bytes as stored; call it after the last row."""
        with self._translated():
            while self._digesting.read(BUFFER):
                pass
        return f"sha256:{self._digesting.sha256.hexdigest()}"

    def _without_nul(
        self, line: int, header: Sequence[str], fields: list[str], quarantine: Quarantine
    ) -> list[str]:
        for column, field in zip(header, fields, strict=True):
            if "\0" in field:
                value = (column, field, "text without NUL bytes")
                quarantine.repair(self.name, line, "NUL bytes", self.content(), value=value)
        return [field.replace("\0", "") for field in fields]

    @contextmanager
    def _translated(self) -> Generator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise TagsageError(self._where_not_utf8()) from None
        except csv.Error as error:
            why = _reason(error)
            msg = f"{self.path} cannot be read as CSV from line 1 on: {why}; mend the header."
            raise TagsageError(msg) from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            state = "cut off" if isinstance(error, EOFError) else "damaged"
            msg = (
                f"{self.path} is {state}: its gzip data can be read up to line "
                f"{self._lines.number:,} and no further; copy or download the file again."
            )
            raise TagsageError(msg) from error
        except FileNotFoundError:
            raise TagsageError(f"There is no file {self.path}; check the path.") from None
        except IsADirectoryError:
            msg = f"{self.path} is a folder; name the CSV file itself."
            raise TagsageError(msg) from None
        except OSError as error:
            why = error.strerror or str(error)
            raise TagsageError(f"{self.path} cannot be read: {why}; check it.") from error

    def _where_not_utf8(self) -> str:
        # Text is decoded in large pieces; a second pass, line by line, finds where it was.
        with ExitStack() as stack:
            raw = stack.enter_context(_open(self.path))
            for number, line in enumerate(_unzipped(io.BufferedReader(_Digesting(raw)), stack), 1):
                archive = next((k for start, k in _ARCHIVES.items() if line.startswith(start)), "")
                if number == 1 and archive:
                    return f"{self.path} is a {archive} archive; unpack it, or pack it with gzip."
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError as error:
                    return (
                        f"{self.path} is not UTF-8: line {number}, byte {error.start + 1} of the "
                        f"line is 0x{line[error.start]:02x}; save the file as UTF-8."
                    )
        return f"{self.path} is not UTF-8; save the file as UTF-8."


class _Lines:
    """Gives lines to the CSV reader, counts them, and can take some back."""

    def __init__(self, source: Iterator[str]) -> None:
        self._source = source
        self._taken_back: deque[str] = deque()
        self._before = 0  # lines before the row being read
        self.row: list[str] = []  # the lines of the row being read

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        line = self._taken_back.popleft() if self._taken_back else next(self._source)
        self.row.append(line)
        return line

    @property
    def number(self) -> int:
        return self._before + len(self.row)

    def begin_row(self) -> int:
        self._before += len(self.row)
        self.row.clear()
        return self._before + 1

    def give_back(self) -> None:
        self._taken_back.extendleft(reversed(self.row[1:]))
        del self.row[1:]


class _Digesting(io.RawIOBase):
    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)
        data = self._source.read(len(view))
        view[: len(data)] = data
        self.sha256.update(data)
        return len(data)


def _open(path: str) -> BinaryIO:
    if not path:
        raise TagsageError("The path of a CSV file is empty; name the file.")
    try:
        place = UPath(path)
        if place.protocol in {"", "file", "local"}:
            return Path(place.path).expanduser().open("rb")
        return place.open("rb")
    except (ImportError, ValueError) as error:
        # fsspec does not know the protocol, or the package that speaks it is not installed.
        raise TagsageError(f"{path} cannot be opened: {error}.") from error


def _unzipped(file: io.BufferedReader, stack: ExitStack) -> io.BufferedReader:
    if file.peek(2)[:2] != _GZIP:
        return file
    unzipped = stack.enter_context(gzip.GzipFile(fileobj=file, mode="rb"))
    return io.BufferedReader(cast("io.RawIOBase", unzipped), BUFFER)


def _reason(error: csv.Error) -> str:
    return next((words for part, words in _REASONS if part in str(error)), str(error))
