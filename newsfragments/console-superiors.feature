The console shows superior platforms: their links, queues and counters, with connecting, disconnecting and the time-efficient passwords, and what they want a person to answer
(post queries, supervision) with the time that is left; the navigation says how many wait.
