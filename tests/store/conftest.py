"""Small corpora for the stores, written as a user would: two CSV files."""

import csv
import json
import random

import pytest

from tagsage.corpus.csv_source import read_csv_corpus


@pytest.fixture
def write_corpus(tmp_path):
    """Write articles (key -> title, tags) and memberships (list, key); return the two paths."""

    def write(articles, memberships, name="corpus"):
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        paths = folder / "articles.csv", folder / "lists.csv"
        with paths[0].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["story", "title", "subtitle", "date", "author", "tags"])
            for key, (title, tags) in articles.items():
                story = f"https://a.example/{key}"
                writer.writerow([story, title, "", "2020-01-02", "Ann", json.dumps(tags)])
        with paths[1].open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["list", "article"])
            writer.writerows([name, f"https://a.example/{key}"] for name, key in memberships)
        return [str(path) for path in paths]

    return write


@pytest.fixture
def make_corpus(write_corpus):
    def make(articles, memberships=(), name="corpus"):
        return read_csv_corpus(*write_corpus(articles, memberships, name), max_rejected_share=0)

    return make


@pytest.fixture
def some_articles():
    """Return `n` articles and their memberships, the same for the same seed."""

    def some(n, seed=0):
        chance = random.Random(seed)
        names = chance.sample(range(10 * n), n)
        articles = {
            f"{number:x}": (f"Title {chance.random()}", [f"t{chance.randrange(5)}"])
            for number in names
        }
        members = [
            (f"l{chance.randrange(n // 3)}", chance.choice([*articles])) for _ in range(3 * n)
        ]
        return articles, members

    return some
