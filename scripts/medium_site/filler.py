"""What makes pages large: paragraphs as text and as state, compressed once for all pages.

A page is a few pieces of its own between large ones that many pages share. Deflate streams that
were flushed in full can be put one after the other (RFC 1951, 3.2.4 and 2; zlib's
``Z_FULL_FLUSH``), so the shared ones are compressed once.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from scripts.medium_site.words import PLAIN_WORDS

Encoding = Literal["gzip", "deflate", "identity"]
PARAGRAPH_WORDS = 60
VARIANTS = 4
_GZIP_HEAD = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_ZLIB_HEAD = b"\x78\x01"
_LAST_BLOCK = b"\x03\x00"  # an empty one


@dataclass(frozen=True)
class Piece:
    """A part of a page.

    Attributes
    ----------
    data : bytes
        As it is.
    packed : bytes
        Compressed, ending with a full flush.
    """

    data: bytes
    packed: bytes


def piece(data: bytes) -> Piece:
    """Compress a part of a page, fast rather than well."""
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    return Piece(data, packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH))


def join(pieces: Sequence[Piece], encoding: Encoding) -> bytes:
    """Return the page in an encoding of HTTP (RFC 9110, 8.4.1)."""
    if encoding == "identity":
        return b"".join(part.data for part in pieces)
    packed = b"".join(part.packed for part in pieces) + _LAST_BLOCK
    if encoding == "gzip":
        checksum, size = 0, 0
        for part in pieces:
            checksum = zlib.crc32(part.data, checksum)
            size += len(part.data)
        return _GZIP_HEAD + packed + struct.pack("<II", checksum, size & 0xFFFFFFFF)
    checksum = 1
    for part in pieces:
        checksum = zlib.adler32(part.data, checksum)
    return _ZLIB_HEAD + packed + struct.pack(">I", checksum)


@lru_cache(maxsize=256)
def state_filler(variant: int, kb: int) -> Piece:
    """Return members of a state object: about `kb` kilobytes of paragraphs, a comma before each."""
    draw = random.Random(variant)  # ruff: ignore[suspicious-non-cryptographic-random-usage]
    parts: list[str] = []
    size = 0
    while size < kb * 1000:
        name = f"Paragraph:{draw.getrandbits(48):012x}_{len(parts)}"
        value = {
            "__typename": "Paragraph",
            "id": name.partition(":")[2],
            "name": f"{draw.getrandbits(16):04x}",
            "href": None,
            "layout": None,
            "metadata": None,
            "text": _paragraph(draw),
            "hasDropCap": None,
            "dropCapImage": None,
            "markups": [
                {"__typename": "Markup", "type": "STRONG", "start": 3, "end": 19, "href": None}
            ],
            "codeBlockMetadata": None,
            "type": "P",
        }
        parts.append(f",{json.dumps(name)}:{json.dumps(value, separators=(',', ':'))}")
        size += len(parts[-1])
    return piece("".join(parts).encode())


@lru_cache(maxsize=256)
def text_filler(variant: int, kb: int) -> Piece:
    """Return about `kb` kilobytes of the page's visible text."""
    draw = random.Random(variant)  # ruff: ignore[suspicious-non-cryptographic-random-usage]
    parts: list[str] = []
    size = 0
    while size < kb * 1000:
        number = f"{draw.getrandbits(16):04x}"
        parts.append(
            f'<p id="{number}" class="pw-post-body-paragraph nb nc gt nd b ne nf ng nh ni nj nk">'
            f"{_paragraph(draw)}</p>\n"
        )
        size += len(parts[-1])
    return piece("".join(parts).encode())


def _paragraph(draw: random.Random) -> str:
    return " ".join(draw.choices(PLAIN_WORDS, k=PARAGRAPH_WORDS)).capitalize() + "."
