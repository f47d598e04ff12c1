Media over UDP: one datagram a packet, put in order within ``media.reorder_packets`` and ``media.reorder_ms``; duplicates dropped, gaps counted as loss, NAT rebindings followed.
