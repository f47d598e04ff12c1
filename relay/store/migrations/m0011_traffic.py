"""What terminals' data is spent on: bytes by day, channel and purpose; and budgets of single terminals."""

STATEMENTS = (
    """
    CREATE TABLE traffic (
        key TEXT NOT NULL,
        day INTEGER NOT NULL,
        channel INTEGER NOT NULL,
        purpose TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        PRIMARY KEY (key, day, channel, purpose)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX traffic_day ON traffic (day)",
    """
    CREATE TABLE budgets (
        key TEXT PRIMARY KEY NOT NULL,
        day_bytes INTEGER,
        month_bytes INTEGER
    ) STRICT
    """,
)
