-- Which way a metric is good is declared (core/metric), and some are good neither way; their best value is none. What an
-- experiment's spec says of its analysis is kept with it.

ALTER TABLE metric ADD COLUMN directed INTEGER NOT NULL DEFAULT 1;      -- 0: neither way is better, whatever better says
ALTER TABLE experiment ADD COLUMN settings TEXT NOT NULL DEFAULT '{}';  -- JSON: looks, analysis, directions, stop, choose

UPDATE metric SET directed = 0 WHERE name LIKE 'train/grad_norm%' OR name IN ('train/lr', 'train/logit_scale', 'train/samples_seen')
  OR name LIKE '%norm' OR name LIKE '%distance' OR name LIKE '%temperature';
UPDATE metric SET better = -1 WHERE better = 1 AND (name LIKE '%nll' OR name LIKE '%ece' OR name LIKE '%errors'
  OR name LIKE '%fpr%' OR name LIKE '%latency' OR name LIKE '%/mse' OR name LIKE '%/mae' OR name LIKE '%/brier');

-- What was the greatest value of these was called their best.
UPDATE run_summary SET best = min, best_step = (SELECT min(p.step) FROM point p
  WHERE p.run_id = run_summary.run_id AND p.metric_id = run_summary.metric_id AND p.value = run_summary.min)
WHERE best IS NOT NULL AND metric_id IN (SELECT id FROM metric WHERE name LIKE '%nll' OR name LIKE '%ece' OR name LIKE '%errors'
  OR name LIKE '%fpr%' OR name LIKE '%latency' OR name LIKE '%/mse' OR name LIKE '%/mae' OR name LIKE '%/brier');
UPDATE run_summary SET best = NULL, best_step = NULL WHERE metric_id IN (SELECT id FROM metric WHERE directed = 0);
