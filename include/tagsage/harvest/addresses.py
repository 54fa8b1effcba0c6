"""Addresses: the kind of page, the server, and whether it may be requested."""

from __future__ import annotations

import ipaddress
import re
from typing import Final, Literal
from urllib.parse import urlsplit

from w3lib.url import safe_url_string, url_query_cleaner

from tagsage.errors import NonRetryableError
from tagsage.redact import redact

Kind = Literal["list", "feed", "article"]

_LIST_ID: Final = re.compile(r"/list/(?:[^/]*-)?([0-9a-f]{8,16})/?$", re.IGNORECASE)
_LIST: Final = re.compile(r"/list/[^/]+/?$")
_FEED: Final = re.compile(r"^/feed(?:/|$)|/(?:feed|rss)/?$|\.rss$|/(?:feed|rss|index)\.xml$")
_MEDIUM: Final = "medium.com"
_USUAL_PORTS: Final = {"http": 80, "https": 443}
# Names that public DNS never answers for (RFC 6761, 6762, 8375, 9476).
_OWN_NETWORK: Final = frozenset({
    *("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private"),
    *("test", "invalid", "onion", "alt", "arpa"),
})
_MAIL: Final = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")


class AddressError(ValueError):
    """An address that is never requested; the message is the reason."""


def asked_url(url: str) -> str:
    """Return the address to request: no fragment, no ``?source=`` (robots.txt forbids it).

    Raises `AddressError` when it is no http or https address, or holds user name or password.
    """
    scheme, host, port = _place(url)
    rest = urlsplit(url.strip())
    place = host if port == _USUAL_PORTS[scheme] else f"{host}:{port}"
    whole = f"{scheme}://{place}{rest.path or '/'}" + (f"?{rest.query}" if rest.query else "")
    return url_query_cleaner(safe_url_string(whole), ["source"], remove=True, unique=False)


def kind_of(url: str) -> Kind:
    """Return whether an address is of a list, a feed or an article; may raise `AddressError`."""
    path = urlsplit(asked_url(url)).path
    if _LIST.search(path):
        return "list"
    return "feed" if _FEED.search(path) else "article"


def list_id(url: str) -> str | None:
    """Return the hexadecimal digits that end a list's address; a default list has none."""
    match = _LIST_ID.search(urlsplit(url).path)
    return match[1].lower() if match else None


def origin(url: str) -> str:
    """Return scheme, host and port of an address that :func:`asked_url` returned."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def site(url: str) -> str:
    """Return the name under which a server's delay and refusals are kept: one for medium.com."""
    _, host, port = _place(url)
    if host == _MEDIUM or host.endswith(f".{_MEDIUM}"):
        return _MEDIUM
    return host if port in _USUAL_PORTS.values() else f"{host}:{port}"


def is_private(host: str) -> bool:
    """Return whether a name or IP address is outside the public network."""
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return "." not in host or host.rpartition(".")[2] in _OWN_NETWORK
    wrapped = getattr(address, "ipv4_mapped", None)
    if wrapped is not None:
        return is_private(str(wrapped))
    return not address.is_global or address.is_multicast or address.is_reserved


def check_contact(text: str) -> None:
    """Raise `NonRetryableError` unless a contact is one web or mail address, fit for a header."""
    # Parentheses would end the comment of the user agent.
    is_page = re.fullmatch(r"https?://[!-'*-?A-~]+", text) is not None
    if not (is_mail(text) or is_page):
        msg = (
            f"The contact {redact(text)!r} is neither a mail address nor an http or https URL; "
            "set harvest_contact to one where a host's owner can reach you."
        )
        raise NonRetryableError(msg)


def is_mail(text: str) -> bool:
    """Return whether a contact is a mail address."""
    return _MAIL.fullmatch(text) is not None


def _place(url: str) -> tuple[str, str, int]:
    """Return scheme, host in lower case, and port."""
    url = url.strip()
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url) or "\\" in url:
        raise AddressError("it holds spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = (parts.hostname or "").removesuffix(".")
        host = host if host.isascii() else host.encode("idna").decode("ascii")
    except ValueError as error:
        # Its message may repeat a password.
        raise AddressError("it is no URL") from error
    if parts.scheme not in _USUAL_PORTS or not host:
        raise AddressError("it is no http or https address")
    if "@" in parts.netloc:
        raise AddressError("it holds a user name or a password")
    if ":" in host:
        host = f"[{host}]"
    return parts.scheme, host, port or _USUAL_PORTS[parts.scheme]
