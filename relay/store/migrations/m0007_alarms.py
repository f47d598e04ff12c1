"""Alarms with begin and end, and the files that belong to them; see store/alarms.py."""

STATEMENTS = (
    """
    CREATE TABLE alarms (
        id TEXT PRIMARY KEY NOT NULL,
        key TEXT NOT NULL,
        kind TEXT NOT NULL,
        code INTEGER NOT NULL,
        channel INTEGER NOT NULL,
        name TEXT NOT NULL,
        level INTEGER NOT NULL,
        began REAL NOT NULL,
        ended REAL,
        received REAL NOT NULL,
        late INTEGER NOT NULL,
        latitude REAL NOT NULL,
        longitude REAL NOT NULL,
        speed REAL NOT NULL,
        identity TEXT NOT NULL,
        sign BLOB,
        files_told INTEGER NOT NULL,
        files_state TEXT NOT NULL DEFAULT '',
        alarm_number TEXT,
        detail TEXT NOT NULL,
        acknowledged_at REAL,
        acknowledged_by TEXT NOT NULL DEFAULT '',
        note TEXT NOT NULL DEFAULT ''
    ) STRICT
    """,
    "CREATE UNIQUE INDEX alarms_identity ON alarms (key, identity)",
    "CREATE INDEX alarms_began ON alarms (began)",
    "CREATE INDEX alarms_of ON alarms (key, began)",
    "CREATE INDEX alarms_open ON alarms (key) WHERE ended IS NULL",
    "CREATE UNIQUE INDEX alarms_number ON alarms (alarm_number) WHERE alarm_number IS NOT NULL",
    """
    CREATE TABLE alarm_files (
        id TEXT PRIMARY KEY NOT NULL,
        alarm TEXT NOT NULL REFERENCES alarms (id) ON DELETE CASCADE,
        key TEXT NOT NULL,
        name TEXT NOT NULL,
        kind TEXT NOT NULL,
        channel INTEGER NOT NULL,
        size INTEGER NOT NULL,
        ranges TEXT NOT NULL,
        state TEXT NOT NULL,
        sha256 TEXT NOT NULL DEFAULT '',
        content_type TEXT NOT NULL DEFAULT '',
        created REAL NOT NULL,
        updated REAL NOT NULL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX alarm_files_name ON alarm_files (alarm, name)",
    "CREATE INDEX alarm_files_created ON alarm_files (created)",
)
