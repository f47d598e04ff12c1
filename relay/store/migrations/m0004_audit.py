"""Who did what: views, talks, commands, downloads, settings; superiors too."""

STATEMENTS = (
    """
    CREATE TABLE audit (
        id INTEGER PRIMARY KEY,
        time REAL NOT NULL,
        who TEXT NOT NULL,
        action TEXT NOT NULL,
        subject TEXT NOT NULL,
        detail TEXT NOT NULL,
        address TEXT NOT NULL,
        bytes INTEGER NOT NULL
    ) STRICT
    """,
    "CREATE INDEX audit_time ON audit (time)",
    "CREATE INDEX audit_who ON audit (who, time)",
    "CREATE INDEX audit_subject ON audit (subject, time)",
)
