-- What is known of a session from its hooks and its client: kept, since a daemon that comes back must know it at once.
-- hooked: whether its hooks report. endpoint: where its client takes a nudge. heard: when it gave its last sign.
-- branch, prompt, files: what it does; the first line of its last prompt, the files it touched last, one a line.

ALTER TABLE peers ADD COLUMN hooked INTEGER NOT NULL DEFAULT 0;
ALTER TABLE peers ADD COLUMN endpoint TEXT NOT NULL DEFAULT '';
ALTER TABLE peers ADD COLUMN heard REAL;
ALTER TABLE peers ADD COLUMN branch TEXT NOT NULL DEFAULT '';
ALTER TABLE peers ADD COLUMN prompt TEXT NOT NULL DEFAULT '';
ALTER TABLE peers ADD COLUMN files TEXT NOT NULL DEFAULT '';
