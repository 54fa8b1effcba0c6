"""What a user asks for: the addresses a harvest begins with, and the hosts it may be led to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tagsage.corpus.keys import article_key
from tagsage.errors import NonRetryableError
from tagsage.harvest import frontier, hosts
from tagsage.harvest.addresses import (
    AddressError,
    check_contact,
    is_private,
    kind_of,
    list_id,
    origin,
    redacted,
    split,
)
from tagsage.harvest.config import HarvestConfig
from tagsage.harvest.manners import LEAST_GAP_S

if TYPE_CHECKING:
    from tagsage.harvest.database import HarvestDatabase


def check(seeds: Sequence[str], asked_hosts: Iterable[str], config: HarvestConfig) -> None:
    """Check that a harvest may begin.

    Raises
    ------
    NonRetryableError
        When there is no contact, or none that fits into a header; when pages are asked for without
        consent; when hosts of others would be asked too often; when no seed is a web address.
    """
    if not config.contact.strip():
        msg = (
            "A harvest tells every host whom to ask, and no contact is set; "
            "give a mail address or the URL of a page (--contact, harvest_contact)."
        )
        raise NonRetryableError(msg)
    check_contact(config.contact)
    good = [seed for seed in seeds if not reason_against(seed)]
    if seeds and not good:
        # Not the seed itself: it may be a line of a file that is no file of seeds.
        msg = f"No seed can be harvested; the first: {reason_against(seeds[0])}; give http(s) URLs."
        raise NonRetryableError(msg)
    pages = [seed for seed in good if kind_of(seed) != "feed"]
    if pages and not config.consent:
        msg = (
            f"Pages are among the seeds ({len(pages):,}): fetching lists and articles needs your "
            "consent (--consent, harvest_consent), feeds need none."
        )
        raise NonRetryableError(msg)
    hosts = [*(origin(seed) for seed in good), *origins(asked_hosts)]
    is_public = any(not is_private(split(host)[1]) for host in hosts)
    if is_public and config.delay_s < LEAST_GAP_S:
        msg = (
            f"A delay of {config.delay_s:g} s is too short; "
            f"hosts of others are asked {LEAST_GAP_S:g} s apart at least."
        )
        raise NonRetryableError(msg)


def reason_against(seed: str) -> str:
    """Return why a seed cannot be harvested; empty when it can."""
    try:
        kind_of(seed)
    except AddressError as error:
        return str(error)
    return ""


def origins(hosts: Iterable[str]) -> list[str]:
    """Return the origins that names of hosts mean: with http and https where they do not say.

    Raises
    ------
    NonRetryableError
        When one is no host.
    """
    found = []
    for host in hosts:
        try:
            if "://" in host:
                found.append(origin(host))
            else:
                found.extend(origin(f"{scheme}://{host}") for scheme in ("https", "http"))
        except AddressError as error:
            raise NonRetryableError(f"{redacted(host)!r} is no host: {error}; name one.") from error
    return found


def plant(
    db: HarvestDatabase, seeds: Iterable[str], asked_hosts: Iterable[str], now: float
) -> dict[str, str]:
    """Put seeds into the frontier, those that are not known yet.

    Returns
    -------
    dict of str to str
        Seeds set aside, without passwords, and why.
    """
    bad: dict[str, str] = {}
    with db.transaction():
        for host in origins(asked_hosts):
            hosts.ask(db, host)
        for seed in seeds:
            if why := reason_against(seed):
                bad[redacted(seed)] = why
                continue
            kind = kind_of(seed)
            frontier.add(
                db,
                kind,
                seed,
                now=now,
                list_key=list_id(seed) if kind == "list" else None,
                article_key=article_key(seed) if kind == "article" else None,
                asked=True,
            )
    return bad
