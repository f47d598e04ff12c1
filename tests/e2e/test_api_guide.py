"""docs/api.md: every command of it, in order, in one shell, against a simulated terminal."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.support import Product, need, wait_for
from tests.ports import free_port
from tests.shared import ROOT

pytestmark = pytest.mark.e2e


def test_the_api_guides_commands_work(tmp_path: Path) -> None:
    need("curl")
    text = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    with Product(tmp_path, media={"talk_tcp_port": free_port()}) as relay:
        relay.terminal("013800138000", "--alarm-interval", "1", "--position-interval", "1")
        wait_for("a position", lambda: relay.api("GET", "/positions")["items"])
        environment = {**os.environ, "RELAY": f"http://127.0.0.1:{relay.ports['http']}", "TOKEN": relay.token("--api", "--role", "operator")}
        script = "set -e\n" + "\necho; echo ===\n".join(blocks)
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60, env=environment)
        assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
        answers = [part.strip() for part in done.stdout.split("===")]
        assert len(answers) == len(blocks) >= 7
        assert json.loads(answers[0])["version"]
        assert '"sim":"13800138000"' in answers[1] and "/live/13800138000_1.flv?" in answers[1]
        assert "first_key_frame" in answers[1]
        assert '"ws":"ws://' in answers[5]
        assert '"latitude"' in answers[6]
