"""RTMP (Adobe RTMP 1.0, Enhanced RTMP v2) without I/O: handshake, chunks, commands, the two roles we play (server for players, client that publishes)."""
