"""A stream to its viewers: what a viewer begins with, what it gets, changes of configuration, sources that come and go."""

from __future__ import annotations

import pytest

from relay.codec.frame import AUDIO, Frame
from relay.errors import UsageError
from relay.hub.formats import Options, OutputFormat, UnsupportedTrackError
from relay.hub.registry import Admitted, Refusal
from relay.hub.stream import NotReadyError, Stream, StreamState
from relay.identity import StreamKey
from tests.hub.support import AAC, ADPCM, FLAC, G711, HEVC, KEY, LARGE, SMALL, FakeSink, FakeSource, Hub, TextMuxer

V = OutputFormat(media="v")
AV = OutputFormat(audio="source")


# beginning ------------------------------------------------------------------------------------------------------


def test_a_late_viewer_begins_with_headers_and_the_cached_gop_in_one_send() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KPPKPP")
    sink, viewer = hub.view(stream)
    assert sink.pieces() == ["{head h264:352 -}", "[K 160 x]", "[P 200 x]", "[P 240 x]"]
    assert len(sink.sends) == 1
    assert viewer.state == "live"
    hub.feed(stream, "P")
    assert sink.pieces()[-1] == "[P 280 x]"
    assert len(sink.sends) == 2


def test_the_response_head_goes_with_the_burst() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    sink, _ = hub.view(stream, preamble=b"{HTTP}")
    assert sink.pieces() == ["{HTTP}", "{head h264:352 -}", "[K 40 x]", "[P 80 x]"]
    assert len(sink.sends) == 1


def test_before_a_large_burst_the_head_is_a_send_of_its_own_so_that_the_burst_stays_shared() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K", b"y" * 50000)
    seen: list[int] = []

    class Sink(FakeSink):
        def send(self, data: bytes) -> int:
            seen.append(id(data))
            return super().send(data)

    first, second = Sink(), Sink()
    stream.attach(V, first, preamble=b"{HTTP}")
    stream.attach(V, second, preamble=b"{HTTP}")
    assert first.got == second.got
    assert first.got.startswith(b"{HTTP}{head")
    assert seen[1] == seen[3]


@pytest.mark.parametrize("room", [0, 1, 5, 6, 7, 23, 24, 40, 2000])
def test_whatever_part_of_the_head_and_burst_fits_nothing_is_lost_or_doubled(room: int) -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K", b"y" * 40000)
    sink, viewer = hub.view(stream, room=room, preamble=b"{HTTP}")
    hub.feed(stream, "P")
    while viewer.state != "live":
        sink.drain(30000)
    hub.feed(stream, "P")
    sink.drain()
    assert sink.pieces() == ["{HTTP}", "{head h264:352 -}", f"[K 40 {'y' * 40000}]", "[P 80 x]", "[P 120 x]"]


def test_a_viewer_of_a_starting_stream_waits_for_the_first_key_frame_and_gets_it_at_once() -> None:
    hub = Hub(merge=100)
    stream = hub.open()
    firsts: list[int] = []
    sink, viewer = hub.view(stream, on_first=lambda viewer: firsts.append(viewer.id))
    hub.feed(stream, "PP")
    assert viewer.state == "waiting"
    assert not sink.got
    hub.feed(stream, "K")  # merging never delays a first picture
    assert sink.pieces() == ["{head h264:352 -}", "[K 120 x]"]
    assert firsts == [viewer.id]
    hub.merge.stop()


def test_a_viewer_between_two_ticks_gets_nothing_twice() -> None:
    hub = Hub(merge=100)
    stream = hub.open()
    hub.feed(stream, "KP")
    early, _ = hub.view(stream)
    hub.feed(stream, "PP")  # pending for the tick
    late, _ = hub.view(stream)
    hub.clock.advance(0.1)
    hub.feed(stream, "P")
    hub.clock.advance(0.1)
    expected = ["{head h264:352 -}", "[K 40 x]", "[P 80 x]", "[P 120 x]", "[P 160 x]", "[P 200 x]"]
    assert early.pieces() == expected
    assert late.pieces() == expected
    hub.merge.stop()


def test_one_serialisation_for_all_viewers_of_a_format() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    TextMuxer.made = 0
    sinks = [hub.view(stream)[0] for _ in range(20)]
    hub.feed(stream, "PPP")
    assert TextMuxer.made == 1
    assert len({sink.got for sink in sinks}) == 1


def test_pictures_without_a_key_frame_before_them_are_not_shown() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "PPP")
    assert stream.frames == 0
    assert stream.state is StreamState.STARTING


# the cache --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "step", "data"),
    [({"gop_frames": 5}, 40, b"x"), ({"gop_bytes": 60}, 40, b"0123456789"), ({"gop_s": 0.2}, 40, b"x")],
    ids=["frames", "bytes", "seconds"],
)
def test_a_cache_over_its_limit_is_dropped_and_viewers_wait_for_the_next_key_frame(options: dict[str, float], step: int, data: bytes) -> None:
    hub = Hub(**options)
    stream = hub.open()
    hub.feed(stream, "KPPP", data, step=step)
    running, _ = hub.view(stream)
    hub.feed(stream, "PPPPP", data, step=step)
    assert stream.gop.overflows == 1
    assert not stream.gop.frames
    assert len(running.pieces()) == 1 + 9, "who was watching goes on"
    late, viewer = hub.view(stream)
    assert viewer.state == "waiting"
    hub.feed(stream, "PP", data, step=step)
    assert not late.got
    hub.feed(stream, "KP", data, step=step)
    assert [piece[1] for piece in late.pieces()] == ["h", "K", "P"]


def test_sound_does_not_use_up_the_cache_of_pictures() -> None:
    hub = Hub(gop_frames=5)
    stream = hub.open()
    hub.feed(stream, "KAAPAAPAAP", step=10)
    assert len(stream.gop.frames) == 10
    assert stream.gop.overflows == 0
    hub.feed(stream, "A" * 60, step=1)
    assert stream.gop.overflows == 1, "but sound has a limit too"


# tracks -------------------------------------------------------------------------------------------------------------


def test_sound_is_waited_for_150_ms_where_it_can_be_added_later() -> None:
    hub = Hub()
    stream = hub.open()
    sink, _ = hub.view(stream, fmt=AV)
    hub.feed(stream, "K")
    assert not sink.got
    hub.clock.advance(0.14)
    assert not sink.got
    hub.clock.advance(0.02)
    assert sink.pieces() == ["{head h264:352 -}", "[K 40 x]"]
    hub.feed(stream, "AP")
    assert sink.pieces()[2:] == ["{conf h264:352 g711a}", "[A 80 g711a x]", "[P 120 x]"]


def test_sound_that_is_there_in_time_is_in_the_first_header() -> None:
    hub = Hub()
    stream = hub.open()
    sink, _ = hub.view(stream, fmt=AV)
    hub.feed(stream, "KP")
    hub.feed(stream, "A")
    assert sink.pieces() == ["{head h264:352 g711a}", "[K 40 x]", "[P 80 x]", "[A 120 g711a x]"]
    hub.clock.advance(1)


def test_sound_before_the_key_frame_is_not_waited_for() -> None:
    hub = Hub()
    stream = hub.open()
    sink, _ = hub.view(stream, fmt=AV)
    hub.feed(stream, "AAK")
    assert sink.pieces() == ["{head h264:352 g711a}", "[K 120 x]"]
    hub.clock.advance(2)


def test_progressive_mp4_waits_a_second_for_sound_and_cannot_add_it_later() -> None:
    hub = Hub(mp4_audio="flac")
    stream = hub.open()
    sink, viewer = hub.view(stream, fmt=OutputFormat("mp4"))
    hub.feed(stream, "K")
    hub.clock.advance(0.9)
    assert not sink.got
    hub.clock.advance(0.2)
    assert sink.pieces() == ["{head h264:352 -}", "[K 40 x]"]
    hub.feed(stream, "AP")
    assert sink.pieces()[2:] == ["[P 120 x]"]
    assert "too late" in viewer.stats().note


def test_only_pictures_never_waits() -> None:
    hub = Hub()
    stream = hub.open()
    sink, _ = hub.view(stream)
    hub.feed(stream, "KA")
    assert sink.pieces() == ["{head h264:352 -}", "[K 40 x]"]


def test_a_stream_of_sound_alone_starts_after_a_short_wait_and_takes_a_picture_later() -> None:
    hub = Hub()
    stream = hub.open()
    sink, _ = hub.view(stream, fmt=AV)
    hub.feed(stream, "A")
    hub.clock.advance(1.4)
    assert not sink.got
    hub.clock.advance(0.2)
    assert sink.pieces() == ["{head - g711a}"]
    assert stream.state is StreamState.RUNNING
    hub.feed(stream, "A")
    hub.feed(stream, "KP")
    assert sink.pieces()[1:] == ["[A 80 g711a x]", "{conf h264:352 g711a}", "[K 120 x]", "[P 160 x]"]


def test_only_sound() -> None:
    hub = Hub()
    stream = hub.open()
    sink, _ = hub.view(stream, fmt=OutputFormat(media="a", audio="source"))
    hub.feed(stream, "KPAPA")
    assert sink.pieces() == ["{head - g711a}", "[A 120 g711a x]", "[A 200 g711a x]"]


def test_sound_is_transcoded_once_for_all_outputs_and_the_cached_sound_too() -> None:
    hub = Hub(flv_audio="aac")
    stream = hub.open()
    hub.feed(stream, "KAPA")
    first, _ = hub.view(stream, fmt=OutputFormat("flv"))
    assert first.pieces() == ["{head h264:352 aac}", "[K 40 x]", "[A 80 aac x]", "[P 120 x]", "[A 160 aac x]"]
    second, _ = hub.view(stream, fmt=OutputFormat("flv", "ws", audio="aac"))
    assert b"[A 160 aac x]" in second.got
    hub.feed(stream, "A")
    assert len(hub.transcoders.tracks) == 1
    assert first.pieces()[-1] == "[A 200 aac x]"
    assert second.got.endswith(b"[A 200 aac x]")


def test_a_transcoder_that_answers_later() -> None:
    hub = Hub(flv_audio="aac")
    stream = hub.open()
    hub.feed(stream, "KA")
    sink, _ = hub.view(stream, fmt=OutputFormat("flv"))
    track = hub.transcoders.tracks[0]
    track.late = []
    hub.feed(stream, "AP")
    assert sink.pieces()[-1] == "[P 160 x]"
    for frame in track.late:
        track.deliver(frame)
    assert sink.pieces()[-1] == "[A 120 aac x]"


def test_a_transcoder_ends_with_its_last_output() -> None:
    hub = Hub(flv_audio="aac")
    stream = hub.open()
    hub.feed(stream, "KA")
    _, viewer = hub.view(stream, fmt=OutputFormat("flv"))
    viewer.close()
    hub.clock.pump([1.0] * 7)
    assert hub.transcoders.tracks[0].closed
    hub.feed(stream, "KAP")
    sink, _ = hub.view(stream, fmt=OutputFormat("flv"))
    assert "[A" in sink.pieces()[2]
    assert len(hub.transcoders.tracks) == 2


def test_by_default_a_track_that_cannot_be_carried_is_left_out_and_named() -> None:
    hub = Hub(flv_audio="aac", refuse=("aac",))
    stream = hub.open()
    hub.feed(stream, "KA")
    sink, viewer = hub.view(stream, fmt=OutputFormat("flv"))
    assert sink.pieces() == ["{head h264:352 -}", "[K 40 x]"]
    assert viewer.stats().note == "aac is not installed"
    assert stream.check(OutputFormat("flv")) == "aac is not installed"


def test_a_track_asked_for_by_name_that_cannot_be_carried_is_refused() -> None:
    hub = Hub(refuse=("aac",))
    stream = hub.open()
    hub.feed(stream, "K")
    hub.feed(stream, "A", config=ADPCM)
    for fmt in (OutputFormat("flv", audio="aac"), OutputFormat("flv", audio="source"), OutputFormat("mp4", audio="source")):
        with pytest.raises(UnsupportedTrackError) as caught:
            stream.attach(fmt, FakeSink())
        assert caught.value.track == "audio"
        assert caught.value.codec == "adpcm"
    assert stream.viewer_count() == 0


def test_a_format_of_unknown_words_is_our_own_mistake() -> None:
    stream = Hub().open()
    with pytest.raises(UsageError):
        stream.attach(OutputFormat("avi"), FakeSink())


# changes --------------------------------------------------------------------------------------------------------------


def test_another_resolution_comes_inline_with_its_key_frame() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    sink, _ = hub.view(stream)
    hub.feed(stream, "K", config=LARGE)
    assert sink.pieces()[-2:] == ["{conf h264:1280 -}", "[K 120 x]"]
    late, _ = hub.view(stream)
    assert late.pieces() == ["{head h264:1280 -}", "[K 120 x]"]
    assert "config_changed" in hub.names()


def test_an_equal_description_needs_no_header() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    sink, _ = hub.view(stream)
    again = type(SMALL)("h264", (b"s1", b"p1"), b"r1", 352, 288, "avc1.42001E")
    hub.feed(stream, "K", config=again)
    late, _ = hub.view(stream)
    assert sink.pieces()[-1] == "[K 120 x]"
    assert late.pieces() == ["{head h264:352 -}", "[K 120 x]"]


def test_another_codec_ends_flv_viewers() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    causes: list[str] = []
    sink, _ = hub.view(stream, on_close=lambda viewer, cause: causes.append(cause), farewell=lambda cause: b"{bye}")
    hub.feed(stream, "K", config=HEVC)
    assert causes == ["codec changed: h264 to h265"]
    assert sink.pieces()[-1] == "{bye}"
    again, _ = hub.view(stream)
    assert again.pieces() == ["{head h265:1280 -}", "[K 120 x]"]


def test_another_codec_goes_inline_where_that_is_wanted_and_in_mp4_over_websocket() -> None:
    hub = Hub(end_on_codec_change=False)
    stream = hub.open()
    hub.feed(stream, "KP")
    flv, _ = hub.view(stream)
    mp4, _ = hub.view(stream, fmt=OutputFormat("mp4", "ws-binary", "v"))
    hub.feed(stream, "K", config=HEVC)
    assert flv.pieces()[-2:] == ["{conf h265:1280 -}", "[K 120 x]"]
    assert b"{conf h265:1280 -}" in mp4.got


def test_progressive_mp4_cannot_change_and_ends() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    causes: list[str] = []
    hub.view(stream, fmt=OutputFormat("mp4", media="v"), on_close=lambda viewer, cause: causes.append(cause))
    hub.feed(stream, "K", config=LARGE)
    assert causes == ["configuration changed"]


def test_another_source_of_sound_under_the_same_transcoded_track_is_not_noticed() -> None:
    hub = Hub(flv_audio="aac")
    stream = hub.open()
    hub.feed(stream, "KA")
    sink, _ = hub.view(stream, fmt=OutputFormat("flv"))
    hub.feed(stream, "A", config=ADPCM)
    assert sink.pieces()[-1] == "[A 120 aac x]"
    assert [track.source for track in hub.transcoders.tracks] == [G711, ADPCM]
    assert hub.transcoders.tracks[0].closed


def test_another_codec_of_sound_ends_flv_viewers_of_the_source_sound() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KA")
    causes: list[str] = []
    hub.view(stream, fmt=AV, on_close=lambda viewer, cause: causes.append(cause))
    hub.feed(stream, "A", config=AAC)
    assert causes == ["codec changed: g711a to aac"]


# WebSocket framing --------------------------------------------------------------------------------------------------


def messages(data: bytes) -> list[tuple[int, bytes]]:
    """(opcode, payload) of unmasked frames."""
    found = []
    while data:
        opcode, size = data[0], data[1]
        assert opcode & 0x80
        at = 2
        if size == 126:
            size, at = int.from_bytes(data[2:4], "big"), 4
        elif size == 127:
            size, at = int.from_bytes(data[2:10], "big"), 10
        found.append((opcode & 0x0F, data[at : at + size]))
        assert len(found[-1][1]) == size
        data = data[at + size :]
    return found


def test_websocket_messages_hold_whole_pieces() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KPP", b"z" * 40000)
    sink, _ = hub.view(stream, fmt=OutputFormat("flv", "ws", "v"))
    hub.feed(stream, "P")
    hub.feed(stream, "K", config=LARGE)
    got = messages(sink.got)
    assert [opcode for opcode, _ in got] == [2] * len(got)
    assert got[0][1] == b"{head h264:352 -}"
    assert all(payload.endswith(b"]") for _, payload in got[1:4])
    assert max(len(payload) for _, payload in got) < 65536 + 40100
    assert [payload for _, payload in got[-3:]] == [b"[P 160 x]", b"{conf h264:1280 -}", b"[K 200 x]"]


def test_mp4_over_websocket_says_in_text_what_the_segment_is() -> None:
    import json

    hub = Hub(mp4_audio="flac")
    stream = hub.open()
    hub.feed(stream, "KA")
    sink, _ = hub.view(stream, fmt=OutputFormat("mp4", "ws"))
    got = messages(sink.got)
    assert [opcode for opcode, _ in got] == [1, 2, 2]
    text = json.loads(got[0][1])
    assert text["type"] == "init"
    assert text["mime"] == 'video/mp4; codecs="avc1.42001E,flac"'
    assert (text["width"], text["height"], text["audio"]) == (352, 288, "flac")
    plain, _ = hub.view(stream, fmt=OutputFormat("mp4", "ws-binary"))
    assert [opcode for opcode, _ in messages(plain.got)] == [2, 2]


# sources ----------------------------------------------------------------------------------------------------------------


def test_a_requested_connection_takes_the_place_of_the_present_one_and_viewers_stay() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    sink, viewer = hub.view(stream)
    old, new = hub.source, FakeSource("10.0.0.1:5000")
    assert hub.open(source=new) is stream
    assert old.closed == "replaced"
    assert stream.ingest.restarts == 1  # type: ignore[attr-defined]
    hub.feed(stream, "PPKP")
    assert viewer.state == "live"
    assert [piece[1] for piece in sink.pieces()] == ["h", "K", "P", "K", "P"], "on from the new source's first key frame, no new headers"
    stream.source_lost(old, "reset")
    assert stream.state is StreamState.RUNNING, "what the old connection does no longer matters"
    assert "replaced" in hub.names()


def test_an_unrequested_connection_never_takes_the_place_of_a_running_stream() -> None:
    hub = Hub(admit=lambda kind, sim, channel, peer, transport: Admitted(KEY, False))
    first = hub.registry.connect("live", "013800138000", 1, FakeSource())
    assert isinstance(first, Stream)
    hub.feed(first, "K")
    second = FakeSource("10.9.9.9:1")
    answer = hub.registry.connect("live", "013800138000", 1, second)
    assert isinstance(answer, Refusal)
    assert answer.reason == "running"
    assert hub.registry.refused == 1
    event = hub.events[-1]
    assert (event.name, event.stream, event.peer) == ("refused", first, "10.9.9.9:1")
    hub.clock.advance(hub.registry.options.stalled_s + 0.1)  # the first has gone silent: a dead link, and the terminal is back
    assert hub.registry.connect("live", "013800138000", 1, second) is first


def test_who_is_not_admitted_is_refused_and_named() -> None:
    hub = Hub(admit=lambda *who: Refusal("unknown", "no such terminal"))
    answer = hub.registry.connect("live", "019900000000", 3, FakeSource())
    assert answer == Refusal("unknown", "no such terminal")
    assert hub.events[-1].name == "refused"
    assert hub.events[-1].detail == "unknown: no such terminal"
    assert len(hub.registry) == 0


def test_a_lost_live_stream_waits_for_its_source() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    sink, viewer = hub.view(stream)
    stream.source_lost(hub.source, "reset")
    assert stream.state is StreamState.LOST
    hub.clock.pump([1.0] * 10)
    assert viewer.state == "live"
    hub.open(source=FakeSource("10.0.0.1:5001"), requested=False)
    hub.feed(stream, "K")
    assert stream.state is StreamState.RUNNING
    assert sink.pieces()[-1] == "[K 120 x]"
    hub.clock.pump([1.0] * 30)
    assert stream.state is StreamState.RUNNING


def test_a_lost_live_stream_ends_when_its_source_stays_away() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "KP")
    causes: list[str] = []
    hub.view(stream, on_close=lambda viewer, cause: causes.append(cause))
    stream.source_lost(hub.source, "reset")
    hub.clock.pump([1.0] * 17)
    assert stream.state is StreamState.ENDED
    assert causes == ["connection lost"]
    assert hub.registry.get(KEY) is None
    assert hub.names()[-2:] == ["lost", "ended"]
    with pytest.raises(UsageError):
        stream.attach(V, FakeSink())


def test_a_playback_is_over_when_its_connection_is_and_slow_viewers_still_get_all() -> None:
    hub = Hub()
    key = StreamKey("13800138000", 1, "playback", "7")
    stream = hub.open(key)
    hub.feed(stream, "K")
    causes: list[str] = []
    sink, viewer = hub.view(stream, room=60, on_close=lambda viewer, cause: causes.append(cause), farewell=lambda cause: b"{bye}")
    hub.feed(stream, "P", b"y" * 200)
    hub.feed(stream, "P")
    assert viewer.state == "busy"
    stream.source_lost(hub.source, "connection closed by the terminal")
    assert hub.registry.get(key) is None
    assert not causes
    sink.drain()
    assert causes == ["ended: connection closed by the terminal"]
    assert sink.pieces()[-3:] == [f"[P 80 {'y' * 200}]", "[P 120 x]", "{bye}"]
    hub.clock.pump([1.0] * 20)
    assert not sink.aborted


def test_what_the_ingest_held_back_comes_before_the_end() -> None:
    hub = Hub()
    key = StreamKey("13800138000", 1, "playback", "7")
    stream = hub.open(key)
    hub.feed(stream, "KP")
    sink, _ = hub.view(stream)
    last = hub.frame("P")
    stream.ingest.finish = lambda now: [last]  # type: ignore[attr-defined]
    stream.source_lost(hub.source, "closed")
    assert sink.pieces()[-1] == "[P 120 x]"


def test_a_viewer_that_takes_nothing_of_the_end_is_cut_off() -> None:
    hub = Hub()
    key = StreamKey("13800138000", 1, "playback", "7")
    stream = hub.open(key)
    hub.feed(stream, "K")
    causes: list[str] = []
    sink, _ = hub.view(stream, room=10, on_close=lambda viewer, cause: causes.append(cause))
    stream.source_lost(hub.source, "closed")
    hub.clock.pump([1.0] * 13)
    assert sink.aborted
    assert len(causes) == 1


def test_a_viewer_lost_while_it_drains_is_forgotten() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    causes: list[str] = []
    _, viewer = hub.view(stream, room=10, on_close=lambda viewer, cause: causes.append(cause))
    stream.end("ended", drain=True)
    viewer.close("gone")
    assert len(causes) == 1
    hub.clock.pump([1.0] * 3)
    assert not hub.clock.getDelayedCalls()


# readiness ------------------------------------------------------------------------------------------------------------


def test_ready_with_the_first_key_frame() -> None:
    hub = Hub()
    stream = hub.open()
    ready = stream.wait_ready("av", 5)
    hub.feed(stream, "A")
    assert not ready.called
    hub.feed(stream, "K")
    assert ready.called
    assert stream.wait_ready("v").called
    assert stream.wait_ready("a").called


def test_ready_by_sound_alone_after_a_short_wait() -> None:
    hub = Hub()
    stream = hub.open()
    ready, picture = stream.wait_ready("av", 5), stream.wait_ready("v", 5)
    hub.feed(stream, "A")
    hub.clock.advance(1.6)
    assert ready.called
    assert not picture.called
    failures: list[NotReadyError] = []
    picture.addErrback(lambda failure: failures.append(failure.value))
    hub.clock.advance(5)
    assert failures[0].hop == "first_key_frame"


def test_not_ready_when_the_stream_ends() -> None:
    hub = Hub()
    stream = hub.open()
    failures: list[NotReadyError] = []
    stream.wait_ready("av", 5).addErrback(lambda failure: failures.append(failure.value))
    stream.end("stopped")
    assert failures[0].hop == "first_key_frame"
    assert "stopped" in str(failures[0])
    late: list[NotReadyError] = []
    stream.wait_ready().addErrback(lambda failure: late.append(failure.value))
    assert len(late) == 1


def test_nothing_is_left_scheduled_when_all_streams_have_ended() -> None:
    hub = Hub()
    stream = hub.open()
    hub.view(stream, fmt=AV)
    hub.feed(stream, "K")
    stream.wait_ready("a", 30).addErrback(lambda failure: None)
    hub.registry.close()
    hub.clock.advance(2)
    assert not hub.clock.getDelayedCalls()


# events and figures ---------------------------------------------------------------------------------------------------


def test_events_in_their_order() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "AKP")
    _, viewer = hub.view(stream)
    viewer.close()
    stream.source_lost(hub.source, "reset")
    stream.end("stopped")
    assert hub.names() == ["connected", "first_packet", "audio_ready", "first_key_frame", "viewers", "viewers", "lost", "ended"]


def test_an_observer_that_fails_does_not_keep_the_others_from_hearing(logged_errors: object) -> None:
    hub = Hub()

    def broken(event: object) -> None:
        raise ZeroDivisionError

    heard: list[str] = []
    hub.registry.observe(broken)
    stop = hub.registry.observe(lambda event: heard.append(event.name))
    hub.open()
    assert heard == ["connected", "first_packet"]
    stop()
    logged_errors.flush(ZeroDivisionError)  # type: ignore[attr-defined]


def test_figures() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K", b"y" * 100)
    hub.view(stream)
    for _ in range(25):
        hub.clock.advance(0.04)
        hub.feed(stream, "P", b"y" * 100)
    stream.lost_packets += 3
    hub.clock.advance(0.001)
    stream.sweep(hub.clock.seconds())
    stats = stream.stats()
    assert stats.frames == 26
    assert stats.viewers == 1
    assert stats.packets == 26
    assert 20 <= stats.fps <= 30
    assert stats.sent_bytes == sum(viewer.bytes for viewer in stream.viewers())
    assert stats.sent_bytes > 26 * 100
    assert stream.take_loss() == pytest.approx(100 * 3 / 29)
    assert stream.take_loss() is None


def test_the_delay_added_is_measured_from_the_read_to_the_send() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    hub.view(stream)
    for _ in range(99):
        stream.push([hub.frame("P")])
    late = hub.frame("P")
    late.source_time -= 0.5
    stream.push([late])
    stats = stream.stats()
    assert stats.delay_p50_ms <= 0.25
    assert stats.delay_p99_ms < 500
    for _ in range(3):
        late = hub.frame("P")
        late.source_time -= 0.5
        stream.push([late])
    assert 440 <= stream.stats().delay_p99_ms <= 570


def test_kicking() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    causes: list[str] = []
    sink, viewer = hub.view(stream, on_close=lambda viewer, cause: causes.append(cause))
    assert stream.kick(viewer.id)
    assert not stream.kick(viewer.id)
    assert causes == ["kicked"]
    assert sink.closed == b""
    assert stream.viewer_count() == 0


def test_an_output_nobody_watches_goes_after_a_while() -> None:
    hub = Hub()
    stream = hub.open()
    hub.feed(stream, "K")
    _, viewer = hub.view(stream)
    TextMuxer.made = 0
    viewer.close()
    hub.clock.advance(1)
    hub.view(stream)[1].close()
    assert TextMuxer.made == 0, "a page that is loaded again finds the output as it was"
    hub.clock.pump([1.0] * 7)
    hub.view(stream)
    assert TextMuxer.made == 1


def test_options_come_from_the_settings() -> None:
    from relay.settings import Settings

    options = Options.of(Settings())
    assert (options.gop_frames, options.gop_bytes, options.gop_s) == (300, 8388608, 12.0)
    assert (options.queue_bytes, options.queue_s, options.stuck_s) == (524288, 3.0, 30.0)
    assert (options.flv_audio, options.mp4_audio) == ("aac", "flac")


def test_frames_of_the_transcoder_do_not_outlive_the_gop() -> None:
    hub = Hub(flv_audio="aac")
    stream = hub.open()
    hub.feed(stream, "KA")
    hub.view(stream, fmt=OutputFormat("flv"))
    hub.feed(stream, "AAAAKA")
    late, _ = hub.view(stream, fmt=OutputFormat("flv"))
    assert late.pieces() == ["{head h264:352 aac}", "[K 280 x]", "[A 320 aac x]"]
    assert stream.gop.frames[-1].kind == AUDIO
    assert isinstance(stream.gop.frames[0], Frame)
    assert FLAC.codec == "flac"


def test_packets_of_the_standard_begin_with_a_key_frame_and_never_with_an_empty_message() -> None:
    world = Hub(real=True)
    stream = world.open()
    world.feed(stream, "KP", b"\x00\x00\x00\x01\x65")
    world.clock.advance(0.2)
    raw, _ = world.view(stream, fmt=OutputFormat("jt1078"))
    ws, _ = world.view(stream, fmt=OutputFormat("jt1078", "ws"))
    assert raw.got.startswith(b"01cd\x81\xe2\x00\x00")
    assert raw.got.count(b"01cd") == 2
    assert ws.got[0] == 0x82
    assert ws.got[1:3] != b"\x00\x82"
    assert ws.got.endswith(raw.got)
    world.feed(stream, "A", b"\xd5" * 320)
    assert raw.got.count(b"01cd") == 3
    assert raw.got.endswith(b"\xd5" * 320)


def test_what_is_transcoded_and_what_it_costs_is_told() -> None:
    hub = Hub(flv_audio="aac")
    stream = hub.open()
    hub.feed(stream, "KA")
    assert stream.transcodes() == []
    hub.view(stream, fmt=OutputFormat())
    hub.feed(stream, "AA")
    (cost,) = stream.transcodes()
    assert cost[:2] == ("g711a", "aac")
    assert cost.blocks >= 2
