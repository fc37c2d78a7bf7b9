-- Cells of a search: those that it tried, and those that confirm its winner under fresh seeds.

ALTER TABLE trial ADD COLUMN phase TEXT NOT NULL DEFAULT '';           -- search, confirm; '': of another design

DROP VIEW v_cells;
-- A cell that is planned with an identity is filled by the newest run of that identity, whatever
-- experiment it was made for; any other by the newest run of its experiment, variant and seed. Runs that are
-- done come before those that are not.
CREATE VIEW v_cells AS
WITH cell AS (
  SELECT e.name AS experiment, t.experiment_id, t.variant, t.seed, t.identity, t.levels, t.position, 1 AS planned, t.phase
  FROM trial t JOIN experiment e ON e.id = t.experiment_id
  UNION ALL
  SELECT e.name, r.experiment_id, r.variant, r.seed, '', '{}', 9223372036854775807, 0, ''
  FROM run r JOIN experiment e ON e.id = r.experiment_id
  WHERE NOT EXISTS (SELECT 1 FROM trial t
    WHERE t.experiment_id = r.experiment_id AND t.variant = r.variant AND t.seed = r.seed)
  GROUP BY e.name, r.experiment_id, r.variant, r.seed
), chosen AS (
  SELECT c.*, CASE WHEN c.identity <> '' THEN coalesce(
    (SELECT r.id FROM run r WHERE r.identity = c.identity AND r.status = 'done' AND r.tainted = 0
     ORDER BY r.started_ms DESC, r.id DESC LIMIT 1),
    (SELECT r.id FROM run r WHERE r.identity = c.identity ORDER BY r.started_ms DESC, r.id DESC LIMIT 1)
  ) ELSE coalesce(
    (SELECT r.id FROM run r WHERE r.experiment_id = c.experiment_id AND r.variant = c.variant AND r.seed = c.seed
     AND r.status = 'done' AND r.tainted = 0 ORDER BY r.started_ms DESC, r.id DESC LIMIT 1),
    (SELECT r.id FROM run r WHERE r.experiment_id = c.experiment_id AND r.variant = c.variant AND r.seed = c.seed
     ORDER BY r.started_ms DESC, r.id DESC LIMIT 1)
  ) END AS run
  FROM cell c
)
SELECT
  c.experiment, c.variant, c.seed, r.key AS run_id, r.status,
  coalesce(r.status = 'done' AND NOT r.tainted, 0) AS done, c.planned, c.levels, c.position, c.identity,
  c.experiment_id, r.id AS run, c.phase
FROM chosen c LEFT JOIN run r ON r.id = c.run;
