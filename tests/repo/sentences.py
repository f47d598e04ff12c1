"""The sentences in which the relay says that something failed or ended, read out of its source: what the page must have in Chinese.

A string counts when it goes to one of ``TELLERS`` or ``CAUSES``, or to one of ``NAMES``, and has two words at least. What is put into it is ``{}``.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2] / "relay"
#: where what a person at the page may read is made
PARTS = (
    "core", "hub", "net", "web", "rtmp/url.py", "jt808/session.py", "jt808/session_replies.py", "jt809/link.py", "jt809/mainlink.py",
    "jt809/messages/link.py", "jt809/sublink.py", "store/terminals.py", "store/users.py", "store/database.py", "store/connection.py",
)  # fmt: skip
#: whose words never reach the page: they go to other players, programs and platforms, into the log, or to whoever speaks HTTP wrongly
ELSEWHERE = {
    "bridge_downloads.py", "bridge_requests.py", "cross_domain.py", "platform.py", "superior_link.py", "uplink_vehicle.py",
    "ftp.py", "player.py", "player_wires.py", "recording.py", "rtmp.py", "tls.py", "fetches.py", "handover.py", "handover808.py", "upload_files.py",
    "api_compat.py", "api_srs.py", "feed.py", "files.py", "hls.py", "segments.py", "server.py", "websocket.py", "metrics.py", "request.py",
}  # fmt: skip
#: exceptions that carry words to whoever asked
TELLERS = {
    "AccountError", "BadReplyError", "BusyError", "ConfirmationNeededError", "IncompleteReplyError", "NoReplyError", "NotPossibleError", "NotReadyError",
    "OtherStreamError", "OverflowError", "Problem", "PtzError", "PushFailed", "PushUrlError", "QuirkError", "RecordError", "RecordingNotPossible",
    "Refusal", "RefusedError",
    "RequestError", "SnapshotError", "StartFailed", "StoreConflictError", "StoreError", "TerminalOfflineError", "TokenError",
    "TooManyRequestsError", "TooManyWatchersError", "UnsupportedFileError", "UnsupportedTrackError", "UploadError", "UploadRefusedError", "Verdict",
    "VoiceError", "WebhookError", "WrongReplyError", "_Rule",
}  # fmt: skip
#: functions that are told why something ends, or did not begin
CAUSES = {
    "_again", "_drop_source", "_end", "_expire", "_fail", "_failed", "_give_up", "_leave", "_over", "_refuse", "_tell", "_time", "_try_later", "_without",
    "block", "close", "complain", "end", "ended", "finish", "kick", "let_go", "note", "refuse", "refused", "remove", "restart", "source_lost", "stop",
}  # fmt: skip
#: what such words are kept in on their way
NAMES = {
    "_HINTS", "AT_ITS_END", "CLOSED_BY_TERMINAL", "OVER", "REQUEST_PROBLEMS", "RESULT_WORDS", "SPENT_WORDS", "hint", "hints", "message", "note", "problem",
    "LOGIN_RESULT", "reason", "text", "times", "what", "where", "why", "word", "words", "state",
}  # fmt: skip
#: modules that make words for others and return them
RETURNING = {
    "budget.py", "derived.py", "fence.py", "live_channel.py", "live_failure.py", "orders.py", "other_stream.py", "peerlog.py", "playback.py", "push.py",
    "stream.py", "superior809.py", "transcode.py", "voice.py", "output.py",
}  # fmt: skip

#: found among them, and none: what goes into the log or the audit, or has no words
OTHERS = {
    "files of old alarms stay: {}", "channel {}: {} {}", "{} ended after {} s: {}; {} bytes from, {} to the terminals", "<Stream {} {}>",
    "data budget: {} bytes a day, {} a month",
}  # fmt: skip

#: the fields of a line of the log
LOGGED = re.compile(r"(?<!/)\{[a-z_]+(:[.\w]+)?\}")


def template(node: ast.AST) -> str | None:
    """A string as it is written, with ``{}`` for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def name_of(node: ast.AST) -> str:
    """The last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def tells(node: ast.AST, above: dict[ast.AST, ast.AST], module: str) -> bool:
    """Whether these words go to a person."""
    while not isinstance(node, ast.stmt):
        below, node = node, above[node]
        if isinstance(node, ast.Call):
            called = name_of(node.func)
            if called in TELLERS:
                return not any(isinstance(one, ast.keyword) and one is below and one.arg in {"code", "headers"} for one in node.keywords)
            if called != "get":  # a table of words, looked up on the spot
                return called in CAUSES
    if isinstance(node, ast.Assign):
        return any(name_of(one) in NAMES for target in node.targets for one in ast.walk(target))
    if isinstance(node, ast.AnnAssign):
        return name_of(node.target) in NAMES
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (isinstance(node, ast.Return) and module in RETURNING)


def in_module(path: Path) -> Iterator[str]:
    """The sentences of one module."""
    tree = ast.parse(path.read_text("utf-8"))
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for node in ast.walk(tree):
        text = template(node)
        if text is None or isinstance(above[node], ast.Expr | ast.JoinedStr):
            continue
        if " " in text.strip() and re.search(r"[a-z]{2}", text) and text not in OTHERS and not LOGGED.search(text) and tells(node, above, path.name):
            yield text


def sentences() -> dict[str, str]:
    """Sentence -> module."""
    found: dict[str, str] = {}
    for part in PARTS:
        place = ROOT / part
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if path.name not in ELSEWHERE:
                for text in in_module(path):
                    found.setdefault(text, path.relative_to(ROOT).as_posix())
    return found
