"""Photos, sound and short films that terminals sent by 0x0801; the content is in files."""

STATEMENTS = (
    """
    CREATE TABLE multimedia (
        id INTEGER PRIMARY KEY,
        sim TEXT NOT NULL,
        time REAL NOT NULL,
        media_id INTEGER NOT NULL,
        media_type INTEGER NOT NULL,
        media_format INTEGER NOT NULL,
        event_code INTEGER NOT NULL,
        channel INTEGER NOT NULL,
        location TEXT NOT NULL,
        file TEXT NOT NULL,
        bytes INTEGER NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX multimedia_sim ON multimedia (sim, id)",
    "CREATE INDEX multimedia_time ON multimedia (time)",
)
