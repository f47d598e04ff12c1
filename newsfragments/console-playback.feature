The console plays back what terminals have stored: a day on a time line, with pause, speed, seeking by a click, key frames and rewinding; and has files sent by FTP, with
their progress, for download as they are or as MP4.
