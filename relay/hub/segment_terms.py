"""What the first playlist of a stream promises and no later one may change: target duration, parts, whether every segment begins with a key frame."""

from __future__ import annotations

from math import ceil

from relay.mux.playlist import Terms

TARGET_MIN_S = 4  #: terminals' groups of pictures last one to four seconds, and a switch of streams may bring another length
TARGET_UNKNOWN_S = 10
TARGET_MAX_S = 30
CUT_SHARE = 0.9  #: a key frame cuts when so much of ``segment_s`` has passed: stamps tremble
PART_SHARE = 0.85  #: parts are at least so much of their target (rfc8216bis 4.4.3.7)


def choose_terms(wanted: float, part: float, key_step: float | None, first: float, count: int, clean: bool) -> Terms:
    """For segments of ``wanted`` seconds and parts of ``part`` (0 = none), all in seconds.

    ``key_step``: between key frames, 0 = not known, None = there is no picture; ``first``: how long the first segment lasts, of ``count`` pictures;
    ``clean``: the second begins with a key frame.
    """
    if key_step is None:
        target, independent = max(TARGET_MIN_S, ceil(wanted) + 1), True
    elif key_step:
        lasts = ceil(wanted * CUT_SHARE / key_step) * key_step
        target, independent = min(max(TARGET_MIN_S, ceil(max(lasts, first)) + 1), TARGET_MAX_S), clean and lasts < TARGET_MAX_S
    else:
        target, independent = TARGET_UNKNOWN_S, False
    if part:
        each = first / max(count, 1)
        fit = int(part / each + 0.001)
        if fit * each < PART_SHARE * part:  # pictures so rare that parts of the wanted length would not be filled
            part = round(max(fit, 1) * each * 1.05, 3)
    return Terms(target, part, independent)
