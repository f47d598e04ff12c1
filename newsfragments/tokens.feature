Signed, expiring tokens open media, pages and the API; `jt1078relay token` makes them, and keys rotate.
