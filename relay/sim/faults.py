"""What a simulated terminal does wrong on purpose. Each fault has been seen in the field or is what a test of the relay needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from relay.errors import RelayError


class FaultError(RelayError):
    """A fault that does not exist, or a value it cannot have."""


class Kind(NamedTuple):
    """One fault: the value it has when none is given (None: it takes none), and what it does."""

    default: float | None
    help: str
    low: float = 0
    high: float = 1e9


FAULTS: Mapping[str, Kind] = {
    # signalling
    "no-answer": Kind(0x9101, "no answer to this message id (hexadecimal; default 9101) and nothing done about it", 0, 0xFFFF),
    "refuse": Kind(1, "answer 0x9101 with this result: 1 failure, 2 message error, 3 not supported", 1, 3),
    "slow-answers": Kind(3, "answer everything so many seconds late"),
    "other-serial": Kind(None, "special answers name a serial that nobody used"),
    "half-list": Kind(None, "of an answer in pieces only the first half, and none again when asked for"),
    "answers-twice": Kind(None, "every answer twice"),
    "wrong-reply-id": Kind(None, "general answers that name another message"),
    "no-photo": Kind(None, "fail to take pictures"),
    "lose-piece": Kind(None, "leave the second piece of every picture out until it is asked for"),
    "silent-heartbeat": Kind(None, "neither heartbeats nor positions"),
    "endless-subpackages": Kind(None, "a long message whose last piece never comes, again and again"),
    "wrong-auth": Kind(None, "authenticate with a wrong code"),
    "no-register": Kind(None, "neither register nor authenticate, just report positions"),
    # the media connection
    "connect-late": Kind(5, "connect so many seconds after the answer"),
    "never-connect": Kind(None, "answer 0x9101 but never connect"),
    "media-before-answer": Kind(1, "connect and send; answer 0x9101 so many seconds later"),
    "keeps-sending": Kind(None, "acknowledge 0x9102 but go on sending"),
    "reconnect-media": Kind(1, "connect again so many seconds after the platform closed the media connection"),
    "drop-media": Kind(10, "close the media connection after so many seconds"),
    "playback-ends-live": Kind(None, "live media of a channel ends when playback of it begins"),
    "silent-end": Kind(None, "at the end of a recording keep the connection and fall silent"),
    "stall-media": Kind(10, "stop sending after so many seconds and keep the connection"),
    "talk-silent": Kind(None, "send nothing when called"),
    "talk-after-downlink": Kind(None, "speak only after something was heard"),
    "talk-echo": Kind(None, "send back what is heard, instead of the tone"),
    # uploads
    "upload-never": Kind(None, "agree to 0x9206 and never connect"),
    "upload-stops": Kind(50, "stop after so many per cent of the first file, until told to resume", 0, 100),
    "upload-fails": Kind(None, "send everything, and report a failure (0x1206 result 1)"),
    "upload-unconfirmed": Kind(None, "send everything, and no 0x1206"),
    "upload-rate": Kind(100000, "send so many bytes a second", 1),
    # attachments of alarms
    "attachment-gap": Kind(None, "leave out a chunk of the first attachment until it is asked for"),
    "attachment-half": Kind(None, "close the connection in the middle of the first attachment, and come back"),
    "attachment-path": Kind(None, "name attachments like paths"),
    "attachment-size": Kind(None, "announce attachments with half their size"),
    # packets
    "wrong-sim": Kind(13900000000, "another terminal's SIM number in the packets", 0, 1e12),
    "sim-bytes": Kind(10, "a SIM field of so many bytes", 6, 10),
    "binary-sim": Kind(None, "the SIM number as a binary integer in the last four bytes"),
    "loss": Kind(5, "leave out so many per cent of the packets", 0, 100),
    "garbage": Kind(50, "up to so many bytes of noise before every twentieth packet", 1, 65536),
    "duplicates": Kind(5, "UDP: send so many per cent of the packets twice", 0, 100),
    "reorder": Kind(5, "UDP: send so many per cent of the packets after their successor", 0, 100),
    "body": Kind(1400, "packet bodies of so many bytes (the standard allows 950)", 1, 65535),
    "wrong-marks": Kind(None, "every packet marked as atomic, none as the last one of its frame"),
    "wrong-types": Kind(None, "every picture marked as an I frame"),
    "frozen-stamps": Kind(None, "time stamps that never change"),
    "jumping-stamps": Kind(10, "time stamps that jump back six seconds every so many seconds", 0.1),
    # content
    "no-key-frames": Kind(None, "never a key frame"),
    "late-key-frame": Kind(3, "the first key frame after so many seconds"),
    "no-audio": Kind(None, "never a packet of sound, whatever was asked for"),
    "no-video": Kind(None, "never a packet of picture, whatever was asked for"),
    "hisi": Kind(None, "HiSilicon's four bytes before every block of sound"),
    "burst": Kind(5, "send the first so many seconds at once, as a terminal that had recorded them", 0, 60),
}


@dataclass(frozen=True, slots=True)
class Faults:
    """A set of faults; empty for a terminal that behaves."""

    values: Mapping[str, float] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.values

    def get(self, name: str) -> float:
        """The value of a fault, 0 without it."""
        return self.values.get(name, 0.0)

    @classmethod
    def parse(cls, words: Iterable[str]) -> Faults:
        """From ``name`` and ``name=value``; raises FaultError with what is possible."""
        values: dict[str, float] = {}
        for word in words:
            name, _, text = word.partition("=")
            kind = FAULTS.get(name)
            if kind is None:
                raise FaultError(f"there is no fault {name!r}; there are: {', '.join(FAULTS)}")
            if not text:
                values[name] = kind.default if kind.default is not None else 1.0
                continue
            if kind.default is None:
                raise FaultError(f"the fault {name} takes no value")
            try:
                value = float(int(text, 16)) if name == "no-answer" else float(text)
            except ValueError:
                raise FaultError(f"{word}: not a number") from None
            if not kind.low <= value <= kind.high:
                raise FaultError(f"{word}: from {kind.low:g} to {kind.high:g}")
            if name == "sim-bytes" and value not in (6, 10):
                raise FaultError(f"{word}: 6 or 10")
            values[name] = value
        return cls(values)


NO_FAULTS = Faults()
