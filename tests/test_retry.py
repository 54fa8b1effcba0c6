import pytest

from tagsage.retry import retry, retry_after


def test_call_is_tried_again_only_after_what_may_pass():
    outcomes = iter([OSError("busy"), OSError("busy"), "done"])

    def call():
        outcome = next(outcomes)
        if isinstance(outcome, OSError):
            raise outcome
        return outcome

    def may_pass(error):
        return isinstance(error, OSError)

    assert retry(call, when=may_pass, first_s=0) == "done"
    outcomes = iter([OSError("one"), OSError("two"), "done"])
    with pytest.raises(OSError, match="two"):
        retry(call, when=may_pass, attempts=2, first_s=0)
    outcomes = iter([OSError("other"), "done"])
    with pytest.raises(OSError, match="other"):
        retry(call, when=lambda error: False, first_s=0)


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
