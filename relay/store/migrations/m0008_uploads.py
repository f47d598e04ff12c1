"""Files asked of terminals (0x9206): a row a task. ``data`` is a JSON object of what only the task itself reads: criteria, files, notes."""

STATEMENTS = (
    """
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY NOT NULL,
        sim TEXT NOT NULL,
        channel INTEGER NOT NULL,
        state TEXT NOT NULL,
        created REAL NOT NULL,
        finished REAL,
        bytes INTEGER NOT NULL DEFAULT 0,
        data TEXT NOT NULL DEFAULT '{}'
    ) STRICT
    """,
    "CREATE INDEX uploads_created ON uploads (created)",
    "CREATE INDEX uploads_sim ON uploads (sim, created)",
)
