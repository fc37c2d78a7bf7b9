-- Where a run's samples come from, and which were refused, replaced or left out, by reason. Counts are of the whole run, what
-- went before an interruption included; the newest that are recorded stand in place of those before.

CREATE TABLE run_source (
  run_id   INTEGER NOT NULL,
  position INTEGER NOT NULL,                -- in data.train, from 0
  role     TEXT NOT NULL,                   -- data.train, or data.train.NAME where there are several
  name     TEXT NOT NULL,                   -- '' of a source that is alone
  digest   TEXT NOT NULL,
  samples  INTEGER NOT NULL,                -- that it has
  weight   REAL NOT NULL,                   -- 0: it has a quota, or counts by its size
  quota    INTEGER NOT NULL,                -- samples of each batch; 0: it has a weight
  seen     INTEGER NOT NULL DEFAULT 0,      -- samples that were trained on
  replaced INTEGER NOT NULL DEFAULT 0,      -- samples that could not be read, in whose place others were trained on
  PRIMARY KEY (run_id, position)
) WITHOUT ROWID;

CREATE TABLE run_skip (
  run_id INTEGER NOT NULL,
  role   TEXT NOT NULL,                     -- data.train, data.train.NAME, eval.NAME
  stage  TEXT NOT NULL,                     -- refused (when the data was opened), replaced (while training), left_out (of an evaluation)
  reason TEXT NOT NULL,                     -- truncated picture, no caption, …
  n      INTEGER NOT NULL,
  first  TEXT NOT NULL,                     -- where the first one is and what is wrong with it
  PRIMARY KEY (run_id, role, stage, reason)
) WITHOUT ROWID;

CREATE VIEW v_sources AS
SELECT r.key AS run_id, e.name AS experiment, r.variant, r.seed, s.position, s.role, s.name AS source,
  (SELECT p.name FROM run_plugin p WHERE p.run_id = s.run_id AND p.role = s.role) AS plugin,
  s.samples, s.weight, s.quota, s.seen, 1.0 * s.seen / s.samples AS epochs, s.replaced, s.digest
FROM run_source s JOIN run r ON r.id = s.run_id JOIN experiment e ON e.id = r.experiment_id;

CREATE VIEW v_skips AS
SELECT r.key AS run_id, e.name AS experiment, r.variant, r.seed, s.role, s.stage, s.reason, s.n, s.first
FROM run_skip s JOIN run r ON r.id = s.run_id JOIN experiment e ON e.id = r.experiment_id;
