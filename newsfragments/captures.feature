`jt1078relay decode --pcap` reads pcap and pcapng files: TCP connections are put together, every JT/T 808, 809 and 1078 message is shown in the order of time with its
connection and direction, for people or as JSON lines. Hex dumps with offsets and ASCII columns (xxd, hexdump, Wireshark) are taken wherever hex is pasted.
