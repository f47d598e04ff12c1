`store.url = "postgresql://…"` keeps everything in PostgreSQL instead of SQLite (extra `postgres`); `store.password` may come from a file or the environment. See docs/store.md.
