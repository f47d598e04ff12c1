"""The reference page of a protocol, written from its declarations: a table for each message, with columns where editions differ.

``page(…)`` gives Markdown. Each protocol has a small module that says what belongs on its page (``python -m relay.jt808.reference``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relay.wire.codecs import Codec
from relay.wire.groups import Entries, Entry, Family, ListOf, Nested
from relay.wire.record import Bound, FieldInfo, Record
from relay.wire.registry import Message, Registry

#: longer lists of flags and codes than this go into a list of their own at the end of the page
INLINE = 8


@dataclass(slots=True)
class Line:
    """One field of one edition."""

    name: str
    offset: str
    type: str
    bound: Bound


def lines(cls: type[Record], edition: int, prefix: str = "", relative: bool = False) -> list[Line]:
    """The fields of a record as one edition has them, nested ones behind their list."""
    found: list[Line] = []
    offset: int | None = 0
    for bound in cls.plan(edition).fields:
        where = "…" if offset is None else f"+{offset}" if relative else str(offset)
        codec = bound.codec
        many = isinstance(codec, ListOf)
        name = f"{prefix}{bound.name}{'[]' if many else ''}"
        found.append(Line(name, where, codec.describe(), bound))
        inner = _inner(codec)
        if inner is not None:
            found += lines(inner, edition, f"{name}.", True)
        size = codec.width if bound.plain else None
        if inner is not None and not many and type(codec) is Nested and bound.when is None and not bound.info.optional:
            size = inner.plan(edition).width
        offset = None if offset is None or size is None else offset + size
    return found


def _inner(codec: Codec) -> type[Record] | None:
    """The record inside a field, if there is one."""
    if isinstance(codec, Entries):
        return None
    element = getattr(codec, "element", codec)
    return element.cls if isinstance(element, Nested) else None


def meaning(info: FieldInfo, bound: Bound, legends: dict[str, list[str]]) -> str:
    """Unit, codes, flags, conditions and the note of a field."""
    parts: list[str] = []
    if bound.when is not None:
        parts.append(f"only if {bound.when.text}" + (", or when bytes are left" if info.optional else ""))
    elif info.optional:
        parts.append("may be absent")
    if info.scale != 1:
        parts.append(f"{f'{info.scale:f}'.rstrip('0')} {info.unit}".rstrip())
    elif info.unit:
        parts.append(info.unit)
    if info.enum is not None:
        parts.append(_listed(_codes(info.enum), info, legends))
    if info.bits is not None:
        parts.append(_listed(_flags(info.bits), info, legends))
    if info.note:
        parts.append(info.note)
    return "; ".join(parts)


def _listed(items: list[str], info: FieldInfo, legends: dict[str, list[str]]) -> str:
    if len(items) <= INLINE:
        return ", ".join(items)
    for name, known in legends.items():
        if known == items:
            return f"see [{name}](#{_anchor(name)})"
    name = info.english or info.label
    while name in legends:
        name += " (2)" if not name.endswith(")") else "'"
    legends[name] = items
    return f"see [{name}](#{_anchor(name)})"


def _anchor(name: str) -> str:
    return "".join(one for one in name.lower().replace(" ", "-") if one.isalnum() or one == "-")


def _codes(enum: Any) -> list[str]:
    if isinstance(enum, Mapping):
        return [f"{value} {text}" for value, text in enum.items()]
    return [f"{member.value} {member.name.lower().replace('_', ' ')}" for member in enum]


def _flags(bits: Mapping[Any, Any]) -> list[str]:
    found = []
    for bit, text in bits.items():
        where = f"bits {bit[0]}–{bit[1]}" if isinstance(bit, tuple) else f"bit {bit}"
        if isinstance(text, Mapping):
            found.append(f"{where} " + "/".join(f"{value} {one}" for value, one in text.items()))
        elif isinstance(text, tuple):
            found.append(f"{where} 0 {text[0]} / 1 {text[1]}")
        else:
            found.append(f"{where} {text}")
    return found


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def table(cls: type[Record], editions: Sequence[int], legends: dict[str, list[str]]) -> list[str]:
    """The fields of one class: one pair of columns for the layout where editions agree, one for each where they differ."""
    layouts = {edition: lines(cls, edition) for edition in editions}
    groups: list[tuple[str, list[Line]]] = []
    for edition, found in layouts.items():
        shape = [(line.name, line.offset, line.type) for line in found]
        if groups and [(line.name, line.offset, line.type) for line in groups[-1][1]] == shape:
            groups[-1] = (f"{groups[-1][0]}, {edition}", found)
        else:
            groups.append((str(edition), found))
    if not any(found for _, found in groups):
        return ["Body: empty."]
    order: list[str] = []
    for _, found in groups:
        at = 0
        for line in found:
            if line.name in order:
                at = order.index(line.name) + 1
            else:
                order.insert(at, line.name)
                at += 1
    single = len(groups) == 1
    heads = ["offset", "type"] if single else [head for edition, _ in groups for head in (f"{edition}: offset", "type")]
    text = [_row([*heads, "name", "中文", "English", "meaning"]), _row(["---"] * (len(heads) + 4))]
    by_name = [{line.name: line for line in found} for _, found in groups]
    for name in order:
        here = [known.get(name) for known in by_name]
        cells = [cell for one in here for cell in ((one.offset, one.type) if one else ("–", "–"))]
        bound = next(one.bound for one in reversed(here) if one)
        text.append(_row([*cells, f"`{name}`", bound.info.label, bound.info.english, meaning(bound.info, bound, legends)]))
    return text


def _key(key: Any) -> str:
    return "/".join(f"0x{one:04X}" for one in key) if isinstance(key, tuple) else f"0x{key:04X}"


def message(cls: type[Message], editions: Sequence[int], directions: Mapping[str, str], legends: dict[str, list[str]]) -> list[str]:
    """One message's section."""
    facts = [directions.get(cls.DIRECTION, cls.DIRECTION)]
    if cls.REPLY:
        facts.append("answered by " + ", then ".join(_key(key) for key in cls.REPLY))
    if editions[0] < cls.SINCE:
        facts.append(f"since {cls.SINCE}")
    facts.append(cls.REF)
    if cls.NOTE:
        facts.append(cls.NOTE)
    own = [edition for edition in editions if edition >= cls.SINCE] or [editions[-1]]
    heading = f"### {_key(cls.KEY)} {cls.LABEL} — {cls.ENGLISH}"
    return [heading, "", f"Class `{cls.__name__}`. " + "; ".join(fact for fact in facts if fact) + ".", "", *table(cls, own, legends), ""]


def family(entries: Family, title: str, editions: Sequence[int], legends: dict[str, list[str]]) -> list[str]:
    """A family's section: one table of the entries with a single field, then a section for each of the others."""
    digits = entries.head.size * 2 - 2
    simple = [_row(["id", "name", "中文", "English", "type", "since", "meaning"]), _row(["---"] * 7)]
    others: list[str] = []
    for id in sorted(entries.classes):
        cls: type[Entry] = entries.classes[id]
        bounds = cls.plan(editions[-1]).fields
        since = str(cls.SINCE) if editions[0] < cls.SINCE else ""
        if len(bounds) == 1 and _inner(bounds[0].codec) is None:
            bound = bounds[0]
            field = "" if bound.name == "value" else f"`{bound.name}` "
            said = "; ".join(one for one in (meaning(bound.info, bound, legends), cls.NOTE) if one)
            simple.append(_row([f"0x{id:0{digits}X}", cls.NAME, cls.LABEL, cls.ENGLISH, field + bound.codec.describe(), since, said]))
        else:
            others += [f"### 0x{id:0{digits}X} {cls.LABEL} — {cls.ENGLISH}", "", f"Name `{cls.NAME}`. " + (f"Since {since}. " if since else "") + cls.NOTE]
            others += ["", *table(cls, editions, legends), ""]
    return [f"## {title}", "", *simple, "", *others]


def page(
    title: str,
    intro: str,
    messages: Registry[Any],
    families: Sequence[tuple[str, Family]] = (),
    editions: Sequence[int] = (0,),
    directions: Mapping[str, str] | None = None,
) -> str:
    """The whole page."""
    legends: dict[str, list[str]] = {}
    text = [f"# {title}", "", intro, ""]
    index = [_row(["id", "direction", "中文", "English", "answer", "since"]), _row(["---"] * 6)]
    body: list[str] = []
    arrows = directions or {}
    for cls in messages:
        section = message(cls, editions, arrows, legends)
        index.append(
            _row(
                [_key(cls.KEY), arrows.get(cls.DIRECTION, cls.DIRECTION), cls.LABEL, cls.ENGLISH, ", ".join(map(_key, cls.REPLY)), str(cls.SINCE or "")]
            )
        )
        body += section
    for heading, entries in families:
        body += family(entries, heading, editions, legends)
    text += ["## Index", "", *index, "", "## Messages", "", *body]
    if legends:
        text += ["## Flags and codes", ""]
        for name, known in legends.items():
            text += [f"### {name}", "", *(f"- {one}" for one in known), ""]
    return "\n".join(line.rstrip() for line in text).rstrip() + "\n"
