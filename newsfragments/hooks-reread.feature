SIGHUP rereads `[[hook]]`: new hooks are told from then on, changed ones keep their counters and what waits, those that are gone still get what waits for them.
