-- Other devices, their sessions, and what goes to them and comes from them.
-- devices: grants and addresses are lists with one blank between two. The keys that pairings left are in files.
-- neighbours: sessions of other devices, as those showed them last; `there` is the id that a session has on its device.
-- outbox: the messages to other devices, in the words of coterie.store.outbox. One that waits is sent again and again
-- until the device of its recipient has confirmed that it is stored there; what becomes of it then is that one's word.
-- received: the envelopes that came, also after their messages are gone, so that none is taken in twice, and the message
-- that each is here. told: the state that its origin has confirmed to know.
-- requests: what a device asked for and was not granted (`incoming`), and what was asked of one.

CREATE TABLE devices (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    certificate BLOB NOT NULL,
    standing    TEXT NOT NULL,
    grants      TEXT NOT NULL DEFAULT '',
    addresses   TEXT NOT NULL DEFAULT '',
    dial        INTEGER NOT NULL DEFAULT 0,
    paired_at   REAL NOT NULL,
    seen_at     REAL,
    theirs      TEXT,                       -- what it granted us, as it said last
    forgot_us   INTEGER NOT NULL DEFAULT 0,
    seal        INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE neighbours (
    id          TEXT PRIMARY KEY,
    device      TEXT NOT NULL REFERENCES devices(id),
    there       TEXT NOT NULL,
    name        TEXT NOT NULL,
    kind        TEXT NOT NULL,
    state       TEXT NOT NULL,
    role        TEXT NOT NULL DEFAULT '',
    repo        TEXT NOT NULL DEFAULT '',
    summary     TEXT NOT NULL DEFAULT '',
    seen        REAL NOT NULL,
    UNIQUE (device, there)
) STRICT;

CREATE TABLE outbox (
    seq     INTEGER PRIMARY KEY,
    message TEXT NOT NULL UNIQUE REFERENCES messages(id) ON DELETE CASCADE,
    device  TEXT NOT NULL REFERENCES devices(id),
    there   TEXT NOT NULL, -- the recipient, as its device names it
    size    INTEGER NOT NULL,
    state   TEXT NOT NULL DEFAULT 'waits'
) STRICT;
CREATE INDEX outbox_waiting ON outbox(device, seq) WHERE state = 'waits';

CREATE TABLE received (
    device   TEXT NOT NULL REFERENCES devices(id),
    envelope TEXT NOT NULL,
    message  TEXT NOT NULL,
    at       REAL NOT NULL,
    told     TEXT NOT NULL DEFAULT 'queued',
    PRIMARY KEY (device, envelope)
) STRICT, WITHOUT ROWID;
CREATE INDEX received_message ON received(message);

CREATE TABLE requests (
    id        TEXT PRIMARY KEY,
    device    TEXT NOT NULL REFERENCES devices(id),
    incoming  INTEGER NOT NULL,
    wanted    TEXT NOT NULL,
    reason    TEXT NOT NULL DEFAULT '',
    message   TEXT,
    state     TEXT NOT NULL DEFAULT 'held',
    told      INTEGER NOT NULL DEFAULT 0,
    at        REAL NOT NULL
) STRICT;
