"""Positions of terminals. The unique index is the one that tracks are read by; see store/positions.py for what is the same report."""

STATEMENTS = (
    """
    CREATE TABLE positions (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        time REAL NOT NULL,
        received REAL NOT NULL,
        latitude REAL NOT NULL,
        longitude REAL NOT NULL,
        altitude INTEGER NOT NULL,
        speed REAL NOT NULL,
        direction INTEGER NOT NULL,
        alarm INTEGER NOT NULL,
        status INTEGER NOT NULL,
        mileage REAL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX positions_track ON positions (key, time, alarm, status)",
)

#: rows arrive in order of time, so that a range of blocks tells which hold old ones; SQLite deletes by the number, which grows alike
POSTGRESQL = ("CREATE INDEX positions_received ON positions USING brin (received)",)
