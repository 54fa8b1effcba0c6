"""Queries of GraphQL, read: fields, aliases, arguments, variables and inline fragments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

JsonObject = dict[str, Any]
_TOKEN = re.compile(r'\s*(?:(?P<end>$)|(?P<token>\.\.\.|[{}()\[\]:,$!=]|"[^"\\\n]*"|-?\d+|\w+))')


class GraphqlError(ValueError):
    """The request is not valid; the message says why."""


@dataclass
class Field:
    """A field that is asked for, or a fragment (`on`) with fields of its own."""

    name: str
    alias: str = ""
    on: str = ""
    arguments: JsonObject = field(default_factory=dict)
    fields: list[Field] = field(default_factory=list)


def parse_query(text: str, variables: object) -> Field:
    """Read a query and put its variables in.

    Returns
    -------
    Field
        Its fields are those of the operation.

    Raises
    ------
    GraphqlError
        When it is no query, or its variables do not fit.
    """
    return _Parser(text, variables).document()


class _Parser:
    """Recursive descent over the tokens of one query."""

    def __init__(self, text: str, variables: object) -> None:
        if not isinstance(variables, dict):
            raise GraphqlError("variables is not an object.")
        self._tokens = list(_tokens(text))
        self._at = 0
        self._given = variables
        self._declared: set[str] = set()
        self._used: set[str] = set()

    def document(self) -> Field:
        if self._peek() == "query":
            self._next()
            if self._peek() not in {"(", "{"}:
                self._name()
            if self._peek() == "(":
                self._declarations()
        root = Field("query", fields=self._fields())
        if self._peek():
            raise GraphqlError(f"Unexpected {self._peek()!r} after the operation.")
        if unused := (self._declared - self._used) | (self._given.keys() - self._declared):
            raise GraphqlError(f"Variables never used or declared: {', '.join(sorted(unused))}.")
        return root

    def _declarations(self) -> None:
        self._expect("(")
        while self._peek() != ")":
            self._expect("$")
            name = self._name()
            self._expect(":")
            self._name()
            is_needed = self._peek() == "!"
            if is_needed:
                self._next()
            if is_needed and self._given.get(name) is None:
                raise GraphqlError(f"Variable ${name} is needed.")
            self._declared.add(name)
            self._skip_comma()
        self._expect(")")

    def _fields(self) -> list[Field]:
        self._expect("{")
        fields = []
        while self._peek() != "}":
            fields.append(self._field())
            self._skip_comma()
        self._expect("}")
        return fields

    def _field(self) -> Field:
        if self._peek() == "...":
            self._next()
            self._expect("on")
            return Field("", on=self._name(), fields=self._fields())
        name, alias = self._name(), ""
        if self._peek() == ":":
            self._next()
            name, alias = self._name(), name
        found = Field(name, alias)
        if self._peek() == "(":
            self._next()
            while self._peek() != ")":
                argument = self._name()
                self._expect(":")
                found.arguments[argument] = self._value()
                self._skip_comma()
            self._expect(")")
        if self._peek() == "{":
            found.fields = self._fields()
        return found

    def _value(self) -> object:
        word = self._next()
        if word == "$":
            name = self._name()
            if name not in self._declared:
                raise GraphqlError(f"Variable ${name} is not declared.")
            self._used.add(name)
            return self._given.get(name)
        if word == "{":
            members: JsonObject = {}
            while self._peek() != "}":
                name = self._name()
                self._expect(":")
                members[name] = self._value()
                self._skip_comma()
            self._expect("}")
            return members
        if word.startswith('"'):
            return word[1:-1]
        if word.lstrip("-").isdecimal():
            return int(word)
        words = {"true": True, "false": False, "null": None}
        if word not in words:
            raise GraphqlError(f"Unexpected {word!r}.")
        return words[word]

    def _name(self) -> str:
        token = self._next()
        if not re.fullmatch(r"[A-Za-z_]\w*", token):
            raise GraphqlError(f"Unexpected {token!r} instead of a name.")
        return token

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _next(self) -> str:
        token = self._peek()
        if not token:
            raise GraphqlError("The query ends too early.")
        self._at += 1
        return token

    def _expect(self, wanted: str) -> None:
        token = self._next()
        if token != wanted:
            raise GraphqlError(f"Unexpected {token!r} instead of {wanted!r}.")

    def _skip_comma(self) -> None:
        if self._peek() == ",":
            self._next()


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while True:
        match = _TOKEN.match(text, at)
        if match is None:
            raise GraphqlError(f"Unexpected {text[at : at + 10]!r}.")
        if match["token"] is None:
            return
        yield match["token"]
        at = match.end()
