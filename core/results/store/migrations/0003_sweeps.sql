-- Sweeps: what an experiment means to fill, by identity; runs that an early-stopping rule ended.
-- The views over runs and cells that are dropped here are made anew by 0004.

DROP VIEW v_runs;
DROP VIEW v_final;
DROP VIEW v_failures;
DROP VIEW v_deltas;
DROP VIEW v_seed_stats;
DROP VIEW v_cell_metrics;
DROP VIEW v_cells;

ALTER TABLE run RENAME COLUMN status TO old_status;
ALTER TABLE run ADD COLUMN status TEXT NOT NULL DEFAULT 'interrupted'
  CHECK (status IN ('running', 'done', 'failed', 'interrupted', 'stopped'));
UPDATE run SET status = old_status;
ALTER TABLE run DROP COLUMN old_status;

ALTER TABLE experiment ADD COLUMN design TEXT NOT NULL DEFAULT '';     -- one-at-a-time, grid, list, random; '': no sweep
ALTER TABLE experiment ADD COLUMN factors TEXT NOT NULL DEFAULT '[]';  -- JSON, in the order of the spec: [{"name": "pool", "levels": ["attention", "average"]}]
ALTER TABLE experiment ADD COLUMN noise TEXT NOT NULL DEFAULT '';      -- the variant that is the baseline once more, under other seeds

ALTER TABLE trial ADD COLUMN identity TEXT NOT NULL DEFAULT '';        -- that of the run which fills the cell; '': any run of the cell does
ALTER TABLE trial ADD COLUMN levels TEXT NOT NULL DEFAULT '{}';        -- JSON, level by factor
ALTER TABLE trial ADD COLUMN position INTEGER NOT NULL DEFAULT 0;      -- in the order of the design
CREATE INDEX trial_by_identity ON trial (identity);

CREATE VIEW v_final AS
SELECT
  r.key AS run_id, e.name AS experiment, r.variant, r.seed, r.status, m.name AS metric,
  s.last, s.last_step, s.best, s.best_step, s.first, s.min, s.max,
  s.sum / nullif(s.n_finite, 0) AS mean, s.n, r.tainted
FROM run_summary s
JOIN run r ON r.id = s.run_id
JOIN experiment e ON e.id = r.experiment_id
JOIN metric m ON m.id = s.metric_id;

CREATE VIEW v_failures AS
SELECT
  r.key AS run_id, e.name AS experiment, r.variant, r.seed, r.error_kind, r.error_plugin,
  (SELECT p.version FROM run_plugin p WHERE p.run_id = r.id AND p.name = r.error_plugin LIMIT 1) AS plugin_version,
  (SELECT p.sha256 FROM run_plugin p WHERE p.run_id = r.id AND p.name = r.error_plugin LIMIT 1) AS plugin_sha256,
  r.error_message, r.error_hint, r.error_detail,
  strftime('%Y-%m-%dT%H:%M:%fZ', r.ended_ms / 1000.0, 'unixepoch') AS ended_at
FROM run r JOIN experiment e ON e.id = r.experiment_id
WHERE r.status = 'failed';
