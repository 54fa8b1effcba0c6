"""Keys: which addresses are of the same article."""

from __future__ import annotations

import re
from typing import NamedTuple

# Possessive quantifiers (*+): what cannot match fails at once, and the common case is fast.
_URL = re.compile(
    r"""
    (?: (?P<scheme>[Hh][Tt][Tt][Pp][Ss]?):// | (?![A-Za-z][A-Za-z0-9+.-]*+://) )
    (?: [^\s\x00-\x1f\x7f/?\#@]*+ @ )?              # credentials are no part of an address
    (?P<host> [^\s\x00-\x1f\x7f/?\#@:\[\]\\]++ | \[ [0-9A-Fa-f:.]++ \] )
    (?: : (?P<port>[0-9]{0,5}) )?
    (?P<path> / [^\s\x00-\x1f\x7f?\#]*+ )?
    (?: [?\#] .* )?
    """,
    re.VERBOSE | re.DOTALL,
)
_LETTER_OR_DIGIT = re.compile(r"[^\W_]")
_BARE_POST_ID = re.compile(r"[0-9a-f]{8,12}")
_POST_ID = re.compile(r"(?P<before>/p/|[-/])(?P<id>[0-9a-f]{8,12})$")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_TIMESTAMP = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])[0-5]\d")
_DEFAULT_PORTS = frozenset({"", "80", "443"})


class Address(NamedTuple):
    """An article's address; `scheme` is empty when the text had none."""

    key: str  # the same for every address of one article
    url: str  # for people: without query and credentials
    scheme: str


def parse_address(text: str) -> Address | None:
    """Parse an http or https URL, or a key; None when the text is neither."""
    text = text.strip()
    if len(text) <= 12 and _BARE_POST_ID.fullmatch(text):
        return Address(text, f"https://medium.com/p/{text}", "")
    match = _URL.fullmatch(text)
    if match is None:
        return None
    scheme, host, port, path = match.groups("")
    scheme, host = scheme.lower(), host.lower()
    if not (host[0].isalnum() or _LETTER_OR_DIGIT.search(host)):
        return None
    # The scheme is no part of the key, so neither are the schemes' default ports.
    place = host if port in _DEFAULT_PORTS else f"{host}:{port}"
    bare_path = path.rstrip("/")
    key = _post_id(host, bare_path) or place + bare_path
    return Address(key, f"{scheme or 'https'}://{place}{path}", scheme)


def article_key(url: str) -> str:
    """Return the key under which an article is kept, from any of its addresses, or from the key.

    The key of a Medium post is its id, the 8 to 12 hexadecimal digits that end its path, on a
    publication's own domain too: ``https://medium.com/@ann/on-graphs-1a2b3c4d5e6f?source=rss`` has
    ``1a2b3c4d5e6f``. The key of anything else is the host in lower case and the path, without
    trailing slash and the ports 80 and 443. Raises `ValueError` when the text is no address.
    """
    address = parse_address(url)
    if address is None:
        raise ValueError(f"{url[:200]!r} is not an http or https URL")
    return address.key


def _post_id(host: str, path: str) -> str | None:
    """Return the Medium post id that ends a path, if there is one.

    Any host may be a publication's own domain, so elsewhere than on medium.com the digits alone
    decide; the path endings of other sites must not merge different articles.
    """
    match = _POST_ID.search(path, max(0, len(path) - 15))
    if match is None:
        return None
    found = match["id"]
    if host == "medium.com" or host.endswith(".medium.com"):
        return found
    if found.isdecimal():
        # A date (20210131), a time (202101311230) or a running number. Of real ids of 11 or 12
        # digits, which nearly all are, one in 200 has no letter; shorter ones are rarer still.
        is_slug_or_post_page = match["before"] in {"-", "/p/"}
        if len(found) < 11 or not is_slug_or_post_page or _TIMESTAMP.fullmatch(found):
            return None
    elif found.isalpha():
        return None  # a word, such as "fabaceae"
    if _UUID.search(path):
        return None
    return found
