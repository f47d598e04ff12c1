"""``jt1078relay decode --jsonl FILE --check``: does this program read and write what the objects of a vector file say?

An object passes when every name in its ``fields`` has that value after decoding (null = absent), when the bytes come out again from what was
decoded, and, if it is to be refused (``fields.error``, ``expect: "reject"``), when it is refused for that reason. Names beside those of the object are
allowed: active-safety entries have named fields beside ``raw``.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from relay.cli.decode import answer, decode_vector, vectors
from relay.cli.encode import encode_vector

#: what ``decode`` does not take (material for tests of codecs and containers), and what has no bytes of its own to give back: parts, streams with noise
ONE_WAY = frozenset({"incomplete", "sps", "stream"})
MEDIA = frozenset({"packet", "incomplete", "sps", "stream"})


def run(file: str) -> int:
    """Check every object of ``file``; print what differs, then how many did not. 1 if one differs."""
    passed: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    again = skipped = 0
    for vector in vectors(file):
        if not isinstance(vector, Mapping):
            failed["no object"] += 1
            print(f"?: not a JSON object{f': {vector}' if isinstance(vector, str) else ''}")
            continue
        kind = f"{vector.get('protocol')} {vector.get('kind')}"
        if vector.get("protocol") == "jt1078" and vector.get("kind") not in MEDIA:
            skipped += 1
            continue
        complaints = list(check(vector))
        for complaint in complaints:
            print(f"{vector.get('id')}: {complaint}")
        (failed if complaints else passed)[kind] += 1
        again += not complaints and not _refused(vector) and _gives_back(vector)
    for kind in sorted({*passed, *failed}):
        print(f"{kind}: {passed[kind]} of {passed[kind] + failed[kind]} pass")
    left_out = f"; {skipped} left out, which are for unit tests of codecs" if skipped else ""
    print(f"all: {passed.total()} of {passed.total() + failed.total()} pass, {again} of them written back byte for byte{left_out}")
    return int(bool(failed))


def _refused(vector: Mapping[str, Any]) -> bool:
    fields = vector.get("fields")
    return vector.get("expect") == "reject" or (isinstance(fields, Mapping) and "error" in fields)


def _gives_back(vector: Mapping[str, Any]) -> bool:
    fields = vector.get("fields")
    return vector.get("kind") not in ONE_WAY and not (isinstance(fields, Mapping) and "serials" in fields)


def check(vector: Mapping[str, Any]) -> Iterator[str]:
    """What is not as the object says."""
    fields = vector.get("fields")
    if not isinstance(fields, Mapping):
        yield "no fields to compare with"
        return
    got = answer(vector, decode_vector)
    if _refused(vector):
        if got["ok"]:
            yield "is accepted, and should be refused"
        elif "error" in fields and got["error"] != fields["error"]:
            yield f"is refused for {got['error']!r}, not for {fields['error']!r}"
        return
    if not got["ok"]:
        yield f"is refused: {got.get('detail') or got['error']}"
        return
    yield from differences(fields, got["fields"])
    if _gives_back(vector):
        exact = answer(vector, lambda one: decode_vector(one, exact=True))
        back = answer({**vector, "fields": exact["fields"]}, encode_vector)
        if not back["ok"]:
            yield f"cannot be written again: {back['error']}"
        elif back["hex"] != str(vector.get("hex")).lower():
            yield f"is written as {back['hex']}"


def differences(want: Any, got: Any, path: str = "fields") -> Iterator[str]:
    """Where ``got`` lacks or contradicts what ``want`` names."""
    if isinstance(want, Mapping) and isinstance(got, Mapping):
        got = {**_digest(want, got), **got}
        for name, value in want.items():
            if value is None and got.get(name) is None:
                continue
            if name in got:
                yield from differences(value, got[name], f"{path}.{name}")
            else:
                yield f"{path}.{name} is missing"
    elif isinstance(want, list) and isinstance(got, list):
        if len(want) != len(got):
            yield f"{path}: {len(want)} wanted, {len(got)} got"
        for place, (one, other) in enumerate(zip(want, got, strict=False)):
            yield from differences(one, other, f"{path}[{place}]")
    elif want is not None and (want != got or isinstance(want, bool) is not isinstance(got, bool)):
        yield f"{path}: wanted {want!r}, got {got!r}"


def _digest(want: Mapping[str, Any], got: Mapping[str, Any]) -> dict[str, Any]:
    """Long bodies are told by their beginning and their hash."""
    body = got.get("body")
    if not isinstance(body, str) or "body_sha256" not in want:
        return {}
    raw = bytes.fromhex(body)
    return {"body_head": raw[:16].hex(), "body_sha256": hashlib.sha256(raw).hexdigest()}
