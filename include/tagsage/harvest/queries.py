"""The questions that the frontier asks its database.

Parameters: ``now``; ``pages``, whether pages of lists and articles may be asked for; ``fresh``,
the moment since which robots.txt must have been read.
"""

from __future__ import annotations

from typing import Final

# A target without redirects is where an earlier fetch was led: what is known is of that address.
_KNOWN: Final = "CASE WHEN redirects > 0 OR target IS NULL THEN"
COLUMNS: Final = (
    "id, kind, host, CASE WHEN redirects > 0 THEN coalesce(target, url) ELSE url END, list_key, "
    "cursor, round, article_key, attempts, redirects, "
    f"{_KNOWN} etag END, {_KNOWN} last_modified END"
)
ONE: Final = f"SELECT {COLUMNS} FROM requests WHERE id = ?"  # ruff: ignore[hardcoded-sql-expression]
AT: Final = (
    f"SELECT {COLUMNS} FROM requests "  # ruff: ignore[hardcoded-sql-expression]
    "WHERE host = ? AND state = 'waiting' AND kind != 'robots' ORDER BY id"
)

# By priority, as the index has it: robots.txt is 0, feeds are 10, pages come after.
_WANTED: Final = (
    "r.state = 'waiting' AND r.priority BETWEEN 1 AND CASE WHEN :pages THEN 99 ELSE 10 END"
)
_FRESH: Final = "h.robots_at IS NOT NULL AND h.robots_at > :fresh"

_OPEN: Final = "h.closed_until <= :now AND s.closed_until <= :now"

# Hosts that have something to be asked but whose rules are not known, nor asked for by now.
WITHOUT_RULES: Final = f"""
SELECT h.host FROM hosts h JOIN servers s USING (server)
WHERE {_OPEN} AND NOT ({_FRESH})
  AND EXISTS (SELECT 1 FROM requests r WHERE r.host = h.host AND {_WANTED})
  AND NOT EXISTS (SELECT 1 FROM requests r
                  WHERE r.host = h.host AND r.state = 'waiting' AND r.kind = 'robots')
  AND NOT EXISTS (SELECT 1 FROM requests r WHERE r.host = h.host AND r.state = 'sent')
"""  # ruff: ignore[hardcoded-sql-expression]

# The best request of every open host: what is due in the order of priorities, else what is next.
BEST: Final = f"""
SELECT {COLUMNS}, max(due, next_at) AS moment FROM (
  SELECT s.next_at, CASE WHEN {_FRESH} THEN coalesce(
      (SELECT r.id FROM requests r WHERE r.host = h.host AND {_WANTED} AND r.due <= :now
       ORDER BY r.priority, r.attempts, r.id LIMIT 1),
      (SELECT r.id FROM requests r WHERE r.host = h.host AND {_WANTED}
       ORDER BY r.due, r.priority, r.attempts, r.id LIMIT 1))
    ELSE (SELECT r.id FROM requests r
          WHERE r.host = h.host AND r.state = 'waiting' AND r.kind = 'robots'
            AND EXISTS (SELECT 1 FROM requests r WHERE r.host = h.host AND {_WANTED}))
    END AS best
  FROM hosts h JOIN servers s USING (server) WHERE {_OPEN})
JOIN requests ON id = best ORDER BY moment, priority, id
"""  # ruff: ignore[hardcoded-sql-expression]

# Servers at which a request is under way.
BUSY: Final = (
    "SELECT DISTINCT h.server FROM requests r JOIN hosts h USING (host) WHERE r.state = 'sent'"
)

CLOSED: Final = f"""
SELECT h.host, CASE WHEN s.closed_until > :now THEN s.closed_why ELSE h.closed_why END
FROM hosts h JOIN servers s USING (server)
WHERE NOT ({_OPEN})
  AND EXISTS (SELECT 1 FROM requests r WHERE r.host = h.host AND {_WANTED})
ORDER BY h.host
"""  # ruff: ignore[hardcoded-sql-expression]

LEFT: Final = f"""
SELECT count(*) FROM requests r
WHERE ({_WANTED}) OR (r.state = 'sent' AND r.kind != 'robots')
"""  # ruff: ignore[hardcoded-sql-expression]
