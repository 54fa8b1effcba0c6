"""The tables of the catalogue, and what a reader can rely on.

Nothing heavy is imported here: the pages read with it in Airflow's API server.
"""

from __future__ import annotations

CATALOGUE_FILE = "catalogue.db"
# "tags" and the version of the tables; a reader refuses any other.
APPLICATION_ID = 0x74616773
VERSION = 2

# Ids are given by how many lists hold an article, the most first: a scan in the order of ids shows
# the best known first, and may stop early.
TABLES = """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE articles (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        url TEXT NOT NULL,
        title TEXT NOT NULL,
        subtitle TEXT NOT NULL,
        author TEXT NOT NULL,
        date TEXT NOT NULL,
        is_stub INTEGER NOT NULL,
        n_tags INTEGER NOT NULL,
        n_lists INTEGER NOT NULL
    );
    CREATE TABLE tags (
        id INTEGER PRIMARY KEY,
        tag TEXT NOT NULL,
        is_target INTEGER NOT NULL,
        n_articles INTEGER NOT NULL DEFAULT 0,
        n_assigned INTEGER NOT NULL DEFAULT 0,
        f1 REAL, precision REAL, recall REAL, average_precision REAL,
        support INTEGER, predicted INTEGER
    );
    CREATE TABLE article_tags (
        article_id INTEGER, position INTEGER, tag_id INTEGER NOT NULL,
        PRIMARY KEY (article_id, position)
    ) WITHOUT ROWID;
    CREATE TABLE predictions (
        article_id INTEGER, position INTEGER, tag_id INTEGER NOT NULL,
        score REAL NOT NULL, assigned INTEGER NOT NULL, threshold REAL NOT NULL,
        PRIMARY KEY (article_id, position)
    ) WITHOUT ROWID;
    CREATE TABLE lists (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL,
        tagged INTEGER NOT NULL DEFAULT 0
    );
    CREATE TABLE memberships (
        article_id INTEGER, list_id INTEGER, PRIMARY KEY (article_id, list_id)
    ) WITHOUT ROWID;
    CREATE TABLE list_tags (
        list_id INTEGER, tag_id INTEGER, articles INTEGER NOT NULL, PRIMARY KEY (list_id, tag_id)
    ) WITHOUT ROWID;
    CREATE TABLE explanations (
        article_id INTEGER, tag_id INTEGER, score REAL, score_without_graph REAL,
        lists TEXT NOT NULL, articles TEXT NOT NULL, texts TEXT NOT NULL, words TEXT NOT NULL,
        terms TEXT NOT NULL,
        PRIMARY KEY (article_id, tag_id)
    ) WITHOUT ROWID;
    CREATE VIRTUAL TABLE search USING fts5(
        title, subtitle, author, tags,
        content = '', prefix = '2 3', tokenize = "unicode61 remove_diacritics 2"
    );
"""

# Made when the rows are there: one sort each.
INDEXES = """
    CREATE UNIQUE INDEX articles_key ON articles (key);
    CREATE UNIQUE INDEX tags_tag ON tags (tag);
    CREATE INDEX article_tags_tag ON article_tags (tag_id, article_id);
    CREATE INDEX predictions_tag ON predictions (tag_id, assigned, score, article_id);
    CREATE INDEX memberships_list ON memberships (list_id, article_id);
"""

# How many articles of a list have tags at all, and each of the tags that are learned.
LIST_COUNTS = """
    UPDATE lists SET tagged = (
        SELECT count(*) FROM memberships m JOIN articles a ON a.id = m.article_id
        WHERE m.list_id = lists.id AND a.n_tags > 0
    );
    INSERT INTO list_tags
    SELECT m.list_id, t.tag_id, count(*)
    FROM memberships m
    JOIN article_tags t ON t.article_id = m.article_id
    JOIN tags ON tags.id = t.tag_id AND tags.is_target
    GROUP BY m.list_id, t.tag_id;
"""

TAG_COUNTS = """
    UPDATE tags SET
        n_articles = (SELECT count(*) FROM article_tags t WHERE t.tag_id = tags.id),
        n_assigned = (
            SELECT count(*) FROM predictions p WHERE p.tag_id = tags.id AND p.assigned = 1
        );
"""

# An article is found by the tags that it has, and by those that were assigned to it.
SEARCH_ROWS = """
    INSERT INTO search (rowid, title, subtitle, author, tags)
    SELECT a.id, a.title, a.subtitle, a.author, (
        SELECT group_concat(tags.tag, ' ') FROM tags WHERE tags.id IN (
            SELECT t.tag_id FROM article_tags t WHERE t.article_id = a.id
            UNION
            SELECT p.tag_id FROM predictions p WHERE p.article_id = a.id AND p.assigned = 1
        )
    )
    FROM articles a WHERE NOT a.is_stub;
    INSERT INTO search (search) VALUES ('optimize');
"""
