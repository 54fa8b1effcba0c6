"""The words of the generated Medium, and texts that are more than words."""

from __future__ import annotations

# Titles that are more than letters; on one line they must come out as they are.
HOSTILE_TITLES = (
    "</script><script>alert('title')</script>",
    '<img src=x onerror="alert(1)"> & <b>bold</b> &amp; &lt;',
    "Line one\nline two\r\n\tline three",
    '=HYPERLINK("http://example.org","click")',
    "+1+cmd|' /C calc'!A0",
    "@SUM(1,2); -2+3",
    'He said "no", she said ""yes""',
    "Комментарий, 日本語, emoji 👩‍👩‍👧‍👦🏳️‍🌈 and é (e + accent)",
    "שלום עולם \u202eolleh\u202c مرحبا",
    "'; DROP TABLE articles; --",
    "{{ 7*7 }} ${7*7} <%= 7*7 %>",
    "\\u003cscript\\u003e is not decoded twice, \\n is no newline",
    "]]> <!-- comment --> <![CDATA[ cdata ]]>",
    "comma, semicolon; tab\tpipe| back\\slash",
    "A title with line\u2028separator and paragraph\u2029separator",
)
HOSTILE_NAMES = (
    "Ann <ann@example.org> O'Neil",
    'Bo "The Bot" Chen',
    "=cmd|' /C calc'!A0",
    "Zoë 🦊 Ünïcode",
    "</script>",
)
HOSTILE_TAGS = ('"quoted", with comma', "C++ & <C#>", "日本語", "=1+1", "[1, 2]")

TOPICS = {
    "Machine Learning": "gradient model training neural loss batch tensor feature label network",
    "Data Science": "data table column statistic chart sample variance pandas insight metric",
    "Web Development": "browser page style component render router server request cookie form",
    "Databases": "query index transaction table join lock replica shard schema cursor",
    "Cooking": "butter oven recipe onion garlic simmer dough flavour salt kitchen",
    "Travel": "train island passport mountain hotel border ferry market sunrise luggage",
    "Health": "sleep muscle doctor breath diet habit walk stress heart vitamin",
    "Startups": "founder investor product customer growth pitch revenue market team runway",
    "Politics": "vote party law court treaty minister reform campaign budget debate",
    "Writing": "sentence editor draft chapter reader story verb novel plot voice",
    "Music": "guitar chord rhythm album concert melody drum singer tempo record",
    "Space": "orbit rocket planet lunar telescope galaxy probe crater solar launch",
}
_PLAIN = """
why how what the a my our this that never always when better simple small great first last lessons
notes guide story thoughts things people years days learned building using making finding
understanding about without beyond inside after before on in of for with from to
"""
_FIRST = "Ann Bo Cem Dora Emil Fatou Gil Hana Ivo Jun Kofi Lea Mats Nia Omar Pia"
_LAST = "Abe Berg Chen Diaz Eze Faro Gupta Haas Ito Jung Khan Lind Mora Novak Okafor"
PLAIN_WORDS = tuple(_PLAIN.split())
FIRST_NAMES = tuple(_FIRST.split())
LAST_NAMES = tuple(_LAST.split())
