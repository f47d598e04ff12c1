"""Groups of users, when their sessions begin to count, API tokens that were given out, ids that were taken back.

``group_names`` holds one name a line. Of a token nothing is kept that would open anything.
"""

STATEMENTS = (
    "ALTER TABLE users ADD COLUMN group_names TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE users ADD COLUMN valid_from REAL NOT NULL DEFAULT 0",
    """
    CREATE TABLE tokens (
        id TEXT PRIMARY KEY NOT NULL,
        name TEXT NOT NULL,
        role TEXT NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
        group_names TEXT NOT NULL,
        made_by TEXT NOT NULL,
        made_at REAL NOT NULL,
        expires REAL NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE revoked (
        id TEXT PRIMARY KEY NOT NULL,
        until REAL NOT NULL
    ) STRICT
    """,
)

#: tells the relay that a command, or a person with psql, changed the users
POSTGRESQL = (
    "CREATE TRIGGER users_told AFTER INSERT OR UPDATE OR DELETE ON users FOR EACH STATEMENT EXECUTE FUNCTION jt1078relay_told()",
)
