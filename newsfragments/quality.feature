Every live channel has a quality score from 0 to 100 with its causes in words (no key frame, frozen, black, slow, jumping stamps, mute …), told from sizes and counts without
decoding: in `/api/v1/streams`, in `/metrics`, and as the event `quality.changed`.
