"""Hooks in the form of SRS's HTTP callbacks (``[[hook]] form = "srs"``), for receivers that were written for it.

    on_play, on_stop          a viewer of a live channel
    on_publish, on_unpublish  a channel's media connection
    nothing else              SRS has no word for it

    {"server_id": …, "service_id": "", "action": "on_play", "client_id": …, "ip": …, "vhost": "__defaultVhost__", "app": "live",
     "stream": "13800138000_1", "param": "?who=ann", "pageUrl": "", "stream_url": "/live/13800138000_1", "stream_id": "live/13800138000_1"}

``client_id`` is the same in a player's on_play and on_stop: it is made of the player's address and port, its name and the channel. ``param`` never
holds the token of the play address, which we have checked; it names who plays. Form: https://ossrs.net/lts/en-us/docs/v5/doc/http-callback
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

VHOST = "__defaultVhost__"
PLAYS = ("on_play", "on_stop")
ACTIONS = (*PLAYS, "on_publish", "on_unpublish")


def client_id(kind: str, *parts: object) -> str:
    """A name for one side of a stream."""
    return f"{kind}-{hashlib.sha256('|'.join(map(str, parts)).encode()).hexdigest()[:12]}"


def publisher_id(stream: str) -> str:
    """The terminal's connection that brings a stream, as a client."""
    return client_id("pub", stream)


def callback(action: str, what: Mapping[str, Any], server: str) -> dict[str, Any] | None:
    """The body for an event of ours, or for the question whether a play may begin; None: SRS does not tell such a thing."""
    if action not in ACTIONS or "channel" not in what:
        return None
    app = str(what.get("kind") or "live")
    stream = f"{what['sim']}_{what['channel']}" if app == "live" else str(what["sim"])
    peer, who = str(what.get("peer") or what.get("address") or ""), str(what.get("who") or "")
    told: dict[str, Any] = {
        "server_id": server,
        "service_id": "",
        "action": action,
        "client_id": client_id("play", peer, who, what["channel"]) if action in PLAYS else publisher_id(stream),
        "ip": _host(peer),
        "vhost": VHOST,
        "app": app,
        "tcUrl": "",
        "stream": stream,
        "param": f"?who={quote(who)}" if who and action in PLAYS else "",
        "stream_url": f"/{app}/{stream}",
        "stream_id": f"{app}/{stream}",
    }
    if action == "on_play":
        told["pageUrl"] = ""
    return told


def verdict(said: Any) -> Any:
    """An answer in our own form: SRS's is a number alone, or an object with a ``code``; 0 allows."""
    return {"code": said} if isinstance(said, int) and not isinstance(said, bool) else said


def _host(peer: str) -> str:
    """``10.0.0.7:50000``, ``[fe80::1]:50000`` and ``10.0.0.7`` without the port."""
    if peer.startswith("["):
        return peer[1:].partition("]")[0]
    return peer.partition(":")[0] if peer.count(":") == 1 else peer
