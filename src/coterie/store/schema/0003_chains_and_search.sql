-- Where a message comes from: the message whose text made its sender write (cause), and the peers that passed it on
-- (path: their ids, the first sender first, one blank between two). prompted: when a session's user last spoke to it.
-- messages_text is the search index. It is filled when somebody searches, as filling it would double what a send
-- costs; `indexed` has the number of the last message in it.
-- seal, mark: checksums of what a row says (coterie.store.seals); what was there before is sealed with this step.

ALTER TABLE messages ADD COLUMN cause TEXT;
ALTER TABLE messages ADD COLUMN path TEXT NOT NULL DEFAULT '';
CREATE INDEX messages_cause ON messages(cause) WHERE cause IS NOT NULL;
-- What the guards ask of two peers that write to each other for the first time in a while, without reading a row.
CREATE INDEX messages_pair ON messages(sender, recipient, seq);
CREATE INDEX messages_of_person ON messages(recipient, seq) WHERE sender_kind = 'person';

ALTER TABLE peers ADD COLUMN prompted REAL;

ALTER TABLE messages ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE messages ADD COLUMN mark INTEGER NOT NULL DEFAULT 0;
ALTER TABLE offers ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;
ALTER TABLE peers ADD COLUMN seal INTEGER NOT NULL DEFAULT 0;

CREATE VIRTUAL TABLE messages_text USING fts5(
    text, content = 'messages', content_rowid = 'seq', tokenize = 'unicode61 remove_diacritics 2'
);
CREATE TABLE indexed (upto INTEGER NOT NULL) STRICT;
INSERT INTO indexed VALUES (0);
CREATE TRIGGER messages_text_forgets AFTER DELETE ON messages WHEN old.seq <= (SELECT upto FROM indexed)
BEGIN
    INSERT INTO messages_text(messages_text, rowid, text) VALUES ('delete', old.seq, old.text);
    -- SQLite gives the numbers of the last rows out again once these are gone.
    UPDATE indexed SET upto = min(upto, (SELECT coalesce(max(seq), 0) FROM messages));
END;
