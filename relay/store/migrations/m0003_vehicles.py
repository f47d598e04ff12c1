"""What else is known of a terminal: its group, its channels' names, the vehicle's static data (JT/T 809 CAR_INFO of 0x1601), more aliases.

``channels`` is a JSON object of channel number to name, ``details`` one of CAR_INFO's keys (VEHICLE_TYPE, OWERS_NAME …) to text.
"""

STATEMENTS = (
    "ALTER TABLE terminals ADD COLUMN group_name TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE terminals ADD COLUMN channels TEXT NOT NULL DEFAULT '{}'",
    "ALTER TABLE terminals ADD COLUMN details TEXT NOT NULL DEFAULT '{}'",
    """
    CREATE TABLE aliases (
        alias TEXT PRIMARY KEY NOT NULL,
        key TEXT NOT NULL REFERENCES terminals (key) ON DELETE CASCADE
    ) STRICT
    """,
    "CREATE INDEX aliases_key ON aliases (key)",
)

#: tells the relay that a command, or a person with psql, changed the known terminals
POSTGRESQL = (
    """
    CREATE FUNCTION jt1078relay_told() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('jt1078relay', TG_TABLE_NAME);
        RETURN NULL;
    END $$
    """,
    "CREATE TRIGGER terminals_told AFTER INSERT OR UPDATE OR DELETE ON terminals FOR EACH STATEMENT EXECUTE FUNCTION jt1078relay_told()",
    "CREATE TRIGGER aliases_told AFTER INSERT OR UPDATE OR DELETE ON aliases FOR EACH STATEMENT EXECUTE FUNCTION jt1078relay_told()",
)
