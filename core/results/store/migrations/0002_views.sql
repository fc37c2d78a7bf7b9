-- The stable views. Their columns are documented in docs/results.md and held by a test; they are
-- only ever added to, never renamed or removed, without a migration and a note there.

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
    (SELECT p.value FROM param p WHERE p.run_id = r.id AND p.key = 'train.batch_size')) AS samples_seen,
  (SELECT s.sum / nullif(s.n_finite, 0) FROM run_summary s JOIN metric m ON m.id = s.metric_id
    WHERE s.run_id = r.id AND m.name = 'train/samples_per_s') AS samples_per_s,
  r.device, r.host, r.cores, r.git_commit, r.git_dirty, r.dataset_digest, r.identity, r.tainted,
  r.error_kind, r.error_plugin, r.error_message
FROM run r JOIN experiment e ON e.id = r.experiment_id;

CREATE VIEW v_metrics AS
SELECT r.key AS run_id, m.name AS metric, p.step, p.value
FROM run r JOIN point p ON p.run_id = r.id JOIN metric m ON m.id = p.metric_id;

CREATE VIEW v_final AS
SELECT
  r.key AS run_id, e.name AS experiment, r.variant, r.seed, r.status, m.name AS metric,
  s.last, s.last_step, s.best, s.best_step, s.first, s.min, s.max,
  s.sum / nullif(s.n_finite, 0) AS mean, s.n, r.tainted
FROM run_summary s
JOIN run r ON r.id = s.run_id
JOIN experiment e ON e.id = r.experiment_id
JOIN metric m ON m.id = s.metric_id;

CREATE VIEW v_params AS
SELECT r.key AS run_id, p.key, p.value, p.type
FROM run r JOIN param p ON p.run_id = r.id;

CREATE VIEW v_facts AS
SELECT r.key AS run_id, f.key, f.value
FROM run r JOIN run_fact f ON f.run_id = r.id;

CREATE VIEW v_plugins AS
SELECT r.key AS run_id, e.name AS experiment, p.role, p.name AS plugin, p.version, p.sha256
FROM run_plugin p JOIN run r ON r.id = p.run_id JOIN experiment e ON e.id = r.experiment_id;

CREATE VIEW v_events AS
SELECT
  r.key AS run_id, e.id AS event_id,
  strftime('%Y-%m-%dT%H:%M:%fZ', e.at_ms / 1000.0, 'unixepoch') AS at,
  e.step, e.level, e.kind, e.message, e.detail
FROM event e JOIN run r ON r.id = e.run_id;

CREATE VIEW v_failures AS
SELECT
  r.key AS run_id, e.name AS experiment, r.variant, r.seed, r.error_kind, r.error_plugin,
  (SELECT p.version FROM run_plugin p WHERE p.run_id = r.id AND p.name = r.error_plugin LIMIT 1) AS plugin_version,
  (SELECT p.sha256 FROM run_plugin p WHERE p.run_id = r.id AND p.name = r.error_plugin LIMIT 1) AS plugin_sha256,
  r.error_message, r.error_hint, r.error_detail,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.ended_ms / 1000.0, 'unixepoch') AS ended_at
FROM run r JOIN experiment e ON e.id = r.experiment_id
WHERE r.status = 'failed';

CREATE VIEW v_predictions AS
SELECT
  r.key AS run_id, p.step, p.evaluation, p.target, p.n, p.correct,
  1.0 * p.correct / nullif(p.n, 0) AS top1
FROM prediction p JOIN run r ON r.id = p.run_id;

-- The run that stands for a cell: the newest done run that is not tainted, failing that the newest.
CREATE VIEW v_cells AS
WITH cell AS (
  SELECT experiment_id, variant, seed FROM trial
  UNION
  SELECT experiment_id, variant, seed FROM run
), chosen AS (
  SELECT c.*, (
    SELECT r.id FROM run r
    WHERE r.experiment_id = c.experiment_id AND r.variant = c.variant AND r.seed = c.seed
    ORDER BY r.status = 'done' AND NOT r.tainted DESC, r.id DESC LIMIT 1) AS run
  FROM cell c
)
SELECT
  e.name AS experiment, c.variant, c.seed, r.key AS run_id, r.status,
  coalesce(r.status = 'done' AND NOT r.tainted, 0) AS done,
  EXISTS (SELECT 1 FROM trial t WHERE t.experiment_id = c.experiment_id
    AND t.variant = c.variant AND t.seed = c.seed) AS planned
FROM chosen c
JOIN experiment e ON e.id = c.experiment_id
LEFT JOIN run r ON r.id = c.run;

-- The final value of every finished cell: what the statistics below are made of. A metric whose
-- last value is NaN or infinite has no row.
CREATE VIEW v_cell_metrics AS
WITH finished AS (
  SELECT max(id) AS id FROM run WHERE status = 'done' AND NOT tainted
  GROUP BY experiment_id, variant, seed
)
SELECT
  r.experiment_id, r.variant, r.seed, r.key AS run_id, s.metric_id, s.last AS value
FROM finished d
JOIN run r ON r.id = d.id
JOIN run_summary s ON s.run_id = r.id
WHERE abs(s.last) < 9e999;

CREATE VIEW v_seed_stats AS
WITH average AS (
  SELECT experiment_id, variant, metric_id, avg(value) AS mean
  FROM v_cell_metrics GROUP BY experiment_id, variant, metric_id
)
SELECT
  e.name AS experiment, c.variant, m.name AS metric, count(*) AS n, a.mean,
  CASE WHEN count(*) > 1
    THEN sqrt(sum((c.value - a.mean) * (c.value - a.mean)) / (count(*) - 1)) END AS std,
  min(c.value) AS min, max(c.value) AS max
FROM v_cell_metrics c
JOIN average a USING (experiment_id, variant, metric_id)
JOIN experiment e ON e.id = c.experiment_id
JOIN metric m ON m.id = c.metric_id
GROUP BY c.experiment_id, c.variant, c.metric_id;

-- delta is the mean over the seeds that both variants have of (variant - baseline); std is the
-- standard deviation of those differences; ci_low and ci_high bound the 95 % interval of Student's
-- t. With one common seed they are NULL.
CREATE VIEW v_deltas AS
WITH pair AS (
  SELECT v.experiment_id, v.variant, e.baseline, v.metric_id,
    v.value, b.value AS baseline_value, v.value - b.value AS d
  FROM v_cell_metrics v
  JOIN experiment e ON e.id = v.experiment_id
  JOIN v_cell_metrics b ON b.experiment_id = v.experiment_id AND b.variant = e.baseline
    AND b.seed = v.seed AND b.metric_id = v.metric_id
  WHERE v.variant <> e.baseline
), average AS (
  SELECT experiment_id, variant, metric_id, avg(d) AS delta
  FROM pair GROUP BY experiment_id, variant, metric_id
), spread AS (
  SELECT p.experiment_id, p.variant, p.baseline, p.metric_id, count(*) AS n,
    avg(p.value) AS mean, avg(p.baseline_value) AS baseline_mean, a.delta,
    CASE WHEN count(*) > 1
      THEN sqrt(sum((p.d - a.delta) * (p.d - a.delta)) / (count(*) - 1)) END AS std
  FROM pair p JOIN average a USING (experiment_id, variant, metric_id)
  GROUP BY p.experiment_id, p.variant, p.metric_id
), bound AS (
  SELECT s.*, s.std / sqrt(s.n) *
    (SELECT t975 FROM student_t WHERE df <= s.n - 1 ORDER BY df DESC LIMIT 1) AS half
  FROM spread s
)
SELECT
  e.name AS experiment, b.variant, m.name AS metric, b.baseline, b.n, b.mean, b.baseline_mean,
  b.delta, b.std, b.delta - b.half AS ci_low, b.delta + b.half AS ci_high
FROM bound b
JOIN experiment e ON e.id = b.experiment_id
JOIN metric m ON m.id = b.metric_id;
