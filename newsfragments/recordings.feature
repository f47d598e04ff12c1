`[log] record_dir` and `record` write every byte of a terminal's connections to a file; `jt1078relay replay` lists it, scrubs numbers, plates, names and secrets from it, and
plays it against a relay at any speed, with codes, serials and media addresses fitted to that relay.
