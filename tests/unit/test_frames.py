"""The agent's stream: every frame comes out as it went in, however it is cut; a hostile one is a ProtocolError."""

from __future__ import annotations

import json
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.protocol import events
from labrun.protocol.codec import ProtocolError
from labrun.protocol.events import CaptureEnded, CommandResult, Event, Output, ProcessEnded, SnapshotResult, StepEnded
from labrun.protocol.frames import MAX_LINE, Piece, event_frame, piece_frame, read_frames

NAME = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,8}", fullmatch=True)
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)
OUTPUT = st.builds(Output, PATH, st.integers(0), st.integers(0))
EVENT = st.one_of(
    st.builds(events.StepStarted, st.text(), st.integers(), st.integers()),
    st.builds(events.Fault, st.integers(), st.text(), st.text()),
    st.builds(events.Done, st.integers(), st.integers()),
    st.builds(StepEnded, st.text(), st.integers(), st.integers(), st.just("ok"), st.none(),
              st.builds(CommandResult, st.integers(0, 255), st.none(), OUTPUT, OUTPUT)),
)  # fmt: skip
FRAME = EVENT | st.builds(Piece, PATH, st.binary(max_size=40))


def written(frames: Iterable[Event | Piece]) -> bytes:
    return b"".join(piece_frame(f.path, f.data) if isinstance(f, Piece) else event_frame(f) for f in frames)


def joined(frames: Iterable[Event | Piece]) -> list[Event | Piece]:
    """Pieces of the same file in a row count as one: how they are cut says nothing."""
    out: list[Event | Piece] = []
    for frame in frames:
        last = out[-1] if out else None
        if isinstance(frame, Piece) and isinstance(last, Piece) and last.path == frame.path:
            out[-1] = Piece(frame.path, last.data + frame.data)
        else:
            out.append(frame)
    return out


def chunked(data: bytes, sizes: list[int]) -> Iterable[bytes]:
    for size in sizes:
        yield data[:size]
        data = data[size:]
    yield data


@settings(max_examples=300)
@given(st.lists(FRAME, max_size=6), st.lists(st.integers(0, 30), max_size=30))
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(frames, sizes):
    assert joined(read_frames(chunked(written(frames), sizes))) == joined(frames)


@given(st.lists(FRAME, max_size=5))
def test_frames_come_out_of_single_bytes(frames):
    data = written(frames)
    assert joined(read_frames(data[i : i + 1] for i in range(len(data)))) == joined(frames)


@settings(max_examples=300)
@given(st.lists(FRAME, min_size=1, max_size=5), st.data())
def test_a_stream_that_was_cut_off_gives_all_that_was_whole(frames, data):
    whole = written(frames)
    cut = data.draw(st.integers(0, len(whole)))
    got = list(read_frames([whole[:cut]]))
    complete = 0
    while len(written(frames[: complete + 1])) <= cut and complete < len(frames):
        complete += 1
    assert joined(got)[: len(joined(frames[:complete]))] != [] or complete == 0
    rest = joined(got)
    for expected in joined(frames[:complete])[:-1]:
        assert rest.pop(0) == expected


def test_an_empty_file_is_a_piece_too():
    assert list(read_frames([piece_frame("outputs/a.stdout", b"")])) == [Piece("outputs/a.stdout", b"")]


def test_bytes_of_a_file_may_look_like_frames():
    data = event_frame(events.Done(1, 2)) + piece_frame("x", b"y")
    stream = [piece_frame("a", data), event_frame(events.Done(3, 4))]
    assert joined(read_frames(stream)) == [Piece("a", data), events.Done(3, 4)]


def refused(data: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        list(read_frames([data]))
    assert len(str(caught.value)) < 500
    return str(caught.value)


UNSAFE = [
    "../x", "a/../b", "..", ".", "", "/etc/passwd", "/", "a//b", "a/", ".hidden", "a/.hidden", "-rf", "a/-rf", "a\nb",
    "a\0b", "a b", "a\\b", "C:x", "~", "ä", "a/b/c/d/e", "x" * 129, "a/" + "x" * 200, "\ud800", "a\n",
]  # fmt: skip


@pytest.mark.parametrize("path", UNSAFE)
def test_a_path_that_is_not_plainly_below_the_run_directory_is_refused(path):
    assert refused(json.dumps({"file": path, "bytes": 0}).encode() + b"\n").startswith("not a path for evidence")


def pointing(path: str) -> list[Event]:
    good, bad = Output("a", 0, 0), Output(path, 0, 0)
    return [
        StepEnded("s", 0, 0, "ok", None, CommandResult(0, None, bad, good)),
        StepEnded("s", 0, 0, "ok", None, CommandResult(0, None, good, bad)),
        StepEnded("s", 0, 0, "ok", None, SnapshotResult(path)),
        StepEnded("s", 0, 0, "ok", None, events.CaptureResult(path, ("lo",))),
        CaptureEnded("s", 0, 0, path, ("lo",), 0, 0, 0, 0, 0),
        ProcessEnded("s", 0, 0, True, 0, None, bad, good),
        ProcessEnded("s", 0, 0, True, 0, None, good, bad),
    ]


@pytest.mark.parametrize("place", range(7))
@pytest.mark.parametrize("path", ["../../../etc/passwd", "/etc/passwd", ""])
def test_an_event_that_points_out_of_the_run_directory_is_refused(place, path):
    assert refused(event_frame(pointing(path)[place])).startswith("not a path for evidence")
    assert list(read_frames([event_frame(pointing("outputs/a.stdout")[place])]))


HOSTILE = {
    "no JSON": b"hello\n",
    "an empty line": b"\n",
    "raw bytes": b"\xff\xfe\x00\x01\n",
    "a list": b"[]\n",
    "a number": b"7\n",
    "null": b"null\n",
    "an empty object": b"{}\n",
    "another object": b'{"hello": 1}\n',
    "half an object": b'{"event": \n',
    "not a number": b'{"file": "a", "bytes": NaN}\n',
    "a negative size": b'{"file": "a", "bytes": -1}\n',
    "a size that is true": b'{"file": "a", "bytes": true}\n',
    "a size that is text": b'{"file": "a", "bytes": "1"}\n',
    "half a byte": b'{"file": "a", "bytes": 1.5}\n',
    "no size": b'{"file": "a"}\n',
    "an absurd size": b'{"file": "a", "bytes": 99999999999999999999}\n',
    "a size of a thousand digits": b'{"file": "a", "bytes": ' + b"9" * 1000 + b"}\n",
    "a size of a million digits": b'{"file": "a", "bytes": ' + b"9" * 1_000_000 + b"}\n",
    "a path that is a list": b'{"file": ["a"], "bytes": 1}\n',
    "no path": b'{"bytes": 1}\n',
    "an event and a file": b'{"event": {"kind": "done", "t_ns": 0, "wall_ns": 0}, "file": "a", "bytes": 1}\n',
    "a file and more": b'{"file": "a", "bytes": 0, "mode": "0777"}\n',
    "an unknown event": b'{"event": {"kind": "format-disk"}}\n',
    "an event without a kind": b'{"event": {"t_ns": 0}}\n',
    "an event that is text": b'{"event": "done"}\n',
    "an event that is nothing": b'{"event": null}\n',
    "an event with a key too many": b'{"event": {"kind": "done", "t_ns": 0, "wall_ns": 0, "x": 0}}\n',
    "an event with a key too few": b'{"event": {"kind": "done"}}\n',
    "a deep value": b'{"event": {"kind": "fault", "t_ns": 0, "code": "c", "message": "m", "detail": {"a": '
                    + b"[" * 200 + b"]" * 200 + b"}}}\n",
    "very deep JSON": b"[" * 200_000 + b"\n",
    "a carriage return alone": b'{"event"\r: }\r\n',
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_frame_is_a_protocol_error(data):
    assert refused(data)


def test_what_came_before_a_hostile_frame_is_kept():
    stream = read_frames([event_frame(events.Done(1, 2)) + piece_frame("a", b"bytes") + b"rubbish\n"])
    assert [next(stream), next(stream)] == [events.Done(1, 2), Piece("a", b"bytes")]
    with pytest.raises(ProtocolError):
        next(stream)


def test_a_header_that_does_not_end_is_refused_before_it_fills_the_memory():
    def endless() -> Iterable[bytes]:
        while True:
            yield b"x" * (1024 * 1024)

    stream = iter(endless())
    with pytest.raises(ProtocolError, match="does not end"):
        list(read_frames(stream))
    assert MAX_LINE == 16 * 1024 * 1024


def test_a_piece_that_was_announced_larger_than_it_came_is_kept_as_far_as_it_came():
    stream = [json.dumps({"file": "a", "bytes": 1 << 40}).encode() + b"\n" + b"abc", b"def"]
    assert joined(read_frames(stream)) == [Piece("a", b"abcdef")]


@settings(max_examples=300)
@given(st.lists(st.binary(max_size=60) | st.sampled_from([b"\n", b'{"event":', b'{"file":"a","bytes":3}\n', b"}\n"])))
def test_no_bytes_make_the_reader_fail_in_another_way(chunks):
    try:
        for frame in read_frames(chunks):
            assert isinstance(frame, Piece) or type(frame).KIND
    except ProtocolError as error:
        assert str(error)


@settings(max_examples=300)
@given(st.lists(FRAME, min_size=1, max_size=4), st.data())
def test_no_flipped_byte_makes_the_reader_fail_in_another_way(frames, data):
    stream = bytearray(written(frames))
    stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    try:
        list(read_frames([bytes(stream)]))
    except ProtocolError as error:
        assert str(error)
