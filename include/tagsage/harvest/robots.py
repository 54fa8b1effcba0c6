"""robots.txt: what its owner lets us ask for, and how often (RFC 9309)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from protego import Protego

AGENT: Final = "tagsage"
# Rules are read as far as the RFC asks of everybody (2.5: at least 500 kibibytes).
MAX_BYTES: Final = 512 * 1024
# Nobody means longer between two requests; a number may be too large for a float, too.
LONGEST_DELAY_S: Final = 24 * 3600


@dataclass(frozen=True)
class Rules:
    """The rules of a robots.txt for our agent.

    Attributes
    ----------
    parsed : Protego
        All of it.
    crawl_delay_s : float
        Seconds between two requests that it asks for, a day at most; 0 when it does not say.
    """

    parsed: Protego
    crawl_delay_s: float

    def allow(self, url: str) -> bool:
        """Tell whether an address may be asked for; robots.txt itself always may (RFC, 2.2.2)."""
        return bool(self.parsed.can_fetch(url, AGENT))


def text_of(body: bytes) -> str:
    """Return the text of a robots.txt, as far as it is read."""
    return body[:MAX_BYTES].decode("utf-8-sig", errors="replace").replace("\0", "")


def read(text: str) -> Rules:
    """Read rules; whatever is no rule is passed over, so any text will do.

    ``Crawl-delay`` and ``Request-rate`` are no part of the RFC but honoured: the longer one holds.
    """
    parsed = Protego.parse(text)
    waits = [0.0]
    delay = parsed.crawl_delay(AGENT)
    if delay is not None:
        waits.append(float(delay))
    rate = parsed.request_rate(AGENT)
    if rate is not None and rate.requests > 0:
        waits.append(min(rate.seconds, LONGEST_DELAY_S * rate.requests) / rate.requests)
    return Rules(parsed, min(max(waits), LONGEST_DELAY_S))
