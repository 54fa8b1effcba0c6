import pytest

from tagsage.retry import retry_after


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120.0),
        ("0", 0.0),
        ("Thu, 01 Jan 1970 00:01:00 GMT", 30.0),
        ("Thu, 01 Jan 1970 00:00:10", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("9" * 40, None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_servers_wishes(header, seconds):
    assert retry_after(header, 30.0) == seconds
