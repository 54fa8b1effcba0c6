"""How answers look that are no page but a test whether we are human."""

from __future__ import annotations

import re
from typing import Final

from tagsage.harvest.answers import Answer

# Headers by which protection services mark an answer that is a challenge and not the page.
_CHALLENGE_HEADERS: Final = {
    "cf-mitigated": ("challenge",),
    "x-vercel-mitigated": ("challenge", "deny"),
    "x-amzn-waf-action": ("challenge", "captcha"),
}
# What challenge pages consist of. Looked for only in refusals: articles may speak of such things.
_CHALLENGE_MARKS: Final = (
    *(b"_cf_chl_opt", b"/cdn-cgi/challenge-platform/", b"cf-challenge"),
    *(b"attention required! | cloudflare", b"just a moment...", b"challenges.cloudflare.com"),
    *(b"captcha-delivery.com", b"px-captcha", b"_incapsula_resource", b"g-recaptcha"),
    *(b"h-captcha", b"awswaf.com", b"ddos-guard", b"sucuri_cloudproxy"),
)
# A challenge that says 200: told by its title, and by having nothing of a page of Medium's.
_CHALLENGE_TITLE: Final = re.compile(
    rb"<title>\s*(?:just a moment\.\.\.|attention required! \| cloudflare|ddos-guard)\s*</title>",
    re.I,
)
_LOOKED_AT: Final = 64 * 1024


def is_challenge(answer: Answer) -> bool:
    """Tell whether an answer is no page but a test whether we are human: we are not."""
    for name, values in _CHALLENGE_HEADERS.items():
        if answer.headers.get(name, "").strip().lower() in values:
            return True
    start = answer.body[:_LOOKED_AT]
    if answer.status in {401, 403, 405, 429, 503}:
        lower = start.lower()
        return any(mark in lower for mark in _CHALLENGE_MARKS)
    return (
        answer.status is not None
        and 200 <= answer.status < 300
        and _CHALLENGE_TITLE.search(start) is not None
        and b"__APOLLO_STATE__" not in answer.body
    )
