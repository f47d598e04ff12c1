Terminals that answer late, twice or under another message's id: each has a name of its own (`terminal.late_answer`, a count, `wrong_reply`).
