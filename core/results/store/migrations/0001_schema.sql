-- Tables of the results database. Times are milliseconds since 1970 UTC; the views show ISO 8601.
-- A REAL that is NULL where a number was recorded is NaN: SQLite has no NaN. Infinities are stored.

CREATE TABLE experiment (
  id          INTEGER PRIMARY KEY,
  name        TEXT NOT NULL UNIQUE,
  description TEXT NOT NULL DEFAULT '',
  baseline    TEXT NOT NULL DEFAULT '',  -- the variant that v_deltas compares with
  metric      TEXT NOT NULL DEFAULT '',  -- the metric that decides, such as eval/emoji/top1
  created_ms  INTEGER NOT NULL
);

-- The cells that an ablation means to fill.
CREATE TABLE trial (
  experiment_id INTEGER NOT NULL REFERENCES experiment(id),
  variant       TEXT NOT NULL,
  seed          INTEGER NOT NULL,
  PRIMARY KEY (experiment_id, variant, seed)
) WITHOUT ROWID;

CREATE TABLE run (
  id             INTEGER PRIMARY KEY,
  key            TEXT NOT NULL UNIQUE,     -- the id that people see
  experiment_id  INTEGER NOT NULL REFERENCES experiment(id),
  variant        TEXT NOT NULL DEFAULT '',
  seed           INTEGER NOT NULL DEFAULT 0,
  identity       TEXT NOT NULL DEFAULT '', -- hash of the resolved spec and the plugins' digests
  status         TEXT NOT NULL CHECK (status IN ('running', 'done', 'failed', 'interrupted')),
  started_ms     INTEGER NOT NULL,
  session_ms     INTEGER NOT NULL,           -- start of the present process's part
  prior_ms       INTEGER NOT NULL DEFAULT 0, -- time that earlier processes spent
  ended_ms       INTEGER,
  heartbeat_ms   INTEGER NOT NULL,           -- last write
  host           TEXT NOT NULL DEFAULT '',
  pid            INTEGER NOT NULL DEFAULT 0,
  process        TEXT NOT NULL DEFAULT '',   -- boot, pid namespace and start tick: tells reused pids apart
  cores          INTEGER NOT NULL DEFAULT 0,
  device         TEXT NOT NULL DEFAULT '',
  devices        INTEGER NOT NULL DEFAULT 1,
  threads        TEXT NOT NULL DEFAULT '{}', -- JSON, by process
  libraries      TEXT NOT NULL DEFAULT '{}', -- JSON, version by name
  git_commit     TEXT NOT NULL DEFAULT '',
  git_dirty      INTEGER NOT NULL DEFAULT 0,
  dataset_digest TEXT NOT NULL DEFAULT '',
  spec           TEXT NOT NULL DEFAULT '',   -- resolved
  tainted        INTEGER NOT NULL DEFAULT 0, -- 1: not to be compared with others; taint says why
  taint          TEXT NOT NULL DEFAULT '',
  error_kind     TEXT NOT NULL DEFAULT '',
  error_plugin   TEXT NOT NULL DEFAULT '',
  error_message  TEXT NOT NULL DEFAULT '',
  error_hint     TEXT NOT NULL DEFAULT '',
  error_detail   TEXT NOT NULL DEFAULT ''
);
CREATE INDEX run_by_cell ON run (experiment_id, variant, seed);
CREATE INDEX run_by_identity ON run (identity);

CREATE TABLE run_status (
  run_id INTEGER NOT NULL REFERENCES run(id) ON DELETE CASCADE,
  seq    INTEGER NOT NULL,
  at_ms  INTEGER NOT NULL,
  status TEXT NOT NULL,
  note   TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;

CREATE TABLE metric (
  id     INTEGER PRIMARY KEY,
  name   TEXT NOT NULL UNIQUE,
  better INTEGER NOT NULL CHECK (better IN (-1, 1)) -- -1: smaller values are better
);

CREATE TABLE point (
  run_id    INTEGER NOT NULL,
  metric_id INTEGER NOT NULL,
  step      INTEGER NOT NULL,
  value     REAL,
  PRIMARY KEY (run_id, metric_id, step)
) WITHOUT ROWID;

-- Kept in the same transaction as point. min, max, best and sum pass over NaN; sum passes over
-- infinities too, and n_finite counts what it adds.
CREATE TABLE run_summary (
  run_id    INTEGER NOT NULL,
  metric_id INTEGER NOT NULL,
  first     REAL,
  last      REAL,
  last_step INTEGER NOT NULL,
  min       REAL,
  max       REAL,
  best      REAL,
  best_step INTEGER,
  n         INTEGER NOT NULL,
  n_finite  INTEGER NOT NULL,
  sum       REAL NOT NULL,
  PRIMARY KEY (run_id, metric_id)
) WITHOUT ROWID;
CREATE INDEX run_summary_by_metric ON run_summary (metric_id);

CREATE TABLE param (
  run_id INTEGER NOT NULL,
  key    TEXT NOT NULL,                     -- loss.with.temperature
  type   TEXT NOT NULL CHECK (type IN ('number', 'text', 'bool', 'json', 'null')),
  value,                                    -- INTEGER or REAL for number; else text
  PRIMARY KEY (run_id, key)
) WITHOUT ROWID;
CREATE INDEX param_by_key ON param (key, value);

-- What was found out about a run that its spec does not say: parameters.total, flops.image, …
CREATE TABLE run_fact (
  run_id INTEGER NOT NULL,
  key    TEXT NOT NULL,
  value,
  PRIMARY KEY (run_id, key)
) WITHOUT ROWID;

CREATE TABLE run_plugin (
  run_id  INTEGER NOT NULL,
  role    TEXT NOT NULL,                    -- image, text, loss, data.train, eval.emoji
  name    TEXT NOT NULL,                    -- encoders/vit
  version TEXT NOT NULL DEFAULT '',
  sha256  TEXT NOT NULL DEFAULT '',
  PRIMARY KEY (run_id, role)
) WITHOUT ROWID;
CREATE INDEX run_plugin_by_sha256 ON run_plugin (sha256);

CREATE TABLE event (
  id      INTEGER PRIMARY KEY,
  run_id  INTEGER NOT NULL,
  at_ms   INTEGER NOT NULL,
  step    INTEGER NOT NULL,                 -- the highest step recorded when it happened; -1 before any
  level   TEXT NOT NULL,
  kind    TEXT NOT NULL,
  message TEXT NOT NULL,
  detail  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX event_by_run ON event (run_id, id);

CREATE TABLE artifact (
  run_id INTEGER NOT NULL,
  path   TEXT NOT NULL,
  kind   TEXT NOT NULL,
  bytes  INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  at_ms  INTEGER NOT NULL,
  PRIMARY KEY (run_id, path)
) WITHOUT ROWID;

CREATE TABLE checkpoint (
  run_id INTEGER NOT NULL,
  step   INTEGER NOT NULL,
  dir    TEXT NOT NULL,
  at_ms  INTEGER NOT NULL,
  PRIMARY KEY (run_id, step)
) WITHOUT ROWID;

-- The keys and labels of an evaluation's examples, shared by all predictions over them.
CREATE TABLE example_set (
  id     INTEGER PRIMARY KEY,
  sha256 TEXT NOT NULL UNIQUE,
  n      INTEGER NOT NULL,
  data   BLOB NOT NULL                      -- packed by core/store/pack.go
);

CREATE TABLE prediction (
  id             INTEGER PRIMARY KEY,
  run_id         INTEGER NOT NULL,
  step           INTEGER NOT NULL,
  evaluation     TEXT NOT NULL,
  target         TEXT NOT NULL,
  n              INTEGER NOT NULL,
  correct        INTEGER NOT NULL,          -- examples whose first guess is right
  example_set_id INTEGER NOT NULL REFERENCES example_set(id),
  data           BLOB NOT NULL,             -- packed by core/store/pack.go
  UNIQUE (run_id, evaluation, target, step)
);

-- The 97.5 % points of Student's t, for 95 % confidence intervals in plain SQL.
CREATE TABLE student_t (df INTEGER PRIMARY KEY, t975 REAL NOT NULL);
INSERT INTO student_t VALUES
  (1, 12.706205), (2, 4.302653), (3, 3.182446), (4, 2.776445), (5, 2.570582), (6, 2.446912),
  (7, 2.364624), (8, 2.306004), (9, 2.262157), (10, 2.228139), (11, 2.200985), (12, 2.178813),
  (13, 2.160369), (14, 2.144787), (15, 2.131450), (16, 2.119905), (17, 2.109816), (18, 2.100922),
  (19, 2.093024), (20, 2.085963), (21, 2.079614), (22, 2.073873), (23, 2.068658), (24, 2.063899),
  (25, 2.059539), (26, 2.055529), (27, 2.051831), (28, 2.048407), (29, 2.045230), (30, 2.042272),
  (40, 2.021075), (60, 2.000298), (120, 1.979930), (1000, 1.962339);
