from __future__ import annotations

import pytest

from tagsage.http_dates import seconds_until


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Thu, 01 Jan 1970 00:01:00 GMT", 50.0),
        ("Thu, 01 Jan 1970 00:01:00", 50.0),
        ("Thu, 01 Jan 1970 01:01:00 +0100", 50.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        ("", None),
        ("tomorrow", None),
        ("Thu, 31 Feb 1970 00:01:00 GMT", None),
        ("Thu, 01 Jan 1970 00:01:00 +99999999999999", None),
        ("Thu, 01 Jan 99999999999999999999 00:01:00 GMT", None),
    ],
)
def test_seconds_until_a_date_are_told_whatever_a_server_calls_a_date(date, seconds):
    assert seconds_until(date, 10.0) == seconds
