A message inspector: the console, and `/api/v1/inspector`, show the messages of JT/T 808 and 809 and the heads of JT/T 1078 packets as they pass, by vehicle, superior, direction
and id, decoded field by field with their bytes, for download too. Secrets are stars; nothing is decoded while nobody looks, and who looks is audited.
