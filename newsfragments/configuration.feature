One TOML file configures everything; `jt1078relay check-config` tells every fault at once with its key, and `etc/jt1078relay.toml` holds every key with its default.
