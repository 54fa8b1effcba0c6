"""The tags: how well each is learned, and which articles it was assigned to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Row, and_, func, select

from tagsage.app.search import PAGE_SIZE, Hit, hits_of
from tagsage.store.tables import ARTICLE_TAGS, ARTICLES, PREDICTIONS, TAGS

TAGS_PER_PAGE = 50
BEST_KNOWN = 5
NEARLY = 5
# Nobody turns beyond so many pages, and skipping rows takes time.
LAST_PAGE = 500

Order = Literal["name", "f1", "articles", "assigned"]
Kind = Literal["learned", "all"]

_ORDERS: dict[Order, Any] = {
    "name": func.lower(TAGS.c.name),
    "f1": TAGS.c.f1.desc().nulls_last(),
    "articles": TAGS.c.n_articles.desc(),
    "assigned": TAGS.c.n_assigned.desc(),
}


@dataclass(frozen=True)
class TagPage:
    """A page of tags (rows of TAGS), how many there are in all, and on how many pages.

    A tag's scores are those of the run's best candidate on the test articles, of which `support`
    have the tag, and `predicted` were assigned it.
    """

    tags: Sequence[Row[Any]]
    total: int
    pages: int


@dataclass(frozen=True)
class Tag:
    """What the page of a tag shows; `nearly` has the best-scored articles not assigned the tag."""

    line: Row[Any]
    assigned: Sequence[Hit]
    nearly: Sequence[Hit]
    known: Sequence[Hit]
    pages: int

    @property
    def reachable(self) -> int:
        """How many articles the pages hold at most."""
        return self.pages * PAGE_SIZE


def list_tags(
    connection: Connection,
    *,
    part: str = "",
    kind: Kind = "learned",
    order: Order = "assigned",
    page: int = 1,
) -> TagPage:
    """List the tags that contain `part`, in either case: those that are learned, or all."""
    where = [func.lower(TAGS.c.name).contains(part.strip().lower(), autoescape=True)]
    if kind == "learned":
        where.append(TAGS.c.is_target)
    total = connection.execute(select(func.count()).select_from(TAGS).where(*where)).scalar_one()
    lines = connection.execute(
        select(TAGS)
        .where(*where)
        .order_by(_ORDERS[order], TAGS.c.name)
        .limit(TAGS_PER_PAGE)
        .offset(TAGS_PER_PAGE * (page - 1))
    ).all()
    return TagPage(lines, total, -(-total // TAGS_PER_PAGE))


def find_tag(connection: Connection, name: str, *, page: int = 1) -> Tag | None:
    """Return a tag and its articles; None when there is none of this name."""
    line = connection.execute(select(TAGS).where(TAGS.c.name == name)).one_or_none()
    if line is None:
        return None
    return Tag(
        line=line,
        assigned=_predicted(
            connection, line.id, assigned=1, limit=PAGE_SIZE, offset=PAGE_SIZE * (page - 1)
        ),
        nearly=_predicted(connection, line.id, assigned=0, limit=NEARLY) if page == 1 else (),
        known=_known(connection, line.id) if page == 1 else (),
        pages=min(-(-line.n_assigned // PAGE_SIZE), LAST_PAGE),
    )


def _predicted(
    connection: Connection, tag: int, *, assigned: int, limit: int, offset: int = 0
) -> list[Hit]:
    columns = PREDICTIONS.c
    rows = connection.execute(
        select(columns.article_id, columns.score, columns.threshold)
        .where(columns.tag_id == tag, columns.assigned == assigned)
        .order_by(columns.score.desc(), columns.article_id.desc())
        .limit(limit)
        .offset(offset)
    )
    scores = {article: (score, threshold) for article, score, threshold in rows}
    return hits_of(connection, list(scores), scores)


def _known(connection: Connection, tag: int) -> list[Hit]:
    with_tag = and_(ARTICLE_TAGS.c.article_id == ARTICLES.c.id, ARTICLE_TAGS.c.tag_id == tag)
    rows = connection.execute(
        select(ARTICLES.c.id)
        .join(ARTICLE_TAGS, with_tag)
        .order_by(ARTICLES.c.n_lists.desc(), ARTICLES.c.id)
        .limit(BEST_KNOWN)
    ).scalars()
    return hits_of(connection, list(rows))
