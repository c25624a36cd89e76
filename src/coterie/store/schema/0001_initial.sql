-- Peers, their sessions, messages and offers. Times are seconds since the epoch, for display and expiry.
-- States and words are those of coterie.peers and coterie.messages.

CREATE TABLE peers (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    named       INTEGER NOT NULL DEFAULT 0,
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL,
    role        TEXT NOT NULL DEFAULT '',
    cwd         TEXT NOT NULL DEFAULT '',
    repo        TEXT NOT NULL DEFAULT '',
    summary     TEXT NOT NULL DEFAULT '',
    summary_at  REAL,
    one_shot    INTEGER NOT NULL DEFAULT 0,
    agent_pid   INTEGER,
    agent_start TEXT,
    adapter_pid INTEGER,
    adapter_start TEXT,
    recall_due  INTEGER NOT NULL DEFAULT 0,
    since       REAL NOT NULL,
    seen        REAL NOT NULL
) STRICT;

-- A peer has many host session ids over its life; the newest has the highest rowid.
CREATE TABLE sessions (
    seq     INTEGER PRIMARY KEY,
    session TEXT NOT NULL,
    kind    TEXT NOT NULL,
    peer    TEXT NOT NULL REFERENCES peers(id) ON DELETE CASCADE,
    UNIQUE (kind, session)
) STRICT;
CREATE INDEX sessions_of_peer ON sessions(peer);

CREATE TABLE messages (
    seq         INTEGER PRIMARY KEY,
    id          TEXT NOT NULL UNIQUE,
    sender      TEXT NOT NULL,
    sender_name TEXT NOT NULL,
    sender_kind TEXT NOT NULL,
    recipient   TEXT NOT NULL,
    thread      TEXT NOT NULL,
    reply_to    TEXT,
    text        TEXT NOT NULL,
    state       TEXT NOT NULL,
    reason      TEXT NOT NULL DEFAULT '',
    told        TEXT NOT NULL DEFAULT 'queued', -- the state that its sender was told last
    accepted_at REAL NOT NULL,
    changed_at  REAL NOT NULL,
    expires_at  REAL NOT NULL
) STRICT;
CREATE INDEX messages_unread ON messages(recipient, seq) WHERE state IN ('queued', 'offered');
CREATE INDEX messages_expiring ON messages(expires_at) WHERE state IN ('queued', 'offered');
CREATE INDEX messages_thread ON messages(thread, seq);
CREATE INDEX messages_sender ON messages(sender, seq);
CREATE INDEX messages_recipient ON messages(recipient, seq);

CREATE TABLE offers (
    message   TEXT NOT NULL REFERENCES messages(id) ON DELETE CASCADE,
    number    INTEGER NOT NULL,
    carrier   TEXT NOT NULL,
    call      TEXT NOT NULL,
    step      INTEGER NOT NULL,
    written   INTEGER NOT NULL,
    stops     INTEGER NOT NULL DEFAULT 0,
    outcome   TEXT NOT NULL,
    reason    TEXT NOT NULL DEFAULT '',
    opened_at REAL NOT NULL,
    closed_at REAL,
    PRIMARY KEY (message, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX offers_open ON offers(message) WHERE outcome = 'open';
