"""Secrets in texts that people read: logs, messages, exceptions, addresses."""

from __future__ import annotations

import re
from collections.abc import Iterable

HIDDEN = "***"

# A user alone has no slash: addresses of articles have an @ further on. A password may have one.
# With limits, since hostile text would take a time that grows with the square of its length.
_IN_ADDRESS = re.compile(
    r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)(?:[^/\s:]{0,200}:[^\s\"']{0,400}|[^/\s]{0,400})@"
)
_NAMED = re.compile(
    r"((?:passw(?:or)?d|passphrase|secret|credential|token|authorization|signature"
    r"|(?:api|access|private)[_-]?key)[\w-]{0,64}[\\\"']*\s*[=:]\s*)"
    r"(?!\*\*\*)(\\?\"[^\"]*\"|\\?'[^']*'|[^\s,;&)}\]]+)",
    re.IGNORECASE,
)
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")
# OpenAI repeats the beginning and the end of a key, with stars between.
_KNOWN_KEY = re.compile(
    r"\b(?:sk|sess|xox[a-z]|gh[pousr])[-_][\w*.-]{7,}[\w*-]|\bAKIA[A-Z0-9]{12,}"
)


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with ``***`` in place of what is or looks like a secret.

    That is `secrets`, passwords in addresses, values after names such as ``password`` or
    ``client_secret``, and keys that are known by their beginning.
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    text = _IN_ADDRESS.sub(rf"\1{HIDDEN}@", text)
    text = _SCHEME.sub(rf"\1 {HIDDEN}", text)
    text = _NAMED.sub(rf"\1{HIDDEN}", text)
    return _KNOWN_KEY.sub(HIDDEN, text)
