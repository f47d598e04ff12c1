"""The log: text for people or JSON lines for machines, without secrets.

Secrets reach a log by three ways, and each is closed here, behind everything that logs:

* as a field of an event: fields named in ``SECRET_FIELDS`` are blanked before anything is formatted;
* inside a URL or header in a text: ``token=…``, ``password=…``, ``Authorization: …`` are cut;
* as a token of ours anywhere else: its shape is known (``relay.core.tokens``).

The one line that must show a token (the demonstration's URL, the first administrator's link) is logged with ``reveal=True``.
"""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from twisted.logger import (
    ILogObserver,
    LogEvent,
    LogLevel,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
)
from zope.interface import implementer

SECRET_FIELDS = frozenset({"token", "password", "auth_code", "signing_key", "signing_key_old", "authorization", "secret", "cookie"})
HIDDEN = "[hidden]"

_PATTERNS = (
    re.compile(r"(?i)\b((?:access_)?token|password|passwd|auth_code|signing_key|secret)(=|%3D)[^\s&\"'<>;,]+"),
    re.compile(r"(?i)\b(authorization|cookie|set-cookie)(: *)(?:(?:bearer|basic|digest) +)?[^\s\"']+"),
    re.compile(r"(?i)\b(bearer)( +)[A-Za-z0-9._~+/=-]{8,}"),
)
_TOKEN = re.compile(r"\b[A-Za-z0-9_-]{16,1000}\.[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])")

LEVELS = {"debug": LogLevel.debug, "info": LogLevel.info, "warn": LogLevel.warn, "error": LogLevel.error}


def redact(text: str) -> str:
    """The text without secrets."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1\2{HIDDEN}", text)
    return _TOKEN.sub(HIDDEN, text)


def without_secrets(event: LogEvent) -> LogEvent:
    """The event with its secret fields blanked."""
    if event.get("reveal") or SECRET_FIELDS.isdisjoint(event):
        return event
    return {key: HIDDEN if key in SECRET_FIELDS else value for key, value in event.items()}


def as_text(event: LogEvent) -> str:
    """One line (and a traceback's indented ones): time, namespace and level, message. Peers' line breaks are indented too."""
    line = formatEventAsClassicLogText(without_secrets(event)) or ""
    return line if event.get("reveal") else redact(line)


def as_json(event: LogEvent) -> str:
    """One JSON object a line: time, level, namespace, message, the plain fields, and the traceback of a fault."""
    event = without_secrets(event)
    level = event.get("log_level")
    entry: dict[str, Any] = {
        "time": datetime.fromtimestamp(event.get("log_time", 0.0), UTC).isoformat(timespec="milliseconds"),
        "level": level.name if level is not None else "info",
        "namespace": event.get("log_namespace", "-"),
        "message": formatEvent(event),
    }
    for key, value in event.items():
        if not key.startswith("log_") and key not in entry and key.isidentifier() and (value is None or isinstance(value, bool | int | float | str)):
            entry[key] = value
    if "log_failure" in event:
        entry["failure"] = eventAsText(event, includeTraceback=True, includeTimestamp=False, includeSystem=False)
    if not entry["message"] and "failure" not in entry:
        return ""
    if not event.get("reveal"):
        entry = {key: redact(value) if isinstance(value, str) else value for key, value in entry.items()}
    return json.dumps(entry, ensure_ascii=False) + "\n"


@implementer(ILogObserver)
class LogWriter:
    """Writes the events of a level and above to a file; level and form may change while it runs."""

    def __init__(self, out: TextIO, form: str = "text", level: str = "info") -> None:
        self._out = out
        self.on_stdout = out is stdout()
        self.set(form, level)

    def set(self, form: str, level: str) -> None:
        """``text`` or ``json``; ``debug``, ``info``, ``warn`` or ``error``."""
        self._format = as_json if form == "json" else as_text
        self._least = LEVELS[level]

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level")
        if level is not None and level < self._least:
            return
        line = self._format(event)
        if line:
            self._out.write(line)
            self._out.flush()


def stdout() -> TextIO:
    """The real standard output: twistd puts a logger in place of ``sys.stdout``."""
    return sys.__stdout__ or sys.stdout
