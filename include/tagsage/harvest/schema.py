"""The tables of a harvest: what is to be fetched, what was read, what came as it came."""

from __future__ import annotations

VERSION = 1

# Times are seconds since 1970, UTC. `host` is an origin: scheme, name, and port unless usual.
TABLES = """
CREATE TABLE hosts (
    host TEXT PRIMARY KEY,
    server TEXT NOT NULL,                    -- what it is a name of
    asked INTEGER NOT NULL DEFAULT 0,        -- 1: a user named it
    robots_at REAL,                          -- when robots.txt was last answered for
    robots_text TEXT,                        -- its rules; NULL: it could not be had
    closed_until REAL NOT NULL DEFAULT 0,    -- left alone until then, under this name only
    closed_why TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

-- What is remembered of a server holds for all its names.
CREATE TABLE servers (
    server TEXT PRIMARY KEY,
    next_at REAL NOT NULL DEFAULT 0,         -- no request before this moment
    refusals INTEGER NOT NULL DEFAULT 0,     -- requests refused in a row
    failures INTEGER NOT NULL DEFAULT 0,     -- requests without a usable answer in a row
    closed_until REAL NOT NULL DEFAULT 0,    -- left alone until then
    closed_why TEXT NOT NULL DEFAULT ''
) WITHOUT ROWID;

CREATE TABLE requests (
    id INTEGER PRIMARY KEY,
    fingerprint BLOB NOT NULL UNIQUE,
    kind TEXT NOT NULL CHECK (kind IN ('robots', 'list', 'graphql', 'article', 'feed')),
    host TEXT NOT NULL,
    url TEXT NOT NULL,
    target TEXT,                             -- where a redirect led; `host` is then its host
    list_key TEXT,                           -- list, graphql: the list's id
    cursor TEXT,                             -- graphql: which part of it
    round INTEGER NOT NULL DEFAULT 0,        -- list, graphql: which reading of the list
    article_key TEXT,                        -- article: whose page, where known
    priority INTEGER NOT NULL,               -- smaller ones first
    state TEXT NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'sent', 'done', 'gone', 'refused', 'failed', 'unreadable')),
    due REAL NOT NULL DEFAULT 0,             -- waiting: not before
    attempts INTEGER NOT NULL DEFAULT 0,     -- since it last began to wait for a fetch
    redirects INTEGER NOT NULL DEFAULT 0,    -- hops that led here
    etag TEXT,
    last_modified TEXT,
    status INTEGER,                          -- of the last answer
    reason TEXT NOT NULL DEFAULT '',
    added_at REAL NOT NULL,
    ended_at REAL
);
CREATE INDEX requests_waiting ON requests (host, priority, attempts, id) WHERE state = 'waiting';
CREATE INDEX requests_sent ON requests (host) WHERE state = 'sent';
CREATE INDEX requests_ended ON requests (kind, ended_at);
CREATE INDEX requests_of_list ON requests (list_key, round) WHERE list_key IS NOT NULL;
CREATE INDEX requests_of_article ON requests (article_key) WHERE article_key IS NOT NULL;

CREATE TABLE lists (
    key TEXT PRIMARY KEY,                    -- the list's id
    url TEXT NOT NULL,
    name TEXT,
    owner TEXT,
    size INTEGER,                            -- by the host's count
    deleted INTEGER NOT NULL DEFAULT 0,      -- entries whose post is gone, at the last reading
    state TEXT NOT NULL DEFAULT 'new'
        CHECK (state IN ('new', 'open', 'incomplete', 'private', 'gone')),
    reason TEXT NOT NULL DEFAULT '',         -- why it is incomplete, private or gone
    round INTEGER NOT NULL DEFAULT 0,        -- the reading under way, or the last
    settled INTEGER NOT NULL DEFAULT -1,     -- the last reading that came to its end
    read_at REAL                             -- when it did
) WITHOUT ROWID;

-- Parts of the reading under way, and the entries in them; these become the list's when no part is
-- asked for any more.
CREATE TABLE list_parts (
    list_key TEXT NOT NULL,
    round INTEGER NOT NULL,
    cursor TEXT NOT NULL,                    -- empty: the list's own page
    next_cursor TEXT,                        -- NULL: the last part
    size INTEGER,                            -- of the list, as this part tells
    damaged INTEGER NOT NULL,                -- entries that cannot be read
    PRIMARY KEY (list_key, round, cursor)
) WITHOUT ROWID;

CREATE TABLE list_entries (
    list_key TEXT NOT NULL,
    round INTEGER NOT NULL,
    item_id TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('post', 'deleted', 'other')),
    article_key TEXT,
    PRIMARY KEY (list_key, round, item_id)
) WITHOUT ROWID;
CREATE INDEX list_entries_of_article ON list_entries (article_key) WHERE article_key IS NOT NULL;

CREATE TABLE memberships (
    list_key TEXT NOT NULL,
    article_key TEXT NOT NULL,
    item_id TEXT NOT NULL,                   -- the entry, by which a deleted post is recognised
    PRIMARY KEY (list_key, article_key)
) WITHOUT ROWID;
CREATE INDEX memberships_of_article ON memberships (article_key);

CREATE TABLE articles (
    key TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    title TEXT,
    subtitle TEXT,
    author TEXT,
    published_ms INTEGER,
    tags TEXT,                               -- JSON list; NULL: not known
    sources TEXT NOT NULL DEFAULT '{}',      -- JSON: where each field, and the URL, was read
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'gone')),
    seen_at REAL NOT NULL,                   -- when it was first heard of
    read_at REAL                             -- when its own page was read
) WITHOUT ROWID;

-- Addresses without a post's id whose article has one, or is kept under another address.
CREATE TABLE aliases (
    alias TEXT PRIMARY KEY,
    article_key TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX aliases_of_article ON aliases (article_key);

CREATE TABLE pages (
    id INTEGER PRIMARY KEY,
    request_id INTEGER NOT NULL,
    fetched_at REAL NOT NULL,
    round INTEGER NOT NULL,                  -- the request's, which later rounds overwrite
    url TEXT NOT NULL,                       -- where it was, after redirects
    charset TEXT NOT NULL,
    body BLOB NOT NULL,                      -- zlib
    UNIQUE (request_id, fetched_at)
);
CREATE INDEX pages_by_age ON pages (fetched_at);

-- What is wrong by now; a page that is read well takes its problems away.
CREATE TABLE problems (
    id INTEGER PRIMARY KEY,
    run_id INTEGER NOT NULL,
    at REAL NOT NULL,
    url TEXT NOT NULL,
    kind TEXT NOT NULL,                      -- as in the quarantine: rejected, repaired
    reason TEXT NOT NULL,
    content TEXT NOT NULL,                   -- its first 500 characters
    UNIQUE (url, reason)
);
CREATE INDEX problems_of_run ON problems (run_id);

CREATE TABLE runs (
    id INTEGER PRIMARY KEY,
    started_at REAL NOT NULL,
    ended_at REAL,                           -- NULL: under way, or killed
    outcome TEXT NOT NULL DEFAULT '',
    requests INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
);

-- What the corpus is by now, and what was last announced of it.
CREATE TABLE revision (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    current INTEGER NOT NULL,
    announced INTEGER NOT NULL
);
INSERT INTO revision VALUES (1, 0, 0);
"""
