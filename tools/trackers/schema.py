"""Writes core/results/sink/trackio/schema.sql: the schema that trackio (0.43.0) gives a new project."""

import os
import pathlib
import sqlite3
import tempfile
import textwrap

FILE = pathlib.Path(__file__).parents[2] / "core/results/sink/trackio/schema.sql"


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TRACKIO_DIR"] = folder
        import trackio
        from trackio.sqlite_storage import SQLiteStorage

        db = sqlite3.connect(SQLiteStorage.init_db("p"))
        lines = [f"-- The schema of trackio {trackio.__version__}, written by tools/trackers/schema.py."]
        for (sql,) in db.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"):
            lines.append(" ".join(textwrap.dedent(sql).split()) + ";")
        (version,) = db.execute("PRAGMA user_version").fetchone()
        lines.append(f"PRAGMA user_version = {version};")
        FILE.write_text("\n".join(lines) + "\n")


main()
