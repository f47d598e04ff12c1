What terminals have recorded can be searched (0x9205, lists of thousands arrive whole) and played back (0x9201): pause, speed, key frames, rewind and seek (0x9202), any number of
viewers at `/playback/{id}.flv` and the other endings, a clean end, and a stop that is watched when nobody does. See docs/playback.md.
