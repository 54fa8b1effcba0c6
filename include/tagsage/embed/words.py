"""What counts as a word of a text, also in languages that are written without blanks."""

from __future__ import annotations

import re

# Thai and Lao, Myanmar, Khmer, kana (without the middle dot), Han.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\uff66-\uff9f"
    "\u3005\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
# A run of these is a clause, not a word. One to three characters are about a word.
LONGEST = 3
_RUN = re.compile(f"[{UNSPACED}]+")
_LETTER = rf"[^\W{UNSPACED}]"
_WORD = re.compile(f"{_LETTER}+")


def words_of(text: str, *, shortest: int = 1) -> list[str]:
    """Return the words of a text, in lower case, each as often as it stands there.

    A run of characters of a script without blanks gives every part of one to three characters.
    `shortest` is the least length of other words.
    """
    text = text.lower()
    words = [word for word in _WORD.findall(text) if len(word) >= shortest]
    for run in _RUN.findall(text):
        for length in range(1, LONGEST + 1):
            words += [run[start : start + length] for start in range(len(run) - length + 1)]
    return words


def without_word(text: str, word: str) -> str:
    """Return a text with a blank wherever a word of :func:`words_of` stood."""
    if _RUN.match(word):
        return text.replace(word, " ")
    return _WORD.sub(lambda found: " " if found[0].lower() == word else found[0], text)
