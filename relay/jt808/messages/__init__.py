"""JT/T 808 message classes, one module a topic; importing this package registers them all."""
