-- Less to write and to read for thousands of runs: a key with its value is stored once and shared by the runs that
-- have it, and the long text of a spec lies apart from the columns that lists read. The views over cells let a
-- condition on experiment, metric or variant reach the tables: SQLite hands it down through window functions
-- that are partitioned by it, not through GROUP BY.

DROP VIEW IF EXISTS v_runs;
DROP VIEW v_params;
DROP VIEW IF EXISTS v_deltas;
DROP VIEW IF EXISTS v_seed_stats;
DROP VIEW IF EXISTS v_cell_metrics;
DROP VIEW IF EXISTS v_cells;

ALTER TABLE param RENAME TO old_param;
DROP INDEX param_by_key;

CREATE TABLE setting (
  id    INTEGER PRIMARY KEY,
  key   TEXT NOT NULL,                      -- loss.with.temperature
  type  TEXT NOT NULL CHECK (type IN ('number', 'text', 'bool', 'json', 'null')),
  value                                     -- INTEGER or REAL for number; else text
);
CREATE INDEX setting_by_key ON setting (key, value, type);

CREATE TABLE param (
  run_id     INTEGER NOT NULL,
  setting_id INTEGER NOT NULL REFERENCES setting(id),
  PRIMARY KEY (run_id, setting_id)
) WITHOUT ROWID;
CREATE INDEX param_by_setting ON param (setting_id);

INSERT INTO setting (key, type, value) SELECT DISTINCT key, type, value FROM old_param;
INSERT INTO param (run_id, setting_id)
  SELECT p.run_id, s.id FROM old_param p JOIN setting s ON s.key = p.key AND s.value IS p.value AND s.type = p.type;
DROP TABLE old_param;

CREATE TABLE run_spec (
  run_id INTEGER PRIMARY KEY,
  spec   TEXT NOT NULL                      -- resolved
);
INSERT INTO run_spec (run_id, spec) SELECT id, spec FROM run;
ALTER TABLE run DROP COLUMN spec;

CREATE VIEW v_runs AS
SELECT
  r.key AS run_id, e.name AS experiment, r.variant, r.seed, r.status,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.started_ms / 1000.0, 'unixepoch') AS started_at,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.ended_ms / 1000.0, 'unixepoch') AS ended_at,
  (r.prior_ms + coalesce(r.ended_ms, r.heartbeat_ms) - r.session_ms) / 1000.0 AS duration_s,
  (r.prior_ms + coalesce(r.ended_ms, r.heartbeat_ms) - r.session_ms) / 3600000.0 * r.devices AS device_hours,
  (SELECT s.last_step FROM run_summary s JOIN metric m ON m.id = s.metric_id
    WHERE s.run_id = r.id AND m.name = 'train/loss') AS steps,
  coalesce(
    (SELECT s.last FROM run_summary s JOIN metric m ON m.id = s.metric_id
      WHERE s.run_id = r.id AND m.name = 'train/samples_seen'),
    (SELECT s.last_step FROM run_summary s JOIN metric m ON m.id = s.metric_id
      WHERE s.run_id = r.id AND m.name = 'train/loss') *
    (SELECT t.value FROM param p JOIN setting t ON t.id = p.setting_id WHERE p.run_id = r.id AND t.key = 'train.batch_size')) AS samples_seen,
  (SELECT s.sum / nullif(s.n_finite, 0) FROM run_summary s JOIN metric m ON m.id = s.metric_id
    WHERE s.run_id = r.id AND m.name = 'train/samples_per_s') AS samples_per_s,
  r.device, r.host, r.cores, r.git_commit, r.git_dirty, r.dataset_digest, r.identity, r.tainted,
  r.error_kind, r.error_plugin, r.error_message
FROM run r JOIN experiment e ON e.id = r.experiment_id;

CREATE VIEW v_params AS
SELECT r.key AS run_id, t.key, t.value, t.type
FROM run r JOIN param p ON p.run_id = r.id JOIN setting t ON t.id = p.setting_id;

-- The final value of every finished cell: what the statistics below are made of. A metric whose
-- last value is NaN or infinite has no row.
CREATE VIEW v_cell_metrics AS
SELECT
  c.experiment_id, c.variant, c.seed, c.run_id, s.metric_id, s.last AS value, c.experiment, m.name AS metric
FROM v_cells c
JOIN run_summary s ON s.run_id = c.run
JOIN metric m ON m.id = s.metric_id
WHERE c.done AND abs(s.last) < 9e999;

CREATE VIEW v_seed_stats AS
WITH value AS (
  SELECT experiment, variant, metric, value, row_number() OVER variant AS nth,
    count(*) OVER variant AS n, avg(value) OVER variant AS mean, min(value) OVER variant AS min, max(value) OVER variant AS max
  FROM v_cell_metrics WINDOW variant AS (PARTITION BY experiment, variant, metric)
), spread AS (
  SELECT *, CASE WHEN n > 1 THEN sqrt(sum((value - mean) * (value - mean))
    OVER (PARTITION BY experiment, variant, metric) / (n - 1)) END AS std
  FROM value
)
SELECT experiment, variant, metric, n, mean, std, min, max FROM spread WHERE nth = 1;

-- delta is the mean over the seeds that both variants have of (variant - baseline); std is the
-- standard deviation of those differences; ci_low and ci_high bound the 95 % interval of Student's
-- t. With one common seed they are NULL.
CREATE VIEW v_deltas AS
WITH cell AS (
  SELECT c.experiment, c.variant, c.metric, c.value, e.baseline,
    max(CASE WHEN c.variant = e.baseline THEN c.value END) OVER (PARTITION BY c.experiment, c.metric, c.seed) AS baseline_value
  FROM v_cell_metrics c JOIN experiment e ON e.name = c.experiment
), pair AS (
  SELECT *, value - baseline_value AS d FROM cell WHERE variant <> baseline AND baseline_value IS NOT NULL
), average AS (
  SELECT experiment, variant, metric, baseline, d, row_number() OVER variant AS nth, count(*) OVER variant AS n,
    avg(value) OVER variant AS mean, avg(baseline_value) OVER variant AS baseline_mean, avg(d) OVER variant AS delta
  FROM pair WINDOW variant AS (PARTITION BY experiment, variant, metric)
), spread AS (
  SELECT *, CASE WHEN n > 1 THEN sqrt(sum((d - delta) * (d - delta))
    OVER (PARTITION BY experiment, variant, metric) / (n - 1)) END AS std
  FROM average
), bound AS (
  SELECT *, std / sqrt(n) * (SELECT t975 FROM student_t WHERE df <= n - 1 ORDER BY df DESC LIMIT 1) AS half
  FROM spread WHERE nth = 1
)
SELECT experiment, variant, metric, baseline, n, mean, baseline_mean, delta, std, delta - half AS ci_low, delta + half AS ci_high
FROM bound;
