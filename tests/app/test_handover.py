"""What a process image leaves to the next one: the file, the descriptors, the command; and the trial before anything is given up."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import globalLogPublisher
from twisted.scripts._twistd_unix import ServerOptions

from relay.app import handover, rehearsal
from relay.app.handover import VARIABLE, command_line, received, state_of, why_not, write
from relay.app.listening import Left, Listeners, Wanted
from tests.ports import free_port


@pytest.fixture
def lines() -> Any:
    told: list[str] = []

    def take(event: dict[str, Any]) -> None:
        told.append(event["log_format"].format(**{key: value for key, value in event.items() if key.isidentifier()}))

    globalLogPublisher.addObserver(take)
    yield told
    globalLogPublisher.removeObserver(take)


def listening() -> socket.socket:
    made = socket.create_server(("127.0.0.1", 0))
    made.set_inheritable(True)
    return made


def test_the_state_comes_back_and_its_file_has_no_name_and_is_gone() -> None:
    with listening() as one:
        left = [Left("http.port", "tcp", "127.0.0.1", 0, one.fileno())]
        number = write(state_of("0.1.0", 12.5, "/run/x.pid", left, [{"link": {"a": 1}}]))
        assert os.get_inheritable(number)
        assert os.fstat(number).st_nlink == 0
        assert stat.S_ISREG(os.fstat(number).st_mode)
        environ = {VARIABLE: str(number)}
        found = received(environ)
    assert environ == {}, "children of this image must not see it"
    assert found is not None
    assert (found.version, found.at, found.pidfile, found.listeners) == ("0.1.0", 12.5, "/run/x.pid", left)
    assert [one.object("link").number("a") for one in found.terminals] == [1]
    with pytest.raises(OSError):
        os.fstat(number)


def test_without_a_former_image_there_is_nothing(lines: list[str]) -> None:
    assert received({}) is None
    assert lines == []


def damaged(data: bytes) -> int:
    number = os.memfd_create("x")
    os.write(number, data)
    os.lseek(number, 0, os.SEEK_SET)
    return number


def good() -> bytes:
    number = write(state_of("0.1.0", 12.5, "", [], []))
    with os.fdopen(number, "rb") as file:
        return file.read()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a state of jt1078relay"),
        (b"nonsense" * 100, "not a state of jt1078relay"),
        (good()[:-1], "damaged: its checksum does not fit"),
        (good().replace(b"0.1.0", b"0.1.1"), "damaged: its checksum does not fit"),
        (good().replace(b"handover 1 ", b"handover 2 "), "of format 2, this version reads 1"),
    ],
)
def test_what_is_damaged_or_of_another_format_is_left_aside_in_one_line(data: bytes, why: str, lines: list[str]) -> None:
    one = listening()
    number = one.detach()
    assert received({VARIABLE: str(damaged(data))}) is None
    assert len(lines) == 1
    assert why in lines[0]
    assert "1 sockets closed" in lines[0]
    with pytest.raises(OSError):
        os.fstat(number)


@pytest.mark.parametrize("word", ["x", "1", "-1", "999999", "3.5"])
def test_a_variable_that_names_nothing(word: str, lines: list[str]) -> None:
    assert received({VARIABLE: word}) is None
    assert len(lines) == 1


def test_a_listener_that_is_no_socket_is_another_programs_state(lines: list[str]) -> None:
    with open(os.devnull, "rb") as file:
        number = write(state_of("0.1.0", 1.0, "", [Left("http.port", "tcp", "127.0.0.1", 0, file.fileno())], []))
        assert received({VARIABLE: str(number)}) is None
    assert "is no socket" in lines[0]


def options(*words: str) -> tuple[Any, list[str]]:
    argv = ["/opt/bin/twistd", *words]
    parsed = ServerOptions()  # type: ignore[no-untyped-call]
    parsed.parseOptions(list(words))
    return parsed, argv


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["-n", "--pidfile=", "jt1078relay", "--config", "x"], ["-n", "--pidfile=", "jt1078relay", "--config", "x"]),
        (["-n", "jt1078relay"], ["-n", "--pidfile=", "jt1078relay"]),
        (["jt1078relay", "-c", "x"], ["--nodaemon", "--logfile=twistd.log", "--pidfile=", "jt1078relay", "-c", "x"]),
        (["-l", "a.log", "--uid", "5", "jt1078relay"], ["-l", "a.log", "--uid", "5", "--nodaemon", "--pidfile=", "jt1078relay"]),
        (
            ["--nodaemon", "--logfile=twistd.log", "--pidfile=", "jt1078relay"],
            ["--nodaemon", "--logfile=twistd.log", "--pidfile=", "jt1078relay"],
        ),
    ],
)
def test_the_command_is_the_same_but_a_daemon_is_one_already(words: list[str], expected: list[str]) -> None:
    parsed, argv = options(*words)
    assert command_line(parsed, argv, ["python3", *argv]) == [sys.executable, "/opt/bin/twistd", *expected]
    module = command_line(parsed, argv, ["python3", "-X", "utf8", "-m", "twisted", *words])
    assert module == [sys.executable, "-X", "utf8", "-m", "twisted", *expected]


def test_what_cannot_be_handed_over_is_said() -> None:
    assert "demonstration" in why_not({}, True)
    assert "--chroot" in why_not({"chroot": "/srv"}, False)
    assert why_not({}, False) == ""


def test_listeners_go_over_and_those_not_wanted_any_more_are_closed() -> None:
    former = Listeners()
    wanted = [Wanted("a", "tcp", "127.0.0.1", 0), Wanted("b", "udp", "127.0.0.1", free_port()), Wanted("c", "tcp", "127.0.0.1", free_port())]
    former.bind(wanted)
    ports = {key: former.port(key) for key in "abc"}
    left = former.leave()
    assert former.all() == []
    assert all(os.get_inheritable(one.number) for one in left)
    with socket.create_connection(("127.0.0.1", ports["a"])):  # the kernel keeps it meanwhile
        new = Listeners()
        new.bind([wanted[0], wanted[1], Wanted("d", "tcp", "127.0.0.1", ports["c"])], left)
        assert {key: new.port(key) for key in "abd"} == {"a": ports["a"], "b": ports["b"], "d": ports["c"]}
        bound = new.get("a")
        assert bound is not None
        assert not bound.socket.get_inheritable()
        bound.socket.setblocking(True)
        bound.socket.accept()[0].close()
    new.close_unadopted()


def trial(tmp_path: Path, text: str, held: list[tuple[str, int]] | None = None, log: Path | None = None) -> list[str]:
    (tmp_path / "relay.toml").write_text(text)
    return rehearsal.ask(rehearsal.question("relay.toml", tmp_path, held or [], log))


def test_a_trial_finds_what_would_keep_the_next_start_from_working(tmp_path: Path) -> None:
    closed = "udp_port = 0\n[media]\nlive_tcp_port = 0\nlive_udp_port = 0\nplayback_tcp_port = 0\nplayback_udp_port = 0\n"
    closed += 'talk_tcp_port = 0\ntalk_extra_ports = ""\n'
    closed += '[http]\nport = 0\n[rtmp]\nport = 0\n[ftp]\nport = 0\n[attachments]\nport = 0\n[store]\nurl = "sqlite:///relay.db"\n'
    port = free_port()
    good_text = f'[terminals]\nhost = "127.0.0.1"\ntcp_port = {port}\n{closed}'
    assert trial(tmp_path, good_text, log=tmp_path / "log") == []
    (fault,) = trial(tmp_path, good_text.replace("tcp_port", "tpc_port", 1))
    assert "terminals.tpc_port: unknown key" in fault
    with socket.create_server(("127.0.0.1", port)):
        assert trial(tmp_path, good_text, [("tcp", port)]) == []
        (fault,) = trial(tmp_path, good_text)
        assert "terminals.tcp_port: cannot listen on TCP" in fault
    (fault,) = trial(tmp_path, good_text, log=tmp_path / "nowhere" / "log")
    assert "cannot be written" in fault
    import sqlite3

    with sqlite3.connect(tmp_path / "relay.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    (fault,) = trial(tmp_path, good_text)
    assert "newer version" in fault


def test_a_program_that_does_not_run_any_more_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert rehearsal.ask(b"{}") == ["/nowhere/python cannot be run: No such file or directory"]
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert rehearsal.ask(b"{}") == ["the program does not run: status 1"]


def test_it_becomes_another_image_with_the_variable_and_deaf_to_signals(tmp_path: Path) -> None:
    """In a process of its own."""
    child = (
        "import os, signal, json; deaf = signal.getsignal(signal.SIGUSR2) == signal.SIG_IGN; "
        "print(json.dumps([os.getcwd(), os.environ['JT1078RELAY_HANDOVER'], deaf, os.getpid()]))"
    )
    words = f"[sys.executable, '-c', {child!r}], pathlib.Path({str(tmp_path)!r}), {{}}"
    text = f"import sys, pathlib; from relay.app.handover import become; become({words})"
    with subprocess.Popen([sys.executable, "-c", text], stdout=subprocess.PIPE, text=True) as process:
        told, _ = process.communicate(timeout=30)
    where, number, ignored, pid = json.loads(told)
    assert (where, ignored, pid) == (str(tmp_path), True, process.pid)
    assert int(number) > 2
    assert signal.getsignal(signal.SIGUSR2) == signal.SIG_DFL
    assert handover.FORMAT == 1, "a former program's state is read by its number: see docs/release.md"
