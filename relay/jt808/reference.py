"""The reference page of JT/T 808: ``python -m relay.jt808.reference > docs/reference/jt808.md``."""

from __future__ import annotations

import sys

from relay.jt808.items import ITEMS
from relay.jt808.messages import MESSAGES
from relay.jt808.params import PARAMETERS
from relay.wire.reference import page

EDITIONS = (2011, 2013, 2019)

INTRO = """Written from the declarations in `relay/jt808`; do not edit. `python -m relay.jt808.reference > docs/reference/jt808.md` writes it again.

Big-endian throughout. BYTE, WORD, DWORD, QWORD: unsigned 8, 16, 32, 64 bits. BCD[n]: n bytes of packed digits. STRING: GBK; STRING[n]: fixed
width, padded with NULs. "BYTE n + STRING[n]": a length before it. "…" as offset: behind a field of varying size. Times are GMT+8, `YYMMDDhhmmss`.
Names are those of `decode`, `encode` and the API."""


def reference() -> str:
    """The page."""
    return page(
        "JT/T 808 and the signalling of JT/T 1078",
        INTRO,
        MESSAGES,
        [("Additional items of a location (位置附加信息项)", ITEMS), ("Parameters of the terminal (终端参数)", PARAMETERS)],
        EDITIONS,
        {"up": "terminal → platform", "down": "platform → terminal"},
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
