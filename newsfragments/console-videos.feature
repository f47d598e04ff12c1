The console's playback page records a channel on the relay, lists what was recorded of a day, plays it and gives it away as MP4.
