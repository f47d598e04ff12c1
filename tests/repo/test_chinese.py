"""Every failure that the relay tells in English has its Chinese words on the page (``relay/web/static/said.js``), and none of them is left over."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from relay.core import alarm_reading
from relay.core.alarm_reading import Source
from relay.core.alarm_reading import name_of as name_of_alarm
from relay.jt808.items import ALARM_BITS, VIDEO_ALARM_BITS
from relay.jt808.safety import TIRE_BITS
from tests.repo.sentences import ROOT, name_of, sentences, template

STATIC = ROOT / "web" / "static"
HAN = re.compile(r"[\u4e00-\u9fff]")
#: nothing in them to be said otherwise
SAME = {"pip install '.[media]'", "limits.terminals_max = {}", "0x{} {}", "{} [{}]", " ({})", "{}: {}", "{}; {}", "url: {}.", "params[{}]: {}."}


def pairs(name: str, start: str = "export default [") -> list[tuple[str, str]]:
    """A list of the page, one pair of strings a line."""
    text = (STATIC / name).read_text("utf-8")
    lines = text[text.index(start) :].partition("\n];")[0].splitlines()
    return [(english, chinese) for line in lines if line.startswith("  [") for english, chinese in json.loads(f"[{line.strip().rstrip(',')}]")]


def test_every_failure_has_its_chinese_words() -> None:
    known = {english for name in ("zh_answers.js", "zh_causes.js") for english, _ in pairs(name)}
    assert {text: module for text, module in sentences().items() if text not in known} == {}


def test_no_chinese_words_are_left_over() -> None:
    written = {text for path in ROOT.rglob("*.py") for node in ast.walk(ast.parse(path.read_text("utf-8"))) if (text := template(node)) is not None}
    both = [*pairs("zh_answers.js"), *pairs("zh_causes.js")]
    assert [english for english, _ in both if english not in written] == []
    assert len({english for english, _ in both}) == len(both)


def test_the_chinese_words_take_over_what_is_put_in() -> None:
    for english, chinese in [*pairs("zh_answers.js"), *pairs("zh_causes.js")]:
        used = re.findall(r"\{w?(\d)\}", chinese)
        count = english.count("{}")
        assert len(set(used)) == len(used), english
        assert set(map(int, used)) <= set(range(count)), english
        # the one that is a plural's s: connection{}
        assert len(used) == count - bool("connection{}" in english), english
        assert HAN.search(chinese) or english in SAME, english
        assert chinese.endswith("。") == english.endswith(".") or "？" in chinese or english in SAME, english


def test_messages_have_the_names_that_are_declared() -> None:
    declared = []
    for path in sorted((ROOT / "jt808" / "messages").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name_of(node.func) == "message" and len(node.args) >= 3:
                key, chinese, english = (one.value if isinstance(one, ast.Constant) else "" for one in node.args[:3])
                if isinstance(key, int) and key >= 0x8000:
                    declared.append((str(english), str(chinese)))
    assert sorted(pairs("zh_names.js", "export const messages = [")) == sorted(declared)


def test_every_code_of_a_failed_start_has_its_chinese_words() -> None:
    text = (STATIC / "zh_names.js").read_text("utf-8")
    known = set(re.findall(r"(\w+): \"", text.partition("export const codes = {")[2].partition("};")[0]))
    told = set()
    for path in (ROOT / "core").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and name_of(node.func) == "StartFailed" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
                told.add(node.args[1].value)
    assert told - known == set()


def test_alarms_and_what_they_say_of_themselves_have_chinese_names() -> None:
    known = set(re.findall(r"(\w+): \"", (STATIC / "zh_names.js").read_text("utf-8").partition("export const fields = {")[2].partition("};")[0]))
    items = [*alarm_reading.MOMENTS, *(cls for cls in alarm_reading._DETAILS.values())]
    assert {name for cls in items for name in cls.wire_fields} - alarm_reading._COMMON - known == set()
    names = [name_of_alarm(Source(kind, code)) for kind, told in alarm_reading._EVENTS.items() for code in told]
    names += [*ALARM_BITS.values(), *VIDEO_ALARM_BITS.values(), *TIRE_BITS.values()]
    assert [name for name in names if not re.search(r" \([^()]*[\u4e00-\u9fff][^()]*\)$", name)] == []  # bell.js


#: what the relay tells -> what the Chinese page shows
TOLD = {
    "Terminal 13800138000 is not online (last link: no message for 180 s).": "终端 13800138000 不在线（上次断开：180 秒没有消息）。",
    "terminal 13800138000 is not online (last link: connection closed by the terminal).": "终端 13800138000 不在线（上次断开：终端关闭了连接）。",
    "Terminal 13800138000 refused channel 2: result 1 (failed).": "终端 13800138000 拒绝了通道 2 的请求：结果 1（失败）。",
    "the terminal did not answer within 5.0 s: 0x8104 Query all parameters, sent 3 times.": "终端在 5.0 秒内未应答：0x8104 查询终端参数，已发送 3 次。",
    "Channel 1 of terminal 粤B12345 was stopped: stopped by 张三.": "终端 粤B12345 的通道 1 已停止：由 张三 停止。",
    "1 connection from the terminal's address brought no whole JT/T 1078 packet.": "来自终端地址的 1 个连接没有送来完整的 JT/T 1078 包。",
    "This needs the role operator; yours is viewer.": "此操作需要操作员角色，您的角色是查看者。",
    "Terminal main is not known.": "终端 main 未登记。",
    "The token is refused: the token has expired.": "令牌被拒绝：令牌已过期。",
    "Terminal 1 is not online. [terminal_offline; stopped at: sent]": "终端 1 不在线。（终端不在线；止于：下发请求）",
    "Ask for the terminal's other stream by name (stream=sub), which may be H.264. Ask for single pictures (.jpg), or motion=keys.":
        "可指定终端的另一码流（stream=sub），可能是 H.264。可改用单张图片（.jpg），或 motion=keys。",
    "main": "main",
    "something nobody wrote": "something nobody wrote",
    "": "",
}  # fmt: skip


def shown_of(directory: Path, texts: list[str]) -> tuple[list[str], str, float]:
    """What the page says for these, its word for a code, and how many seconds it took."""
    for name in ("said.js", "zh_answers.js", "zh_causes.js", "zh_names.js"):
        shutil.copy(STATIC / name, directory)
    (directory / "package.json").write_text('{"type": "module"}')
    (directory / "i18n.js").write_text('export const currentLanguage = () => "zh";')
    (directory / "main.js").write_text(
        'import { said, codeWords } from "./said.js";\n'
        "const began = performance.now(), shown = JSON.parse(process.argv[2]).map(said);\n"
        'console.log(JSON.stringify([shown, codeWords("no_answer"), (performance.now() - began) / 1000]));'
    )
    answer = subprocess.run(["node", "main.js", json.dumps(texts)], cwd=directory, capture_output=True, text=True, check=True).stdout
    shown, words, seconds = json.loads(answer)
    return shown, words, seconds


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_sentences_are_found_with_what_was_put_in(tmp_path: Path) -> None:
    every = [english.replace("{}", "7") for name in ("zh_answers.js", "zh_causes.js") for english, _ in pairs(name)]
    shown, words, _ = shown_of(tmp_path, [*TOLD, *every])
    assert dict(zip(TOLD, shown, strict=False)) == TOLD
    assert words == "终端未应答"
    assert [text for text in shown[len(TOLD) :] if not HAN.search(text) and "7" not in text and "pip" not in text] == []


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_a_text_that_is_nearly_a_sentence_many_times_over_does_not_stop_the_page(tmp_path: Path) -> None:
    texts = ["_" * (500 + number) + " refused (" * 50 + "." * 200 for number in range(20)]
    shown, _, seconds = shown_of(tmp_path, texts)
    assert shown == texts
    assert seconds < 4  # a machine at rest needs a twentieth of it; looked for by regular expressions it was half a minute
