"""What was learnt of terminals and models, and what people say of them instead: JSON objects by quirk."""

STATEMENTS = (
    """
    CREATE TABLE quirks (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        learnt TEXT NOT NULL,
        override TEXT NOT NULL,
        changed_at REAL NOT NULL,
        PRIMARY KEY (kind, name)
    ) STRICT
    """,
)
