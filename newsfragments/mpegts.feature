`/live/{sim}_{ch}.ts` gives a channel as MPEG-TS, H.264 and H.265, with AAC (the extra `media`), or the terminal's own sound by `audio=source`; `[audio] ts` sets what is carried by default.
