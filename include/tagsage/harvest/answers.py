"""What comes of a request, and what is to be done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tagsage.harvest.hosts import Host

Action = Literal["take", "unchanged", "gone", "redirect", "rules", "again", "refused", "failed"]


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    Attributes
    ----------
    status : int or None
        None: no answer, or not all of it; then `failure` says why.
    headers : mapping of str to str
        Names in lower case.
    body : bytes
        Decompressed.
    failure : str
        A reason, when there is no whole answer.
    is_final : bool
        Whether another attempt would fail in the same way (a page too large, a private address).
    is_private : bool
        Whether nothing was sent, as the host's name belongs to a private address.
    """

    status: int | None
    headers: Mapping[str, str]
    body: bytes = b""
    failure: str = ""
    is_final: bool = False
    is_private: bool = False


@dataclass(frozen=True)
class Verdict:
    """What is to be done about an answer.

    Attributes
    ----------
    action : Action
        take: read the page. unchanged: what is here still holds. gone: there is no such page.
        redirect: ask at `target`. rules: `host` holds them. again: try once more, not before
        `due`. refused: never ask for it. failed: attempts are used up.
    reason : str
        Of an action other than take, rules and unchanged.
    host : Host
        The host as it is to be remembered.
    next_at : float
        The host is asked nothing before this moment.
    due : float
        again: nor is this asked for before this one.
    target : str
        redirect: where to.
    is_counted : bool
        again: whether this attempt counts.
    is_forgiving : bool
        Whether the host's last refusals (:data:`REFUSALS`) turned out to be about us, so that the
        pages refused wait again.
    """

    action: Action
    reason: str
    host: Host
    next_at: float
    due: float = 0.0
    target: str = ""
    is_counted: bool = True
    is_forgiving: bool = False
