"""What superiors want a person to answer (``core.superior_requests``): so that it can still be answered after a restart."""

STATEMENTS = (
    """
    CREATE TABLE person_requests (
        id INTEGER PRIMARY KEY NOT NULL,
        superior TEXT NOT NULL,
        kind TEXT NOT NULL,
        received_at REAL NOT NULL,
        deadline REAL NOT NULL,
        text TEXT NOT NULL,
        details TEXT NOT NULL,
        origin TEXT NOT NULL,
        state TEXT NOT NULL,
        answer TEXT NOT NULL,
        answered_at REAL,
        answered_by TEXT NOT NULL
    ) STRICT
    """,
)
