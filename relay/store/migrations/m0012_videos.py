"""Recordings on this side: files of channels, as ``core.video_files`` writes them."""

STATEMENTS = (
    """
    CREATE TABLE videos (
        id TEXT PRIMARY KEY NOT NULL,
        key TEXT NOT NULL,
        channel INTEGER NOT NULL,
        began REAL NOT NULL,
        duration REAL NOT NULL,
        bytes INTEGER NOT NULL,
        path TEXT NOT NULL,
        video TEXT NOT NULL,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        audio TEXT NOT NULL,
        why TEXT NOT NULL,
        complete INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX videos_key ON videos (key, channel, began)",
    "CREATE INDEX videos_began ON videos (began)",
)
