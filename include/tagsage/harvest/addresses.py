"""Addresses: what kind of page one is, whose machine it means, and whether it may be asked."""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Final, Literal
from urllib.parse import quote, urlsplit

from tagsage.errors import NonRetryableError

Kind = Literal["robots", "list", "graphql", "article", "feed"]

_USUAL_PORTS: Final = {"http": 80, "https": 443}
_LIST: Final = re.compile(r"/list/(?:[^/]*-)?(?P<id>[0-9a-fA-F]{8,16})/?$")
# Medium's own, such as the reading list of everybody: only the page tells the id.
_NAMED_LIST: Final = re.compile(r"^/(?:@[^/]+/)?list/[^/]+/?$")
# Not any .xml: what is no feed by its name needs consent.
_FEED: Final = re.compile(
    r"^/feed(?:/|$)|/(?:feed|rss)/?$|\.rss$|/(?:index|[^/]*(?:feed|rss|atom)[^/]*)\.xml$"
)
_LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "[::1]")
_MEDIUM: Final = "medium.com"
# Names that public DNS never answers for (RFC 6761, 6762, 8375, 9476, ICANN 2024).
_OWN_NETWORK: Final = frozenset({
    *("localhost", "local", "internal", "intranet", "lan", "home", "corp", "private"),
    *("test", "invalid", "onion", "alt", "arpa"),
})
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_MAIL: Final = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_START: Final = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:(?=[/\\]))?[/\\]*")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9~._-]")


class AddressError(ValueError):
    """An address that is never asked; the message is the reason."""


def split(url: str) -> tuple[str, str, int | None, str, str]:
    """Return scheme, name, port (None: the usual one), path and query of a web address.

    The name is in lower case, without a final dot, in the form DNS knows (IDNA), IPv6 in brackets,
    and an IPv4 address in four decimal numbers whatever form it came in (``0x7f.1`` is 127.0.0.1).

    Raises
    ------
    AddressError
        When it is no http or https address, holds a user or a password, or cannot be read.
    """
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url) or "\\" in url:
        raise AddressError("it holds spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        # Its message may repeat a password.
        raise AddressError("it is no URL") from error
    scheme = parts.scheme.lower()
    if scheme not in _USUAL_PORTS:
        raise AddressError("it is no http or https address")
    if "@" in parts.netloc:
        raise AddressError("it holds a user name or a password")
    if port == 0:
        raise AddressError("it has the port 0")
    name = _name(parts.hostname or "")
    return scheme, name, None if port == _USUAL_PORTS[scheme] else port, parts.path, parts.query


def origin(url: str) -> str:
    """Return scheme, name, and port unless usual: ``https://medium.com``.

    Raises
    ------
    AddressError
        When `url` is no http or https address.
    """
    scheme, name, port, _, _ = split(url)
    return f"{scheme}://{name}" if port is None else f"{scheme}://{name}:{port}"


def canonical(url: str) -> str:
    """Return an address in one form: two of the same form are asked for once.

    Without fragment; scheme and name in lower case; escapes in capitals, and only where needed;
    without dot segments (RFC 3986, 5.2.4) and empty ones at the beginning of the path, so that
    rules for ``/media`` hold for ``/x/../media`` and ``//media``. The query stays as it is: hosts
    may read anything into it.

    Raises
    ------
    AddressError
        When `url` is no http or https address.
    """
    path, query = split(url)[3:]
    # A percent sign stays: what is escaped already must not be escaped twice.
    kept = quote(_without_dots(_tidy(path)), safe="/%:@!$&'()*+,;=~-._")
    asked = quote(_tidy(query), safe="/%:@!$&'()*+,;=~-._?[]")
    return origin(url) + kept + (f"?{asked}" if asked else "")


def redacted(url: str) -> str:
    """Return what a user gave as an address, without the user name and password in it.

    Examples
    --------
    >>> redacted("https://ann:secret@medium.com/@ann")
    'https://***@medium.com/@ann'
    """
    start = _START.match(url)
    head = start[0] if start else ""
    rest = url[len(head) :]
    place = re.split(r"[/?#\\]", rest, maxsplit=1)[0]
    password = re.search(r":(?![0-9]*$)", place)
    if not password and "@" not in place:
        return url
    # In a password anything is possible, also what ends the name of a host elsewhere.
    ends = [at.end() for at in re.finditer(r"(?<!/)@", rest if password else place)]
    return f"{head}***@{rest[ends[-1] :]}" if ends else url


def siblings(host: str) -> tuple[str, ...]:
    """Return the origins that mean the same server as `host`, itself first.

    http and https of one name (both at their usual ports), and the names of this machine.
    """
    scheme, name, port, _, _ = split(host)
    names = _LOOPBACK_NAMES if name in _LOOPBACK_NAMES else (name,)
    found = [host]
    end = "" if port is None else f":{port}"
    for other in ("https", "http") if port is None else (scheme,):
        found.extend(f"{other}://{each}{end}" for each in names)
    return tuple(dict.fromkeys(found))


def server(host: str) -> str:
    """Return one name for all origins that wait, and are left alone, together with `host`.

    Those of :func:`siblings`; and all of Medium's: every author there can have a name of his own
    below medium.com, but the server behind them is one, and a thousand authors are not to be a
    thousand times the load.

    Examples
    --------
    >>> server("https://ann.medium.com"), server("http://[::1]:8080")
    ('medium.com', 'localhost:8080')
    """
    _, name, port, _, _ = split(host)
    if f".{name}".endswith(f".{_MEDIUM}"):
        return _MEDIUM
    name = _LOOPBACK_NAMES[0] if name in _LOOPBACK_NAMES else name
    return name if port is None else f"{name}:{port}"


def kind_of(url: str) -> Kind:
    """Tell what a web address means: a list, a feed, or else an article.

    Raises
    ------
    AddressError
        When it is no http or https address.

    Examples
    --------
    >>> kind_of("https://medium.com/@a/list/nlp-0123456789ab"), kind_of("https://medium.com/feed/@a")
    ('list', 'feed')
    """
    url = canonical(url)
    path = split(url)[3]
    if list_id(url) is not None or _NAMED_LIST.search(path):
        return "list"
    return "feed" if _FEED.search(path) else "article"


def list_id(url: str) -> str | None:
    """Return the hexadecimal digits that end a list's address; None when there are none."""
    match = _LIST.search(split(url)[3])
    return match["id"].lower() if match else None


def is_private(name: str) -> bool:
    """Tell whether a name is an address that is not of the public network.

    Loopback, private, link-local, reserved, multicast and the like; also where IPv6 wraps an IPv4
    address (mapped, 6to4, NAT64, Teredo). Names that DNS keeps for one's own network count too.

    Parameters
    ----------
    name : str
        A name or an IP address as :func:`split` returns it, or a bare IPv6 address.
    """
    try:
        address = ipaddress.ip_address(name.strip("[]").partition("%")[0])
    except ValueError:
        last = name.rpartition(".")[2]
        return "." not in name or last in _OWN_NETWORK
    return not _is_public(address)


def _is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
        if address in _NAT64:
            wrapped.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        if any(each is not None and not _is_public(each) for each in wrapped):
            return False
        if address.ipv4_mapped is not None:
            return True
    return address.is_global and not address.is_multicast and not address.is_reserved


def check_contact(text: str) -> None:
    """Check that a contact is one address of a page or of a mailbox, fit for a header.

    Raises
    ------
    NonRetryableError
        When it is not.
    """
    if not (is_mail(text) or _is_page(text)):
        msg = (
            f"The contact {text!r} is neither a mail address nor an http or https URL; "
            "set harvest_contact to one where a host's owner can reach you."
        )
        raise NonRetryableError(msg)


def _is_page(text: str) -> bool:
    # Parentheses would end the comment of the user agent; anything but ASCII is no header.
    if not re.fullmatch(r"[!-'*-~]+", text):
        return False
    try:
        split(text)
    except AddressError:
        return False
    return True


def is_mail(text: str) -> bool:
    """Tell whether a contact is the address of a mailbox."""
    return _MAIL.fullmatch(text) is not None


def _tidy(text: str) -> str:
    """Write escapes in one way (RFC 3986, 6.2.2)."""

    def one(match: re.Match[str]) -> str:
        character = chr(int(match[0][1:], 16))
        return character if _UNRESERVED.fullmatch(character) else match[0].upper()

    return _ESCAPE.sub(one, text)


def _without_dots(path: str) -> str:
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != "." and (segment or kept):
            kept.append(segment)
    # What ends in a dot segment is a folder.
    end = "/" if kept and segments[-1] in {".", ".."} and kept[-1] else ""
    return "/" + "/".join(kept) + end


def _name(name: str) -> str:
    name = name.lower().removesuffix(".")
    if ":" in name:
        try:
            return f"[{ipaddress.IPv6Address(name)}]"
        except ValueError as error:
            raise AddressError("its host is no IPv6 address") from error
    if not name.isascii():
        try:
            name = name.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise AddressError("its host is no name") from error
    if not re.fullmatch(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*", name) or len(name) > 253:
        raise AddressError("its host is no name")
    if not _NUMBER.fullmatch(name.rpartition(".")[2]):
        return name
    try:
        # The forms that C libraries take: one to four numbers, decimal, octal, hexadecimal.
        return socket.inet_ntoa(socket.inet_aton(name))
    except OSError as error:
        raise AddressError("its host is no name") from error


def charset_of(content_type: str) -> str:
    """Return the charset of a Content-Type header, in lower case; empty when it names none."""
    match = re.search(r"charset\s*=\s*\"?([A-Za-z0-9_.:-]{1,40})", content_type, re.I)
    return match[1].lower() if match else ""
