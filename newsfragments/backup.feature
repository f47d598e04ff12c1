`jt1078relay backup FILE` copies the SQLite store while the relay runs on it.
