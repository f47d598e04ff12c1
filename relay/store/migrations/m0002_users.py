"""Users; scrypt with its parameters in each row, so that they can be raised later."""

STATEMENTS = (
    """
    CREATE TABLE users (
        name TEXT PRIMARY KEY NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
        salt BLOB NOT NULL,
        hash BLOB NOT NULL,
        n INTEGER NOT NULL,
        r INTEGER NOT NULL,
        p INTEGER NOT NULL,
        enabled INTEGER NOT NULL DEFAULT 1,
        added_at REAL NOT NULL
    ) STRICT
    """,
)
