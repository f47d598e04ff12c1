Recordings can be fetched from terminals as files (0x9206) into an embedded FTP server that only takes them: tasks that wait until the vehicle is online, pause, resume and cancel
(0x9207), survive restarts and full disks, and end with a named reason; files by HTTP with ranges, and as MP4 on demand. New section `[ftp]`; see docs/playback.md.
