"""Streams made of streams: JPEG, H.264 out of H.265, single pictures; limits, ends, damage."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.python.failure import Failure

from relay.codec.frame import VIDEO, Frame, VideoConfig
from relay.errors import DecodeError
from relay.hub.derived import Derivations, SnapshotError
from relay.hub.formats import OutputFormat, UnsupportedTrackError
from relay.hub.pictures import H264Pipeline, JpegPipeline, snapshot
from relay.hub.stream import Stream
from relay.settings import Video
from tests.hub.support import FakeSink, Hub
from tests.mux.test_captures import material

av = pytest.importorskip("av", reason="the media extra (PyAV) is not installed")

H264_CAPTURE, H265_CAPTURE = "syn-h264-g711a.jt1078", "syn-h265-g711u.jt1078"


def jpeg_size(data: bytes) -> tuple[int, int]:
    """Of a JPEG file that decodes."""
    assert data[:2] == b"\xff\xd8"
    assert data[-2:] == b"\xff\xd9"
    (picture,) = av.CodecContext.create("mjpeg", "r").decode(av.Packet(data))
    return picture.width, picture.height


class World(Hub):
    """A hub that makes pictures at once, in this thread."""

    def __init__(self, capture: str, run: Any = maybeDeferred, **settings: Any) -> None:
        super().__init__(real=True)
        self.derivations = self.registry.derivations = Derivations(Video(**settings), run)
        self.stuff = material(capture)
        self.stream: Stream = self.open()
        self.at = 0

    def play(self, count: int) -> None:
        for frame in self.stuff.frames[self.at : self.at + count]:
            self.clock.advance(0.02)
            self.stream.push([frame])
        self.at += count

    def watch(self, stream: Stream, fmt: OutputFormat) -> FakeSink:
        sink = FakeSink()
        stream.attach(fmt, sink)
        return sink


# pipelines -------------------------------------------------------------------------------


@pytest.mark.parametrize("capture", [H264_CAPTURE, H265_CAPTURE])
def test_a_key_frame_becomes_a_jpeg_of_its_size(capture: str) -> None:
    stuff = material(capture)
    assert stuff.video is not None
    assert jpeg_size(snapshot(stuff.pictures[0])) == (stuff.video.width, stuff.video.height)


def test_damage_costs_the_picture() -> None:
    stuff = material(H264_CAPTURE)
    broken = Frame(VIDEO, 0, 0, True, b"\x00\x00\x00\x04\x65\xff\xff\xff", stuff.pictures[0].config)
    with pytest.raises(DecodeError):
        snapshot(broken)
    for pipeline in (JpegPipeline(30.0), H264Pipeline()):
        made = pipeline.run([broken]) + pipeline.run(stuff.pictures[:1]) + pipeline.run(stuff.pictures[1:2])
        assert made
        assert pipeline.dropped == 1


def test_h265_becomes_h264_with_the_same_key_frames_and_times() -> None:
    stuff = material(H265_CAPTURE)
    pipeline = H264Pipeline()
    made = pipeline.run(stuff.frames)
    pictures = [frame for frame in made if frame.kind == VIDEO]
    assert [frame.pts for frame in pictures] == [frame.pts for frame in stuff.pictures]
    assert {frame.pts for frame in pictures if frame.key} == {frame.pts for frame in stuff.pictures if frame.key}
    assert [frame for frame in made if frame.kind != VIDEO] == stuff.blocks
    config = pictures[0].config
    assert isinstance(config, VideoConfig)
    assert stuff.video is not None
    assert (config.codec, config.width, config.height) == ("h264", stuff.video.width, stuff.video.height)
    decoder = av.CodecContext.create("h264", "r")
    decoder.extradata = config.record
    decoded = [picture for frame in pictures for picture in decoder.decode(av.Packet(frame.data))] + decoder.decode(None)
    assert len(decoded) == len(pictures)


def test_motion_jpeg_has_no_more_pictures_than_it_may() -> None:
    stuff = material(H264_CAPTURE)
    pipeline = JpegPipeline(5.0)
    made = [frame for picture in stuff.pictures for frame in pipeline.run([picture])]
    seconds = (stuff.pictures[-1].dts - stuff.pictures[0].dts) / 1000
    assert abs(len(made) - 5 * seconds) <= 2
    assert all(frame.key for frame in made)
    keys = JpegPipeline(5.0, keys_only=True)
    made = [frame for picture in stuff.pictures for frame in keys.run([picture])]
    assert [frame.dts for frame in made] == [frame.dts for frame in stuff.pictures if frame.key]


# streams ---------------------------------------------------------------------------------


def test_motion_jpeg_is_served_like_any_stream_and_ends_when_nobody_watches() -> None:
    world = World(H264_CAPTURE)
    world.play(20)
    child = world.stream.derive("jpeg")
    assert world.stream.derive("jpeg") is child
    sink = world.watch(child, OutputFormat("mjpeg", media="v"))
    world.play(60)
    assert sink.got.startswith(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: ")
    head, _, rest = sink.got.partition(b"\r\n\r\n")
    size = int(head.rpartition(b" ")[2])
    assert world.stuff.video is not None
    assert jpeg_size(rest[:size]) == (world.stuff.video.width, world.stuff.video.height)
    assert rest[size:].startswith(b"\r\n--frame\r\n")
    late = world.watch(child, OutputFormat("mjpeg", "ws", "v"))  # has the latest picture at once
    assert late.got[:1] == b"\x82"
    assert late.got.count(b"\xff\xd8\xff") == 1
    assert world.derivations.count("jpeg") == 1
    for viewer in [*child.outputs()[0].viewers(), *child.outputs()[1].viewers()]:
        viewer.close()
    world.clock.pump([1.0] * 8)
    assert child.ended()
    assert world.stream.outputs() == []
    assert world.derivations.count("jpeg") == 0
    assert not world.stream.ended()


def test_h264_out_of_h265_goes_to_every_container_and_ends_with_its_parent() -> None:
    world = World(H265_CAPTURE, h264_max=1)
    world.play(20)
    child = world.stream.derive("h264")
    flv = world.watch(child, OutputFormat("flv", audio="source"))
    hls = child.join_segments(OutputFormat("hls", audio="none")).output
    world.play(200)
    world.clock.advance(1)
    assert flv.got.startswith(b"FLV")
    assert hls.ready
    (cost,) = world.stream.transcodes()
    assert (cost.source, cost.target, cost.dropped) == ("h265", "h264", 0)
    assert cost.frames > 100
    assert cost.cpu_s > 0
    assert hls.video is not None
    assert hls.video.codec == "h264"
    assert child.audio == world.stream.audio
    world.stream.end("stopped")
    assert child.ended()
    assert child.cause == "stopped"
    assert flv.closed is not None
    assert len(world.registry) == 0


def test_limits_are_told_with_what_helps() -> None:
    world = World(H265_CAPTURE)
    world.play(20)
    with pytest.raises(UnsupportedTrackError, match=r"switched off \(video.h264_max\)") as refused:
        world.stream.derive("h264")
    assert refused.value.hint == "Ask for H.265 (without video=h264), with a player that shows it.", "other streams are not the hub's"
    world = World(H264_CAPTURE, mjpeg_max=0)
    world.play(20)
    with pytest.raises(UnsupportedTrackError, match="switched off") as refused:
        world.stream.derive("jpeg")
    assert refused.value.hint == "Ask for single pictures (.jpg)."
    world.derivations.settings = Video(mjpeg_max=1)
    world.stream.derive("jpeg")
    other = world.open(world.stream.key._replace(channel=2))
    with pytest.raises(UnsupportedTrackError, match="1 channels of motion JPEG") as refused:
        other.derive("jpeg")
    assert refused.value.hint == "Ask for single pictures (.jpg), or motion=keys."
    assert world.derivations.refused == 1
    world.derivations.av = False
    with pytest.raises(UnsupportedTrackError, match="extra `media`") as refused:
        other.derive("jpeg")
    assert refused.value.hint == "pip install '.[media]'", "single pictures need it too"
    with pytest.raises(UnsupportedTrackError):
        Hub().open().derive("jpeg")


def test_what_no_thread_has_time_for_is_dropped_to_the_next_key_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    from relay.hub import derived

    monkeypatch.setattr(derived, "QUEUE_MAX", 10)
    jobs: list[tuple[Deferred[Any], Any, Any]] = []

    def run(job: Any, frames: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        jobs.append((done, job, frames))
        return done

    world = World(H264_CAPTURE, run)
    world.play(5)
    world.stream.derive("jpeg")
    world.play(60)
    (feeder,) = world.stream.outputs()
    assert len(jobs) == 1
    assert feeder.dropped > 10  # type: ignore[attr-defined]
    done, job, frames = jobs.pop()
    done.callback(job(frames))
    world.stream.end("stopped")


def test_a_job_that_fails_ends_the_child_only(logged_errors: Any) -> None:
    def run(job: Any, frames: Any) -> Deferred[Any]:
        return fail(ZeroDivisionError())

    world = World(H264_CAPTURE, run)
    world.play(20)
    child = world.stream.derive("jpeg")
    assert child.ended()
    assert not world.stream.ended()
    assert len(logged_errors.flush(ZeroDivisionError)) == 1


# single pictures ---------------------------------------------------------------------------


def test_a_picture_is_made_once_for_all_who_ask_within_a_second() -> None:
    calls: list[tuple[Deferred[Any], Any]] = []

    def run(job: Any, frame: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        calls.append((done, frame))
        return done

    world = World(H264_CAPTURE, run)
    with_nothing: list[Any] = []
    world.derivations.snapshot(world.stream).addErrback(with_nothing.append)
    assert with_nothing[0].check(SnapshotError)
    world.play(10)
    got: list[bytes] = []
    for _ in range(3):
        world.derivations.snapshot(world.stream).addCallback(got.append)
    assert len(calls) == 1
    calls[0][0].callback(b"picture")
    assert got == [b"picture"] * 3
    world.clock.advance(5)
    world.derivations.snapshot(world.stream).addCallback(got.append)
    assert len(got) == 4  # still the same key frame
    world.at = 0
    key = next(frame for frame in world.stuff.pictures if frame.key and frame.dts > 0)
    world.stream.push([key])
    failed: list[Any] = []
    for _ in range(2):
        world.derivations.snapshot(world.stream).addErrback(failed.append)
    assert len(calls) == 2
    calls[1][0].errback(DecodeError("picture", 0, "broken"))
    assert [failure.check(DecodeError) for failure in failed] == [DecodeError] * 2


def test_without_the_extra_there_is_no_picture() -> None:
    world = World(H264_CAPTURE)
    world.derivations.av = False
    failed: list[Failure] = []
    world.derivations.snapshot(world.stream).addErrback(failed.append)
    assert failed[0].check(SnapshotError)
