-- Whether an example set is in use is asked by runner gc, and by SQLite for every one that is deleted.

CREATE INDEX prediction_by_examples ON prediction (example_set_id);
