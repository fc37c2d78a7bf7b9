-- What was measured of a run's checkpoints after the fact, beside its own evaluations while it trained. The figures are points and
-- predictions like all others; a row here says what they are of.

CREATE TABLE evaluation (
  run_id       INTEGER NOT NULL,
  name         TEXT NOT NULL,               -- its metrics are eval/NAME/…; NAME@ema by averaged weights
  step         INTEGER NOT NULL,            -- of the checkpoint
  sha256       TEXT NOT NULL,               -- of what was asked: dataset, settings, measures
  suite        TEXT NOT NULL,               -- '': the run's own list
  suite_sha256 TEXT NOT NULL,
  version      TEXT NOT NULL,               -- of the runner
  dataset      TEXT NOT NULL,               -- the digest of the data
  samples      INTEGER NOT NULL,            -- that the figures are of
  left_out     INTEGER NOT NULL,            -- samples that could not be read
  at_ms        INTEGER NOT NULL,
  PRIMARY KEY (run_id, name, step)
) WITHOUT ROWID;

CREATE VIEW v_evaluations AS
SELECT r.key AS run_id, e.name AS experiment, r.variant, r.seed, x.name AS evaluation, x.step, x.suite,
  strftime('%Y-%m-%dT%H:%M:%fZ', x.at_ms / 1000.0, 'unixepoch') AS measured_at, x.version, x.samples, x.left_out,
  x.dataset, x.sha256, x.suite_sha256
FROM evaluation x JOIN run r ON r.id = x.run_id JOIN experiment e ON e.id = r.experiment_id;
