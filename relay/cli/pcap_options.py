"""The options of ``decode`` that belong to captures; apart, so that the command's help imports no protocol."""

from __future__ import annotations

import argparse
from pathlib import Path

_PROTOCOLS = {"808": "jt808", "809": "jt809", "1078": "jt1078"}


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add them."""
    parser.add_argument("--pcap", metavar="FILE", type=Path, help="a capture of tcpdump or Wireshark (pcap, pcapng, also gzipped), or a recording of the relay")
    parser.add_argument(
        "--port", metavar="N=PROTOCOL", action="append", default=[], type=_port, help="with --pcap: what is spoken on a port (default: told by the bytes)"
    )
    parser.add_argument("--connection", metavar="N", type=int, help="with --pcap: this connection alone, by its number")
    parser.add_argument("--brief", action="store_true", help="with --pcap: one line a message")


def _port(text: str) -> tuple[int, str]:
    number, _, word = text.partition("=")
    if not number.isdigit() or not 0 < int(number) < 65536 or word.removeprefix("jt") not in _PROTOCOLS:
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT=PROTOCOL, as 7808=jt808")
    return int(number), _PROTOCOLS[word.removeprefix("jt")]
