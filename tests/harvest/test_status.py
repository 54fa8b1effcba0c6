from __future__ import annotations

from tagsage.harvest import frontier
from tagsage.harvest.database import HarvestDatabase
from tagsage.harvest.status import ailing, status


def test_hosts_without_a_usable_answer_are_told_with_the_reason_until_they_are_well(tmp_path):
    why = "The host answered 503."
    with HarvestDatabase(tmp_path) as db:
        for name in ("medium.com", "pub.example"):
            frontier.add(db, "feed", f"https://{name}/feed/tag/x", now=0.0)
        db.execute("UPDATE requests SET due = 50, reason = ? WHERE url LIKE '%medium%'", (why,))
        db.execute("UPDATE servers SET failures = 2, next_at = 60 WHERE server = 'medium.com'")
        assert ailing(db) == [("https://medium.com", 60.0, why)]
        assert status(db, now=10.0).ailing == [("https://medium.com", 60.0, why)]
        # A host that is left alone is told of once.
        db.execute("UPDATE servers SET closed_until = 900, closed_why = 'so' WHERE failures > 0")
        told = status(db, now=10.0)
        assert (told.closed, told.ailing) == ([("https://medium.com", 900.0, "so")], [])
        db.execute("UPDATE servers SET failures = 0, closed_until = 0")
        assert ailing(db) == []
