"""The known terminals. ``key`` is identity.phone_key(phone); ``auth_hash`` is SHA-256 of a salted code, see store/terminals.py."""

STATEMENTS = (
    """
    CREATE TABLE terminals (
        key TEXT PRIMARY KEY NOT NULL,
        phone TEXT NOT NULL,
        plate TEXT NOT NULL DEFAULT '',
        plate_color INTEGER,
        alias TEXT NOT NULL DEFAULT '',
        manufacturer TEXT NOT NULL DEFAULT '',
        model TEXT NOT NULL DEFAULT '',
        terminal_id TEXT NOT NULL DEFAULT '',
        edition INTEGER,
        enabled INTEGER NOT NULL DEFAULT 1,
        origin TEXT NOT NULL DEFAULT 'operator',
        auth_salt BLOB,
        auth_hash BLOB,
        auth_at REAL,
        added_at REAL NOT NULL,
        registered_at REAL
    ) STRICT
    """,
    "CREATE UNIQUE INDEX terminals_alias ON terminals (alias) WHERE alias <> ''",
    "CREATE INDEX terminals_plate ON terminals (plate) WHERE plate <> ''",
)
