"""One request, one answer: Scrapy's downloader with everything off that would act on its own.

Only this module and :mod:`tagsage.harvest.crawl` import Scrapy and Twisted; they run in the crawl's
own process.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.request import getproxies

from scrapy import Request
from scrapy.core.downloader.handlers.http11 import (
    HTTP11DownloadHandler,
    _LenientHTTP11ClientFactory,
    _LenientHTTP11ClientProtocol,
)
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)
from twisted.internet._resolver import GAIResolver
from twisted.web._newclient import HEADER, STATUS

from tagsage.harvest.addresses import canonical, is_private, origin, split
from tagsage.harvest.answers import Answer
from tagsage.harvest.config import MEGABYTE, HarvestConfig
from tagsage.harvest.manners import PRIVATE

if TYPE_CHECKING:
    from scrapy.crawler import Crawler
    from scrapy.http import Response

# Browsers stop at 256 kibibytes as well.
MAX_HEAD_BYTES: Final = 256 * 1024


class _Protocol(_LenientHTTP11ClientProtocol):
    """Hangs up on a host that sends headers without an end; their lines alone are limited."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self._head = 0

    def dataReceived(self, data: bytes) -> None:  # ruff: ignore[invalid-function-name]
        if self._parser is not None and self._parser.state in {STATUS, HEADER}:
            self._head += len(data)
            if self._head > MAX_HEAD_BYTES and self.transport is not None:
                self.transport.abortConnection()
                return
        super().dataReceived(data)  # type: ignore[no-untyped-call]


class _Factory(_LenientHTTP11ClientFactory):
    def buildProtocol(self, addr: Any) -> _Protocol:  # ruff: ignore[invalid-function-name, unused-method-argument]
        return _Protocol(self._quiescentCallback)


class Handler(HTTP11DownloadHandler):
    """Scrapy's handler with a connection a request, and a limit for headers.

    Twisted sends a request again, on its own and at once, when a kept connection turns out to be
    closed. Nothing may be asked behind the frontier's back, and with seconds between two requests
    there is little to keep.
    """

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._pool.persistent = False
        self._pool.retryAutomatically = False
        self._pool._factory = _Factory


def scrapy_settings(config: HarvestConfig) -> dict[str, Any]:
    """Return Scrapy's settings: its downloader, decompression and proxies; nothing else is on.

    Redirects, retries, robots.txt, cookies, pacing and duplicates are the frontier's and the
    manners', which keep them over restarts.
    """
    handler = "tagsage.harvest.downloader.Handler"
    middlewares = "scrapy.downloadermiddlewares"
    return {
        "DOWNLOAD_HANDLERS_BASE": {"http": handler, "https": handler},
        "DOWNLOADER_MIDDLEWARES_BASE": {
            f"{middlewares}.httpcompression.HttpCompressionMiddleware": 590,
            f"{middlewares}.httpproxy.HttpProxyMiddleware": 750,
        },
        "SPIDER_MIDDLEWARES_BASE": {},
        "EXTENSIONS_BASE": {},
        "TELNETCONSOLE_ENABLED": False,
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
        "STATS_DUMP": False,
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_MAXSIZE": config.max_page_mb * MEGABYTE,
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_TIMEOUT": config.timeout_s,
        "DOWNLOAD_FAIL_ON_DATALOSS": True,
        # Off in Scrapy: then anybody on the way could be the host.
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
    }


class Gate:
    """Keeps connections to private addresses out, whatever names they hide behind.

    A public name may resolve to a private address, and to another one each time. So the check is
    where the connection is made: the resolver returns no private address for a name and port that
    may not have one.

    Parameters
    ----------
    asked : callable
        Tells whether a name and a port may have a private address: :func:`is_let_in`.

    Attributes
    ----------
    turned_away : set of str
        Names that had nothing but private addresses when they were last resolved.
    """

    def __init__(self, asked: Callable[[str, int], bool]) -> None:
        self._asked = asked
        # The way out that the environment names is the user's choice, wherever it is.
        self._proxies = frozenset(_proxy_names())
        self.turned_away: set[str] = set()

    def install(self) -> None:
        """Resolve all names of this process through the gate."""
        from twisted.internet import reactor

        reactor.installNameResolver(GAIResolver(reactor, getaddrinfo=self.resolve))

    def resolve(
        self,
        host: Any,
        port: Any,
        family: int = 0,
        type: int = 0,  # ruff: ignore[builtin-argument-shadowing]
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        """Resolve a name as ``socket.getaddrinfo`` does, without private addresses."""
        name = str(host)
        self.turned_away.discard(name)
        found: list[Any] = socket.getaddrinfo(host, port, family, type, proto, flags)
        if name in self._proxies or self._asked(name, int(port)):
            return found
        public = [each for each in found if not is_private(str(each[4][0]))]
        if found and not public:
            self.turned_away.add(name)
        return public


def is_let_in(name: str, port: int, asked: Callable[[str], bool]) -> bool:
    """Tell whether the server at a name and a port may have a private address.

    It may when the user asked for it at that port, with http or https: a name on the network of a
    company often looks like any other.

    Parameters
    ----------
    name, port
        To which a connection is to be made.
    asked : callable
        Tells whether the user asked for an origin.
    """
    shown = f"[{name}]" if ":" in name else name
    return any(asked(origin(f"{scheme}://{shown}:{port}")) for scheme in ("http", "https"))


def _proxy_names() -> list[str]:
    names = []
    for kind, url in getproxies().items():
        if kind in {"http", "https", "all"}:
            try:
                names.append(split(url if "://" in url else f"http://{url}")[1])
            except ValueError:
                names.append(url.rpartition("@")[2].partition(":")[0])
    return names


async def fetch(
    crawler: Crawler,
    gate: Gate,
    config: HarvestConfig,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
) -> Answer:
    """Send a request and return what comes of it; nothing that a host answers raises.

    Parameters
    ----------
    crawler : scrapy.crawler.Crawler
        Its engine is running.
    gate : Gate
        Tells why a name could not be resolved.
    config : HarvestConfig
        Limits.
    url, headers
        Of the request.
    body : bytes or None
        Sent with POST; None: GET.
    """
    name = split(url)[1]
    request = Request(
        canonical(url),
        method="GET" if body is None else "POST",
        headers=dict(headers),
        body=body or b"",
        dont_filter=True,
        meta={
            "download_timeout": config.timeout_s,
            "dont_redirect": True,
            "handle_httpstatus_all": True,
        },
    )
    if is_private(name):
        # What is near is not reached by way of what is far.
        request.meta["proxy"] = None
    engine = crawler.engine
    if engine is None:
        raise RuntimeError("the crawler has no engine; fetch is for running ones")
    try:
        response = await engine.download_async(request)
    except DownloadTimeoutError:
        return _failed(f"No whole answer came within {config.timeout_s:g} s.")
    except CannotResolveHostError:
        if name in gate.turned_away:
            return Answer(None, {}, failure=PRIVATE, is_final=True, is_private=True)
        return _failed("The host's name cannot be resolved.")
    except DownloadConnectionRefusedError:
        return _failed("The host refuses the connection.")
    except (DownloadCancelledError, IgnoreRequest):
        return _failed(f"The page is larger than {config.max_page_mb} MB.", final=True)
    except ResponseDataLossError:
        return _failed("The answer was cut off.")
    # What else hostile answers make the libraries raise is a failed attempt, not the end of all.
    except Exception as error:  # ruff: ignore[blind-except]
        return _failed(f"The connection failed ({type(error).__name__}).")
    return Answer(response.status, _headers(response), response.body)


def _failed(reason: str, *, final: bool = False) -> Answer:
    return Answer(None, {}, failure=reason, is_final=final)


def _headers(response: Response) -> dict[str, str]:
    """Return headers by names in lower case, repeated ones joined as RFC 9110, 5.3 has it."""
    return {
        name.decode("latin-1").lower(): ", ".join(
            value.decode("latin-1") for value in response.headers.getlist(name)
        )
        for name in response.headers
    }
