The store keeps known terminals and users in SQLite, with numbered migrations; `jt1078relay terminal add`, `list`, `remove` and `import` (CSV) work on it while the relay runs.
