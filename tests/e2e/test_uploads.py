"""Files fetched from terminals, over real FTP: the simulated terminal in all its moods, and curl, lftp and Python's ftplib as foreign clients."""

from __future__ import annotations

import ftplib
import io
import socket
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from relay.core.tokens import Signer
from tests.e2e.support import Product, decode_errors, loudest, need, probe_streams, run, wait_for

PHONE = "013800138000"
NEVER = ("--fault", "upload-never")  #: the terminal leaves the FTP server to others


@pytest.fixture(scope="module")
def relay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("uploads"), ftp={"stall_s": 5, "passive_ports": "20000-20999"}) as product:
        product.terminal(PHONE, *NEVER)
        yield product


def span(seconds: int = 5) -> dict[str, str]:
    """Some seconds of two hours ago."""
    begin = datetime.now(ZoneInfo("Asia/Shanghai")).replace(microsecond=0) - timedelta(hours=2)
    return {"start_time": begin.isoformat(), "end_time": (begin + timedelta(seconds=seconds)).isoformat()}


def start(relay: Product, phone: str = PHONE, seconds: int = 5, **more: Any) -> dict[str, Any]:
    task: dict[str, Any] = relay.api("POST", f"/terminals/{phone}/channels/1/uploads", {**span(seconds), **more}, expect=201)
    return task


def until(relay: Product, ident: str, *states: str, timeout: float = 40.0) -> dict[str, Any]:
    """The task once it is in one of those states."""

    def look() -> dict[str, Any] | None:
        task: dict[str, Any] = relay.api("GET", f"/uploads/{ident}")
        return task if task["state"] in states else None

    return wait_for(f"upload {ident} {'/'.join(states)}", look, timeout)


def credentials(relay: Product) -> tuple[str, str]:
    """User and password of a new task, as its 0x9206 has them."""
    task = start(relay)
    until(relay, task["id"], "uploading")
    signer = Signer((relay.folder / "signing.key").read_text(encoding="ascii").strip())
    return task["id"], signer.secrets_for(f"ftp {task['id']}")[0]


def cancel(relay: Product, ident: str) -> None:
    relay.api("POST", f"/uploads/{ident}/control", {"action": "cancel"})
    relay.api("DELETE", f"/uploads/{ident}", expect=204)


def url(relay: Product, ident: str, name: str = "") -> str:
    path = f"files/{name}" if name else "file"
    return f"http://127.0.0.1:{relay.ports['http']}/api/v1/uploads/{ident}/{path}"


def fetch(relay: Product, target: Path, address: str, *options: str) -> str:
    """A file by curl; gives the answer's head."""
    return str(run(need("curl"), "-sS", "-D", "-", "-o", target, "-H", f"Authorization: Bearer {relay.api_token}", *options, address).stdout)


# the terminal's moods --------------------------------------------------------------------------------------------------------


def test_a_terminal_sends_what_was_asked_for_and_it_plays_as_mp4(relay: Product, tmp_path: Path) -> None:
    phone = "013800138001"
    queued = start(relay, phone) if relay.is_online(phone) else None
    assert queued is None
    relay.api("POST", "/terminals", {"phone": phone}, expect=201)
    task = start(relay, phone)
    assert (task["state"], task["waits_for_terminal"]) == ("queued", True)
    relay.terminal(phone, "--upload-format", "jt1078", "--edition", "2019")
    done = until(relay, task["id"], "done")
    [file] = done["files"]
    assert (done["reason"], file["complete"], len(file["sha256"])) == ("", True, 64)
    head = fetch(relay, tmp_path / "raw", url(relay, task["id"], file["name"]))
    assert f"Content-Length: {file['size']}" in head
    assert (tmp_path / "raw").stat().st_size == file["size"]
    part = fetch(relay, tmp_path / "part", url(relay, task["id"]), "-r", "1000-1999")
    assert "206 Partial Content" in part
    assert f"Content-Range: bytes 1000-1999/{file['size']}" in part
    assert (tmp_path / "part").read_bytes() == (tmp_path / "raw").read_bytes()[1000:2000]
    assert "416 Range" in fetch(relay, tmp_path / "none", url(relay, task["id"]), "-r", f"{file['size']}-")
    fetch(relay, tmp_path / "a.mp4", url(relay, task["id"]) + "?convert=mp4")
    streams = {stream["codec_type"]: stream for stream in probe_streams(tmp_path / "a.mp4", "-count_frames")}
    assert (streams["video"]["codec_name"], streams["video"]["nb_read_frames"]) == ("h264", "125")
    assert streams["audio"]["codec_name"] in ("aac", "flac")  # with and without the extra ``media``
    assert decode_errors(tmp_path / "a.mp4") == ""
    assert {440, 880} <= set(loudest(tmp_path / "a.mp4", (330, 440, 660, 880)))
    listed = relay.api("GET", f"/uploads?sim={phone}&state=done")
    assert [each["id"] for each in listed["items"]] == [task["id"]]


def test_one_that_stops_half_way_is_reminded_and_goes_on_there(relay: Product, tmp_path: Path) -> None:
    phone = "013800138002"
    terminal = relay.terminal(phone, "--fault", "upload-stops=50")
    task = start(relay, phone)
    done = until(relay, task["id"], "done")
    assert "stops on purpose" in terminal.output
    fetch(relay, tmp_path / "a.mp4", url(relay, task["id"]) + "?convert=mp4")
    [video] = probe_streams(tmp_path / "a.mp4", "-count_frames")
    assert video["nb_read_frames"] == "125"  # nothing twice, nothing missing
    assert decode_errors(tmp_path / "a.mp4") == ""
    assert done["files"][0]["complete"]


def test_pause_resume_and_cancel(relay: Product) -> None:
    phone = "013800138003"
    relay.terminal(phone, "--fault", "upload-rate=60000")
    task = start(relay, phone, seconds=20)
    wait_for("bytes", lambda: relay.api("GET", f"/uploads/{task['id']}")["bytes"] > 50_000)
    assert relay.api("POST", f"/uploads/{task['id']}/control", {"action": "pause"})["state"] == "paused"
    wait_for("the connections' end", lambda: not relay.api("GET", f"/uploads/{task['id']}")["connections"])
    paused = relay.api("GET", f"/uploads/{task['id']}")["bytes"]
    assert relay.api("POST", f"/uploads/{task['id']}/control", {"action": "resume"})["state"] == "uploading"
    wait_for("more bytes", lambda: relay.api("GET", f"/uploads/{task['id']}")["bytes"] > paused + 20_000)
    assert relay.api("POST", f"/uploads/{task['id']}/control", {"action": "cancel"})["state"] == "cancelled"
    assert relay.api("POST", f"/uploads/{task['id']}/control", {"action": "resume"}, expect=409)["error"] == "upload_over"
    wait_for("the half file's end", lambda: not list((relay.folder / "uploads" / task["id"]).glob("*.h264")))


def test_a_failure_that_the_terminal_reports_keeps_what_came(relay: Product) -> None:
    phone = "013800138004"
    relay.terminal(phone, "--fault", "upload-fails", "--fault", "answers-twice", "--fault", "other-serial")
    failed = until(relay, start(relay, phone, seconds=1)["id"], "failed")
    assert (failed["reason"], failed["files"][0]["complete"]) == ("terminal_failed", True)


# foreign clients -----------------------------------------------------------------------------------------------------------------


def test_curl_uploads_and_resumes(relay: Product, tmp_path: Path) -> None:
    user, password = credentials(relay)
    data = bytes(range(256)) * 4000
    (tmp_path / "clip.bin").write_bytes(data)
    where = f"ftp://{user}:{password}@127.0.0.1:{relay.ports['ftp']}/"
    run(need("curl"), "-sS", "-T", tmp_path / "clip.bin", where + "whole.bin")
    run(need("curl"), "-sS", "--disable-epsv", "--ftp-create-dirs", "-T", tmp_path / "clip.bin", where + "video/front/deep.bin")
    (tmp_path / "half").write_bytes(data[:500_000])
    run(need("curl"), "-sS", "-T", tmp_path / "half", where + "resumed.bin")
    run(need("curl"), "-sS", "-C", "-", "-T", tmp_path / "clip.bin", where + "resumed.bin")
    folder = relay.folder / "uploads" / user
    for name in ("whole.bin", "video_front_deep.bin", "resumed.bin"):
        wait_for(name, lambda name=name: (folder / name).exists() and (folder / name).read_bytes() == data)  # type: ignore[misc]
    assert run(need("curl"), "-sS", where + "whole.bin", check=False).returncode != 0, "nothing is ever given out"
    assert run(need("curl"), "-sS", where, check=False).returncode != 0, "nothing is listed"
    assert run(need("curl"), "-sS", "-Q", "-DELE whole.bin", "-T", tmp_path / "half", where + "x", check=False).returncode != 0
    assert (folder / "whole.bin").read_bytes() == data
    cancel(relay, user)


def test_lftp_uploads_goes_on_and_learns_nothing(relay: Product, tmp_path: Path) -> None:
    user, password = credentials(relay)
    data = bytes(range(256)) * 2000
    (tmp_path / "clip.bin").write_bytes(data)
    (tmp_path / "half.bin").write_bytes(data[:100_000])
    login = f"open -u {user},{password} -p {relay.ports['ftp']} 127.0.0.1; set net:max-retries 1; set net:timeout 5"

    def lftp(commands: str) -> subprocess.CompletedProcess[str]:
        return run(need("lftp"), "-c", f"set ftp:ssl-allow no; {login}; {commands}", check=False, timeout=40)

    done = lftp(f"put {tmp_path}/clip.bin -o a.bin; put {tmp_path}/half.bin -o b.bin; put -c {tmp_path}/clip.bin -o b.bin")
    assert done.returncode == 0, done.stderr
    folder = relay.folder / "uploads" / user
    for name in ("a.bin", "b.bin"):
        wait_for(name, lambda name=name: (folder / name).read_bytes() == data)  # type: ignore[misc]
    for commands in ("cls", f"get a.bin -o {tmp_path}/stolen", "rm a.bin", "mv a.bin c.bin"):
        assert lftp(commands).returncode != 0, commands
    assert not (tmp_path / "stolen").exists()
    assert (folder / "a.bin").exists()
    cancel(relay, user)


def test_an_avi_and_a_file_that_is_none_of_the_kinds(relay: Product, tmp_path: Path) -> None:
    pytest.importorskip("av")
    user, password = credentials(relay)
    made = ["-v", "error", "-f", "lavfi", "-i", "testsrc=s=176x144:r=10:d=2", "-f", "lavfi", "-i", "sine=440:r=8000:d=2"]
    run(need("ffmpeg"), *made, "-c:v", "libx264", "-c:a", "pcm_alaw", "-ac", "1", tmp_path / "a.avi")
    (tmp_path / "text.mp4").write_bytes(b"this is no film at all" * 100)
    session = login(relay, user, password)
    for name in ("a.avi", "text.mp4"):
        session.storbinary(f"STOR {name}", io.BytesIO((tmp_path / name).read_bytes()))
    session.quit()
    fetch(relay, tmp_path / "a.mp4", url(relay, user, "a.avi") + "?convert=mp4")
    streams = {stream["codec_type"]: stream for stream in probe_streams(tmp_path / "a.mp4", "-count_frames")}
    assert (streams["video"]["codec_name"], streams["video"]["nb_read_frames"], streams["audio"]["codec_name"]) == ("h264", "20", "aac")
    assert "415" in fetch(relay, tmp_path / "b.mp4", url(relay, user, "text.mp4") + "?convert=mp4").splitlines()[0]
    assert b"unsupported_file" in (tmp_path / "b.mp4").read_bytes()
    cancel(relay, user)


def login(relay: Product, user: str, password: str, host: str = "127.0.0.1") -> ftplib.FTP:
    session = ftplib.FTP(timeout=20)
    session.connect("127.0.0.1", relay.ports["ftp"], source_address=(host, 0))
    session.login(user, password)
    return session


def refused(session: ftplib.FTP, command: str) -> str:
    with pytest.raises(ftplib.Error) as told:
        session.sendcmd(command)
    return str(told.value)


def thrown_out(thief: socket.socket) -> None:
    """The other side ends it, whatever is sent."""
    try:
        while thief.send(b"stolen"):
            if not thief.recv(1):
                return
    except ConnectionError:
        return


def test_the_fence(relay: Product) -> None:
    """No bounce, no theft of data connections, no way out of the folder, no log-in but the task's own."""
    user, password = credentials(relay)
    session = login(relay, user, password)
    with socket.socket() as victim:
        victim.bind(("127.0.0.2", 0))
        victim.listen()
        victim.settimeout(0.3)
        port = victim.getsockname()[1]
        assert refused(session, f"PORT 127,0,0,2,{port >> 8},{port & 255}").startswith("504")
        assert refused(session, f"EPRT |1|127.0.0.2|{port}|").startswith("504")
        with pytest.raises(TimeoutError):
            victim.accept()
    assert refused(session, "PORT 127,0,0,1,0,80").startswith("504"), "not to ports of the system either"
    for command in ("PORT 1,2,3", "EPRT |", "REST x", "EPSV 7", "TYPE X", "MODE B", "STRU R", "STOR a"):
        assert refused(session, command)[0] in "45", command
    for command in ("LIST", "NLST", "RETR a", "DELE a", "RNFR a", "SITE CHMOD 777 a", "STAT", "MLSD", "RMD x"):
        assert refused(session, command).startswith("550"), command
    for command in ("AUTH TLS", "XCRC a", "CLNT x", "\xff\xf4\xf2FOO"):
        assert refused(session, command).startswith("502"), command
    for path in ("../evil", "a/../../evil", "..\\evil", "video/..", "x\0y"):
        session.sendcmd("EPSV")
        assert refused(session, f"STOR {path}")[0] == "5", path
    assert refused(session, "CWD ..").startswith("550")
    assert not list(relay.folder.rglob("*evil*"))
    reply = session.sendcmd("EPSV")
    port = int(reply.split("|")[3])
    assert 20000 <= port <= 20999
    with socket.socket() as thief:
        thief.bind(("127.0.0.3", 0))
        thief.settimeout(5)
        thief.connect(("127.0.0.1", port))
        session.putcmd("STOR mine.bin")
        assert session.getresp().startswith("150")
        thrown_out(thief)
    with socket.create_connection(("127.0.0.1", port)) as owner:  # … and the owner is not
        owner.sendall(b"honest")
    assert session.getresp().startswith("226")
    assert (relay.folder / "uploads" / user / "mine.bin").read_bytes() == b"honest"
    session.close()
    for name, word in (("anonymous", "me@example"), (user, "wrong"), ("", ""), (user, "")):
        with pytest.raises(ftplib.all_errors):
            login(relay, name, word)
    cancel(relay, user)
    with pytest.raises(ftplib.all_errors):
        login(relay, user, password)
    assert password not in relay.process.output


def test_nobody_is_answered_while_nothing_is_expected(relay: Product) -> None:
    wait_for("no task", lambda: not [each for each in relay.api("GET", "/uploads")["items"] if each["state"] in ("queued", "asked", "uploading", "paused")])
    with socket.create_connection(("127.0.0.1", relay.ports["ftp"]), timeout=10) as asking:
        asking.settimeout(10)
        assert asking.recv(100) == b""


def test_a_broken_data_connection_and_a_slow_log_in_cost_only_themselves(relay: Product) -> None:
    user, password = credentials(relay)
    session = login(relay, user, password)
    port = int(session.sendcmd("EPSV").split("|")[3])
    with socket.create_connection(("127.0.0.1", port)) as data:
        session.putcmd("STOR half.bin")
        assert session.getresp().startswith("150")
        data.sendall(bytes(1000))
        wait_for("bytes", lambda: relay.api("GET", f"/uploads/{user}")["bytes"] == 1000)
        data.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # closing is a reset
    with pytest.raises(ftplib.error_temp, match="426"):
        session.getresp()
    [file] = relay.api("GET", f"/uploads/{user}/files")["items"]
    assert (file["complete"], file["problem"], file["size"]) == (False, "broken_off", 1000)
    assert session.size("half.bin") == 1000
    session.storbinary("STOR half.bin", io.BytesIO(bytes(500)), rest=1000)
    assert relay.api("GET", f"/uploads/{user}/files")["items"][0]["size"] == 1500
    session.quit()
    cancel(relay, user)
