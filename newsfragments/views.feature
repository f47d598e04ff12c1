Every view is in the audit: who, which channel, format, how long, how many bytes, why it ended.
