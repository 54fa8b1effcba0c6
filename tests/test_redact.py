import pytest

from tagsage.redact import redact


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://ann:se/cret@medium.com/ann", "https://***@medium.com/ann"),
        ("https://medium.com/@ann", "https://medium.com/@ann"),
        ("Authorization: Bearer abc.def", "Authorization: *** ***"),
        ('{"client_secret": "hush", "x": 1}', '{"client_secret": ***, "x": 1}'),
        ("wrong key: sk-abc*****xyz9.", "wrong key: ***."),
        ("token=a b", "token=*** b"),
    ],
)
def test_what_looks_like_a_secret_is_hidden(text, expected):
    assert redact(text) == expected


def test_known_secrets_are_hidden_longest_first():
    assert redact("hush-hush and hush", ["hush", "hush-hush", ""]) == "*** and ***"
