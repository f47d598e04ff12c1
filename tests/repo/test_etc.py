"""What lies in etc/ for other programs is read by those programs, where they are installed: nft, systemd. (nginx: tests/e2e/test_proxy.py; Grafana's
dashboard: tests/e2e/test_dashboard.py.)"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relay.cli.main import COMMANDS
from relay.settings import Settings
from tests.shared import ROOT

ETC = ROOT / "etc"


def need(program: str, package: str) -> str:
    path = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{program} is not installed (Debian's package {package})")
    return path


def ports(value: Any) -> set[int]:
    """What an expression of nft's JSON says of ports."""
    if isinstance(value, int):
        return {value}
    if isinstance(value, dict) and "range" in value:
        return set(range(value["range"][0], value["range"][1] + 1))
    return {port for one in value["set"] for port in ports(one)}


def test_the_firewall_list_loads_and_opens_the_ports_of_a_fresh_configuration() -> None:
    nft, unshare = need("nft", "nftables"), need("unshare", "util-linux")
    script = f"{nft} -f {ETC / 'nftables.conf'} && {nft} -f {ETC / 'nftables.conf'} && {nft} -j list ruleset"  # twice: it takes its own place
    done = subprocess.run([unshare, "--net", "--map-root-user", "sh", "-c", script], capture_output=True, text=True, check=False)
    if "unshare" in done.stderr:
        pytest.skip(f"no network namespace of its own can be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)["nftables"]
    assert [one["chain"]["policy"] for one in told if "chain" in one] == ["drop"]
    opened: dict[str, set[int]] = {"tcp": set(), "udp": set()}
    for rule in (one["rule"]["expr"] for one in told if "rule" in one):
        for match in (part["match"] for part in rule if "match" in part and {"accept": None} in rule):
            payload = match["left"].get("payload", {})
            if payload.get("field") == "dport":
                opened[payload["protocol"]] |= ports(match["right"])
    settings = Settings()
    media, passive = settings.media, [int(number) for number in settings.ftp.passive_ports.split("-")]
    extra = [int(number) for number in media.talk_extra_ports.split("-")]
    assert opened["tcp"] >= {
        settings.terminals.tcp_port, media.live_tcp_port, media.playback_tcp_port, media.talk_tcp_port, *range(extra[0], extra[1] + 1), settings.ftp.port,
        *range(passive[0], passive[1] + 1), settings.attachments.port, settings.http.platform_port, settings.rtmp.port, 8809,
    }  # fmt: skip
    assert settings.http.port not in opened["tcp"], "the proxy in front of it is what people reach"
    assert opened["udp"] == {settings.terminals.udp_port, media.live_udp_port, media.playback_udp_port}


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    analyze = need("systemd-analyze", "systemd")
    text = (ETC / "jt1078relay.service").read_text(encoding="utf-8")
    unit = tmp_path / "jt1078relay.service"
    # the program of an installation that is not here
    unit.write_text(text.replace("/opt/jt1078relay/bin/twistd", str(Path(sys.executable).parent / "twistd")), encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    faults = [line for line in done.stderr.splitlines() if "jt1078relay" in line]
    assert (done.returncode, faults) == (0, [])
    assert re.search(r"^ExecReload=.*HUP", text, re.MULTILINE)
    assert re.search(r"^Type=notify$", text, re.MULTILINE), "else a reload right after the start ends the relay"
    assert not re.search(r"^MemoryDenyWriteExecute", text, re.MULTILINE), "TLS does not work with it"


def test_systemd_finds_the_unit_little_exposed(tmp_path: Path) -> None:
    analyze = need("systemd-analyze", "systemd")
    words = [analyze, "security", "--offline=true", "--threshold=20", "--no-pager", str(ETC / "jt1078relay.service")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd cannot judge a file (older than 250)")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_container_image_names_programs_and_commands_that_there_are() -> None:
    text = (ETC / "Containerfile").read_text(encoding="utf-8")
    check, start = (json.loads(found) for found in re.findall(r"^(?:HEALTHCHECK CMD|ENTRYPOINT) (.*)$", text, re.MULTILINE))
    assert [check[0], check[1] in COMMANDS] == ["jt1078relay", True]
    assert (start[0], start[-1]) == ("twistd", "jt1078relay")
    assert set(re.findall(r"^# +podman exec relay jt1078relay (\S+)", text, re.MULTILINE)) <= COMMANDS.keys()
