"""Segments and parts: where they are cut, what a playlist says of them, who waits, what is kept."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from relay.codec.frame import AudioConfig, VideoConfig
from relay.errors import UsageError
from relay.hub import segments
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.poller import SegmentsError, SegmentViewer
from relay.hub.segments import SegmentOutput
from relay.hub.stream import Stream
from tests.hub.support import G711, FakeSource, Hub

H264 = VideoConfig("h264", (b"\x67sps", b"\x68pps"), b"record", 352, 288, "avc1.42001E")
H265 = replace(H264, codec="h265", rfc6381="hvc1.1.6.L93.90")
OTHER = replace(H264, width=704)
AAC = AudioConfig("aac", 8000, 1, extra=b"\x15\x88")
HLS = OutputFormat("hls", media="v")
PICTURE = b"\x00\x00\x00\x02\x61x"


class World(Hub):
    """A hub whose time goes with the frames."""

    def __init__(self, **options: Any) -> None:
        super().__init__(real=True, hls_audio="source", **options)
        self.stream: Stream = self.open()
        self.polling: list[SegmentViewer] = []

    def pictures(self, count: int, gop: int, step: int = 40, begin: int = 0, config: VideoConfig = H264) -> None:
        """``count`` pictures, every ``gop``-th a key frame."""
        for number in range(begin, begin + count):
            self.clock.advance(step / 1000)
            for viewer in self.polling:
                viewer.poll(0)
            self.feed(self.stream, "P" if number % gop else "K", PICTURE, config, step)

    def join(self, fmt: OutputFormat = HLS) -> tuple[SegmentOutput, SegmentViewer]:
        viewer = self.stream.join_segments(fmt)
        self.polling.append(viewer)
        return viewer.output, viewer


def listed(output: SegmentOutput) -> list[tuple[float, str]]:
    """(EXTINF, address without key) of what a playlist names."""
    text = output.playlist().decode()
    return [(float(length), uri) for length, uri in re.findall(r"#EXTINF:([0-9.]+),\n([0-9]+\.\w+)\?key=", text)]


def tag(output: SegmentOutput, name: str) -> str:
    found = re.search(rf"^#EXT-X-{name}:(.*)$", output.playlist().decode(), re.MULTILINE)
    return found.group(1) if found else ""


def fired(deferred: Deferred[None]) -> list[object]:
    results: list[object] = []
    deferred.addBoth(results.append)
    return results


# cutting ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("gop", "lengths", "target"), [(25, 2.0, 4), (50, 2.0, 4), (75, 3.0, 4), (100, 4.0, 5), (40, 3.2, 5)])
def test_segments_are_whole_groups_of_pictures(gop: int, lengths: float, target: int) -> None:
    world = World()
    world.pictures(2 * gop, gop)  # it has run for a while
    output, _ = world.join()
    world.pictures(700, gop, begin=2 * gop)
    assert int(tag(output, "TARGETDURATION")) == target
    later = [length for length, _ in listed(output)][-4:]
    assert later == [lengths] * 4
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in output.playlist().decode() or gop > 62


def test_nobody_waits_for_the_end_of_a_long_group_and_the_target_never_changes() -> None:
    world = World()
    output, _ = world.join()
    world.pictures(60, 1000)
    assert not output.ready
    world.pictures(3, 1000, begin=60)
    assert output.ready
    assert listed(output)[0][0] == 2.48
    assert tag(output, "TARGETDURATION") == "10"
    world.pictures(1500, 1000, begin=63)
    assert tag(output, "TARGETDURATION") == "10"
    assert max(length for length, _ in listed(output)) <= 10.0
    assert "#EXT-X-INDEPENDENT-SEGMENTS" not in output.playlist().decode()


def test_after_a_cut_at_a_plain_picture_the_next_key_frame_cuts_at_once() -> None:
    world = World()
    world.pictures(50, 25)
    output, _ = world.join()
    world.pictures(150, 25, begin=50)
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in output.playlist().decode()
    world.pictures(500, 150, begin=150)  # now six seconds between key frames
    lengths = [length for length, _ in listed(output)]
    assert max(lengths) <= 4.0
    assert (4.0, 2.0) in list(pairwise(lengths))
    assert tag(output, "TARGETDURATION") == "4"
    assert "#EXT-X-INDEPENDENT-SEGMENTS" not in output.playlist().decode()


@pytest.mark.parametrize(("step", "part_target", "most"), [(40, 0.5, 0.48), (143, 0.5, 0.429), (100, 0.5, 0.5), (333, 0.35, 0.333), (1000, 1.05, 1.0)])
def test_parts_fill_their_target_and_never_exceed_it(step: int, part_target: float, most: float) -> None:
    world = World()
    gop = max(2000 // step, 2)
    world.pictures(2 * gop, gop, step)
    output, _ = world.join()
    world.pictures(20 * gop, gop, step, begin=2 * gop)
    text = output.playlist().decode()
    assert float(tag(output, "PART-INF").removeprefix("PART-TARGET=")) == part_target
    parts = [float(length) for length in re.findall(r"#EXT-X-PART:DURATION=([0-9.]+)", text)]
    assert max(parts) == most
    assert max(parts) <= part_target
    blocks = re.findall(r"((?:#EXT-X-PART:.*\n)+)#EXTINF:([0-9.]+)", text)
    assert blocks
    for block, length in blocks:
        durations = [float(one) for one in re.findall(r"DURATION=([0-9.]+)", block)]
        assert sum(durations) == pytest.approx(float(length), abs=0.01)
        assert all(one >= 0.85 * part_target for one in durations[:-1])
        assert block.count("INDEPENDENT=YES") >= 1


def test_parts_are_listed_for_three_target_durations_and_give_the_segment() -> None:
    world = World()
    output, _ = world.join()
    world.pictures(600, 50)
    text = output.playlist().decode()
    named = {int(number) for number in re.findall(r'URI="([0-9]+)\.[0-9]+\.m4s', text)}
    assert named
    assert min(named) > int(listed(output)[0][1].partition(".")[0])
    number = min(named)
    whole = output.pieces(number)
    assert whole is not None
    assert [output.pieces(number, part) for part in range(len(whole))] == [[piece] for piece in whole]
    assert all(piece[4:8] == b"moof" for piece in whole)
    assert output.init_segment(0) is not None


def test_the_list_moves_on_and_what_left_it_is_kept_a_little() -> None:
    world = World()
    output, _ = world.join()
    world.pictures(1500, 50)
    assert [uri for _, uri in listed(output)] == [f"{number}.m4s" for number in range(22, 29)]
    assert tag(output, "MEDIA-SEQUENCE") == "22"
    assert output.pieces(18) is None
    assert output.pieces(19) is not None
    assert output.pieces(29) is None  # it grows
    assert output.pieces(40) is None
    assert output.pieces(22, 99) is None


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "BYTES_MAX", 100000)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 30000)
    world = World()
    output, _ = world.join()
    for number in range(300):
        data = (5000).to_bytes(4, "big") + b"\x61" * 5000
        world.clock.advance(0.04)
        world.polling[0].poll(0)
        world.feed(world.stream, "P" if number % 50 else "K", data, H264)
        held = [output.pieces(number) or [] for number in range(200)]
        assert sum(len(piece) for pieces in held for piece in pieces) <= 130000
    assert listed(output)
    assert max(len(b"".join(output.pieces(int(uri.partition(".")[0])) or [])) for _, uri in listed(output)) <= 36000


def test_a_running_stream_has_a_segment_at_once() -> None:
    world = World()
    world.pictures(370, 100)  # the cached group has lasted 2.8 s
    output, _ = world.join()
    world.clock.advance(0.01)
    assert output.ready
    assert listed(output)[0][1] == "0.m4s"


def test_without_a_cached_group_it_begins_with_the_next_key_frame() -> None:
    world = World(gop_frames=5)
    world.pictures(30, 50)
    assert world.stream.gop.frames == []
    output, _ = world.join()
    world.pictures(20, 50, begin=30)
    world.pictures(60, 50, begin=50)
    assert output.ready
    assert listed(output)[0][0] == 2.0
    assert "#EXT-X-INDEPENDENT-SEGMENTS" in output.playlist().decode()


# changes ---------------------------------------------------------------------------------


def test_another_description_is_a_discontinuity_with_its_own_initialisation_segment() -> None:
    world = World()
    output, _ = world.join()
    world.pictures(110, 50)
    world.pictures(200, 50, config=OTHER)
    text = output.playlist().decode()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    before, after = text.split("#EXT-X-DISCONTINUITY\n")
    assert 'EXT-X-MAP:URI="init-0.mp4' in before
    assert 'EXT-X-MAP:URI="init-1.mp4' in after
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:0" in before
    world.pictures(1000, 50, config=OTHER)
    text = output.playlist().decode()
    assert "#EXT-X-DISCONTINUITY\n" not in text
    assert "#EXT-X-DISCONTINUITY-SEQUENCE:1\n" in text
    assert output.init_segment(0) is None
    assert output.init_segment(1) is not None


def test_another_connection_is_a_discontinuity() -> None:
    world = World()
    output, viewer = world.join()
    world.pictures(110, 50)
    world.open(source=FakeSource("other"))
    world.dts += 5000
    world.pictures(110, 50)
    assert output.playlist().decode().count("#EXT-X-DISCONTINUITY\n") == 1
    assert max(length for length, _ in listed(output)) <= 4
    assert not viewer.closed


def test_sound_of_another_codec_waits_for_the_next_key_frame() -> None:
    world = World()
    world.feed(world.stream, "A", b"a", AAC)
    world.pictures(1, 50)
    output, _ = world.join(OutputFormat("hls"))
    for number in range(1, 60):
        world.pictures(1, 50, begin=number)
        world.feed(world.stream, "A", b"a", AAC, 0)
    assert output.audio == AAC
    stereo = AudioConfig("aac", 16000, 2, extra=b"\x14\x10")
    world.feed(world.stream, "A", b"b", stereo, 0)
    assert "#EXT-X-DISCONTINUITY\n" not in output.playlist().decode()
    for number in range(60, 210):
        world.pictures(1, 50, begin=number)
        world.feed(world.stream, "A", b"b", stereo, 0)
    text = output.playlist().decode()
    assert text.count("#EXT-X-DISCONTINUITY\n") == 1
    assert text.count("EXT-X-MAP") == 2


def test_a_picture_that_a_container_cannot_carry_ends_it() -> None:
    world = World()
    fmt = OutputFormat("hls", media="av", audio="source")
    world.feed(world.stream, "A", b"a", G711)
    with pytest.raises(UnsupportedTrackError):
        world.stream.join_segments(fmt)
    with pytest.raises(UsageError):
        world.stream.join_segments(OutputFormat())


@pytest.mark.parametrize("container", ["hls", "hls-ts"])
def test_h265_goes_in_both(container: str) -> None:
    world = World(ts_audio="none")
    output, _ = world.join(OutputFormat(container, media="v"))
    world.pictures(200, 50, config=H265)
    assert len(listed(output)) >= 3
    assert ("EXT-X-MAP" in output.playlist().decode()) == (container == "hls")
    assert ("EXT-X-PART" in output.playlist().decode()) == (container == "hls")


def test_sound_alone_is_cut_by_time() -> None:
    world = World()
    output, _ = world.join(OutputFormat("hls", media="a"))
    for _ in range(60):
        world.clock.advance(0.128)
        world.feed(world.stream, "A", b"a", AAC, 128)
    assert [length for length, _ in listed(output)] == pytest.approx([2.048] * 3)
    assert "INDEPENDENT=YES" in output.playlist().decode()


# waiting ---------------------------------------------------------------------------------


def test_a_reload_waits_for_the_part_it_names() -> None:
    world = World()
    output, _ = world.join()
    first = fired(output.wait(-1, None))
    world.pictures(51, 50)
    assert first == [None]
    assert output.edge == (1, 0)
    part = fired(output.wait(1, 0))
    beyond = fired(output.wait(0, 7))  # one beyond a whole segment: the first of the next
    whole = fired(output.wait(1, None))
    assert output.has(0, None)
    assert fired(output.wait(0, 0)) == [None]
    world.pictures(11, 50, begin=51)
    assert (part, beyond) == ([], [])
    world.pictures(1, 50, begin=62)
    assert (part, beyond, whole) == ([None], [None], [])
    assert 'PRELOAD-HINT:TYPE=PART,URI="1.1.m4s' in output.playlist().decode()
    world.pictures(38, 50, begin=63)
    assert whole == [None]


def test_every_hint_comes_true() -> None:
    world = World()
    output, _ = world.join()
    hints = []
    for number in range(500):
        world.pictures(1, 37, begin=number)
        if output.ready:
            hint = re.search(r'PRELOAD-HINT:TYPE=PART,URI="([0-9]+)\.([0-9]+)', output.playlist().decode())
            assert hint
            at = int(hint.group(1)), int(hint.group(2))
            if not hints or hints[-1] != at:
                hints.append(at)
    newest = [(number, part) for number, part in hints[:-1] if number >= hints[-1][0] - 5]
    assert len(newest) > 10
    assert all(output.pieces(number, part) for number, part in newest)


def test_waiting_ends_with_the_stream_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    output, viewer = world.join()
    world.pictures(60, 50)
    waiting = fired(output.wait(5, None))
    monkeypatch.setattr(segments, "WAITS_MAX", 1)
    refused = fired(output.wait(5, None))
    assert refused[0].value.reason == "busy"  # type: ignore[attr-defined]
    world.stream.end("stopped")
    assert waiting == [None]  # a playlist with its end is something new
    assert output.playlist().endswith(b"#EXT-X-ENDLIST\n")
    assert b"PRELOAD-HINT" not in output.playlist()
    assert viewer.closed == "stopped"
    assert world.registry.segment_waits.count == 0
    assert fired(output.wait(9, None)) == [None]


def test_a_stream_that_ends_before_its_first_segment_says_so() -> None:
    world = World()
    output, _ = world.join()
    waiting = fired(output.wait(-1, None))
    world.stream.end("stopped")
    assert isinstance(waiting[0].value, SegmentsError)  # type: ignore[attr-defined]


def test_leaving_a_wait_gives_its_place_back() -> None:
    world = World()
    output, _ = world.join()
    waiting = output.wait(-1, None)
    assert world.registry.segment_waits.count == 1
    waiting.addErrback(lambda _: None)
    waiting.cancel()
    assert world.registry.segment_waits.count == 0
    world.pictures(60, 50)


# viewers ---------------------------------------------------------------------------------


def test_a_viewer_that_stops_asking_is_closed_and_its_output_goes() -> None:
    world = World(reconnect_s=1000.0)
    output, viewer = world.join()
    closed: list[str] = []
    viewer.on_close(lambda _, cause: closed.append(cause))
    world.pictures(100, 50)
    assert world.stream.viewer_count() == 1
    assert world.stream.viewers()[0].id == viewer.id
    world.clock.advance(8)
    viewer.poll(100)
    world.clock.advance(11)
    assert not closed
    world.clock.pump([1.0] * 3)
    assert closed == ["stopped asking"]
    assert world.stream.viewer_count() == 0
    world.clock.pump([1.0] * 6)
    assert world.stream.outputs() == []
    assert output.ended == "unwatched"


def test_an_operator_can_close_one() -> None:
    world = World()
    _, viewer = world.join()
    assert world.stream.kick(viewer.id)
    assert viewer.closed == "kicked"
    late: list[str] = []
    viewer.on_close(lambda _, cause: late.append(cause))
    assert late == ["kicked"]


# delta updates ------------------------------------------------------------------------------


def test_a_delta_update_leaves_out_what_is_older_than_six_target_durations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LISTED", 30)
    world = World()
    output, _ = world.join()
    world.pictures(1600, 50)
    whole, delta = output.playlist().decode(), output.playlist(skip=True).decode()
    skipped = int(re.findall(r"#EXT-X-SKIP:SKIPPED-SEGMENTS=(\d+)", delta)[0])
    assert skipped >= 10
    assert delta.count("#EXTINF") == whole.count("#EXTINF") - skipped
    assert "EXT-X-MAP" not in delta  # the same as that of the skipped ones
    assert tag(output, "SERVER-CONTROL").endswith("CAN-SKIP-UNTIL=24.0")
    assert "#EXT-X-SKIP" not in whole


def test_sound_that_comes_before_the_first_segment_is_whole_is_in_it() -> None:
    world = World()
    output, _ = world.join(OutputFormat("hls"))
    world.pictures(20, 50)
    assert output.opened
    assert output.audio is None
    for number in range(20, 60):
        world.pictures(1, 50, begin=number)
        world.feed(world.stream, "A", b"a", AAC, 0)
    text = output.playlist().decode()
    assert "EXT-X-DISCONTINUITY\n" not in text
    assert text.count("EXT-X-MAP") == 1
    init = output.init_segment(0)
    assert init is not None
    assert init.count(b"trak") == 2
    assert output.inits.keys() == {0}
