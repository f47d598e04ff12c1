"""Parameter sets of one coded video, as terminals send them: once only, in a frame of their own, before every key frame or before every frame.

The latest set of each number is kept, and compared byte by byte: only a change makes a new configuration. A configuration holds what the key frame at
hand needs: the sequence set its slices name (by way of their picture set) and the picture sets that belong to that one.
"""

from __future__ import annotations

from relay.codec import h264, h265
from relay.codec.bitreader import BitReader
from relay.codec.frame import VideoConfig
from relay.codec.nalu import unescape
from relay.errors import DecodeError

#: sets of one kind remembered; H.264 allows 32 sequence sets and 256 picture sets, terminals have one of each
SETS_MAX = 16
#: bytes of a NAL unit that hold every number read here
_HEAD = 48


class ParameterSets:
    """The sets of one codec; a stream that changes its codec begins with new ones."""

    def __init__(self, codec: str) -> None:
        self.codec = codec
        self.stale = True  #: a set has changed since the last configuration
        self._video: dict[int, bytes] = {}  # VPS, H.265 only
        self._sequence: dict[int, bytes] = {}
        self._picture: dict[int, bytes] = {}
        self._old: set[int] = set()  # picture sets that have not come again since their sequence set changed
        self._same: set[bytes] = set()  # have come again since anything changed: to be known by a look
        self._config: VideoConfig | None = None
        self._active = -1  # number of the sequence set in use

    def remember(self, nalu: bytes) -> bool:
        """Take in an SPS, PPS or VPS; True if it is new or changed. A broken one is refused with DecodeError, and what was there stays."""
        if nalu in self._same and not self._old:  # nearly always
            return False
        if self.codec == "h264":
            sequence = nalu[0] & 0x1F == h264.NAL_SPS
            known = self._sequence if sequence else self._picture
            number = h264.parse_sps(nalu).seq_parameter_set_id if sequence else h264.parameter_set_id(nalu)
        else:
            kind = nalu[0] >> 1 & 0x3F
            known = {h265.NAL_VPS: self._video, h265.NAL_SPS: self._sequence}.get(kind, self._picture)
            number = h265.parameter_set_id(nalu)
        if known is self._picture:
            self._sequence_number(nalu)
            self._old.discard(number)
        if known.get(number) == nalu:
            self._same.add(nalu)
            return False
        if known is self._sequence and number in known:
            self._old.update(other for other, picture in self._picture.items() if self._sequence_number(picture) == number)
        if number not in known and len(known) >= SETS_MAX:
            del known[next(iter(known))]
        known[number] = nalu
        self._same.clear()
        self.stale = True
        return True

    @property
    def complete(self) -> bool:
        """There is what a configuration needs."""
        return bool(self._sequence and self._picture)

    @property
    def one_sequence(self) -> bool:
        """No slice can name another sequence set, and with it another configuration, than the one in use."""
        return len(self._sequence) == 1

    @property
    def sequence(self) -> bytes:
        """The sequence set in use."""
        return self._sequence[self._active]

    def counter(self, slice_: bytes) -> h264.PocCounter | h265.PocCounter | None:
        """Counts pictures in the order they are shown in, from the key frame that begins with this slice; None where the stream has no counts."""
        if self.codec == "h264":
            sps = h264.parse_sps(self.sequence)
            return h264.PocCounter(sps) if sps.may_reorder and sps.pic_order_cnt_type == 0 else None
        return h265.PocCounter(h265.parse_sps(self.sequence), self.picture_set(slice_))

    def picture_set(self, slice_: bytes) -> h265.Pps:
        """The picture set of H.265 that a slice names."""
        known = self._picture.get(self._picture_number(slice_))
        if known is None:
            raise DecodeError("slice header", 0, "names a picture set that has not come")
        return h265.parse_pps(known)

    def configuration(self, slice_: bytes) -> VideoConfig | None:
        """What the key frame that begins with this slice needs: the same object as long as nothing has changed; None while sets are missing.

        DecodeError for sets that make no configuration.
        """
        if not self.complete:
            return None
        if self._old and any(number not in self._old for number in self._picture):
            for number in self._old:
                self._picture.pop(number, None)
            self._old.clear()
        one = len(self._sequence) == 1 == len(self._picture)
        if one and not self.stale:
            return self._config
        if one:
            number = next(iter(self._sequence))
            pictures = list(self._picture.values())
        else:
            needed = self._picture.get(self._picture_number(slice_))
            if needed is None:
                return None
            number = self._sequence_number(needed)
            pictures = [nalu for nalu in self._picture.values() if self._sequence_number(nalu) == number]
        if number == self._active and not self.stale:
            return self._config
        sequence = self._sequence.get(number)
        if sequence is None:
            return None
        config = (
            h264.video_config([sequence], pictures)
            if self.codec == "h264"
            else h265.video_config(list(self._video.values()), [sequence], pictures)
        )
        self.stale = False
        self._active = number
        if config != self._config:
            self._config = config
        return self._config

    def _picture_number(self, slice_: bytes) -> int:
        """pic_parameter_set_id of a slice."""
        bits = BitReader(unescape(slice_[:_HEAD]), "slice header")
        if self.codec == "h264":
            bits.skip(8)
            bits.ue()  # first_mb_in_slice
            bits.ue()  # slice_type
            return bits.ue_max(255, "pic_parameter_set_id")
        bits.skip(17)  # NAL unit header, first_slice_segment_in_pic_flag
        if h265.is_irap(slice_[0] >> 1 & 0x3F):
            bits.skip(1)
        return bits.ue_max(63, "slice_pic_parameter_set_id")

    def _sequence_number(self, picture: bytes) -> int:
        """seq_parameter_set_id of a picture set."""
        if self.codec == "h265":
            return h265.parse_pps(picture).seq_parameter_set_id
        bits = BitReader(unescape(picture[:_HEAD]), "PPS")
        bits.skip(8)
        bits.ue()
        return bits.ue_max(31, "seq_parameter_set_id")
