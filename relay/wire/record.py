"""Declared messages: the class body is the layout, and everything else follows from it.

``Record`` is any group of fields; its metaclass turns the annotations into slots and a keyword constructor. The first use of a class in an
edition builds a ``Plan`` (cached): neighbouring fixed fields become one ``struct.Struct``, every other field one step.
"""

from __future__ import annotations

import struct
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, dataclass_transform, get_args, get_origin

from relay.errors import DecodeError
from relay.wire.codecs import Codec, Fault, FieldError, from_hex, short

#: before any edition and after every one
ALWAYS, EVER = 0, 9999
#: the fields of all editions together, for a message that nobody has said the edition of
EVERY = EVER + 1

_MISSING: Any = object()

#: types whose values remember nothing of the wire
_PLAIN = frozenset((int, str, bytes, list))


class When:
    """A condition over fields that stand before: ``Bit("attributes", 0)``, ``Is("result", 0)``, ``IsNot("interval", 0)``."""

    def __init__(self, name: str, test: Callable[[Any], bool], text: str) -> None:
        self.name = name
        self.test = test
        self.text = text

    def __call__(self, record: Record) -> bool:
        value = getattr(record, self.name)
        return value is not None and self.test(value)


def Bit(name: str, bit: int) -> When:
    """The field is there if ``bit`` of ``name`` is set."""
    return When(name, lambda value: bool(value >> bit & 1), f"{name} bit {bit} = 1")


def Is(name: str, *values: int) -> When:
    """The field is there if ``name`` has one of the values."""
    return When(name, lambda value: value in values, f"{name} = {' or '.join(map(str, values))}")


def IsNot(name: str, *values: int) -> When:
    """The field is there unless ``name`` has one of the values."""
    return When(name, lambda value: value not in values, f"{name} ≠ {' or '.join(map(str, values))}")


@dataclass(slots=True)
class FieldInfo:
    """What ``f`` says of a field, apart from its type."""

    label: str
    english: str
    unit: str
    scale: float
    enum: Any
    bits: Mapping[Any, Any] | None
    since: int
    until: int
    when: When | None
    optional: bool
    default: Any
    default_factory: Any
    secret: bool
    note: str
    negative_above: int = 0


def f(
    label: str = "",
    english: str = "",
    *,
    unit: str = "",
    scale: float = 1,
    enum: Any = None,
    bits: Mapping[Any, Any] | None = None,
    since: int = ALWAYS,
    until: int = EVER,
    when: When | None = None,
    optional: bool = False,
    default: Any = _MISSING,
    default_factory: Any = None,
    secret: bool = False,
    note: str = "",
    negative_above: int = 0,
) -> Any:
    """One field.

    :param label: the standard's own name; ``english`` the other (derived from the attribute's name when absent)
    :param unit: unit of the value *after* ``scale``: ``unit="km/h", scale=0.1``
    :param enum: an ``IntEnum`` or ``{value: text}``; values outside it are legal and shown as numbers
    :param bits: ``{bit: text}``; text is shown when the bit is set; ``{bit: (text0, text1)}`` is always shown; ``{(low, high): {value: text}}``
    :param since: first and last edition (``until``) that has the field
    :param when: the field is on the wire exactly if the condition holds
    :param optional: the body may end before the field. Together with ``when``: the condition or bytes that are left make it present
    :param secret: never shown in ``repr``
    :param note: one line for people, in the dump and the reference
    :param negative_above: larger values of this unsigned field are negative ones in two's complement, for people; the value stays what it is
    """
    return FieldInfo(
        label=label, english=english, unit=unit, scale=scale, enum=enum, bits=bits, since=since, until=until, when=when, optional=optional,
        default=default, default_factory=default_factory, secret=secret, note=note, negative_above=negative_above,
    )  # fmt: skip


class Bound:
    """A field as one edition has it."""

    __slots__ = ("codec", "info", "name", "when")

    def __init__(self, name: str, info: FieldInfo, codec: Codec) -> None:
        self.name = name
        self.info = info
        self.codec = codec
        self.when = info.when

    @property
    def plain(self) -> bool:
        """Always there, fixed size."""
        return bool(self.codec.format) and self.when is None and not self.info.optional

    def present(self, record: Record, pos: int, end: int) -> bool:
        """Whether the field stands at ``pos``."""
        if self.when is not None:
            return self.when(record) or (self.info.optional and pos < end)
        return not self.info.optional or pos < end

    def read(self, record: Record, data: bytes, pos: int, end: int) -> int:
        """Read this one field, or note that it is absent."""
        if not self.present(record, pos, end):
            setattr(record, self.name, None)
            return pos
        try:
            value, pos = self.codec.read(data, pos, end, record)
        except Fault as fault:
            raise fault.under(self.name) from None
        setattr(record, self.name, value)
        return pos

    def write(self, record: Record, out: bytearray) -> bool:
        """Write this one field; False if it is absent."""
        value = getattr(record, self.name)
        if value is None:
            if self.codec.nullable:
                return True
            if self.info.optional or (self.when is not None and not self.when(record)):
                return False
            raise FieldError(self.name, "must be given" + (f" when {self.when.text}" if self.when is not None else ""))
        if self.when is not None and not self.info.optional and not self.when(record):
            raise FieldError(self.name, f"can be given only when {self.when.text}")
        try:
            self.codec.write(value, out, record)
        except FieldError as problem:
            raise problem.under(self.name) from None
        return True


Step = Callable[["Record", bytes, int, int], int]


def _run(bounds: list[Bound]) -> Step:
    """One step for neighbouring fixed fields: one ``unpack``, then one assignment each."""
    layout = struct.Struct(">" + "".join(bound.codec.format for bound in bounds))
    size, unpack = layout.size, layout.unpack_from
    names = tuple(bound.name for bound in bounds)
    loads = tuple((place, bound.codec.load) for place, bound in enumerate(bounds) if bound.codec.load is not None)

    def fault(pos: int, end: int) -> Fault:
        for bound in bounds:
            width = bound.codec.width or 0
            if pos + width > end:
                return short(pos, width, end).under(bound.name)
            pos += width
        raise AssertionError  # pragma: no cover

    if not loads and len(names) == 1:
        only = names[0]

        def step(record: Record, data: bytes, pos: int, end: int) -> int:
            if pos + size > end:
                raise fault(pos, end)
            setattr(record, only, unpack(data, pos)[0])
            return pos + size

    elif not loads:

        def step(record: Record, data: bytes, pos: int, end: int) -> int:
            if pos + size > end:
                raise fault(pos, end)
            for name, value in zip(names, unpack(data, pos), strict=False):
                setattr(record, name, value)
            return pos + size

    else:

        def step(record: Record, data: bytes, pos: int, end: int) -> int:
            if pos + size > end:
                raise fault(pos, end)
            values = list(unpack(data, pos))
            for place, load in loads:
                values[place] = load(values[place])
            for name, value in zip(names, values, strict=False):
                setattr(record, name, value)
            return pos + size

    return step


class Plan:
    """How one class is read and written in one edition."""

    def __init__(self, cls: type[Record], edition: int) -> None:
        self.cls = cls
        self.edition = edition
        hints = _hints(cls)
        self.fields: list[Bound] = []
        order = list(cls.ORDERS.get(edition, ()))
        if not order:
            names = cls.ORDERS.get(0, cls.wire_fields)
            order = list(names) if edition == EVERY else [name for name in names if cls.wire_fields[name].since <= edition <= cls.wire_fields[name].until]
        for name in order:
            self.fields.append(Bound(name, cls.wire_fields[name], codec_of(hints[name], edition, f"{cls.__name__}.{name}")))
        self.absent = tuple(name for name in cls.wire_fields if name not in order)
        self.names = {bound.name: bound for bound in self.fields}
        #: field -> the field whose size it holds
        self.measures = {bound.codec.sized_by: bound for bound in self.fields if bound.codec.sized_by}
        self.steps: list[Step] = []
        run: list[Bound] = []
        for bound in self.fields:
            if bound.plain:
                run.append(bound)
                continue
            if run:
                self.steps.append(_run(run))
                run = []
            self.steps.append(bound.read)
        if run:
            self.steps.append(_run(run))

    @property
    def width(self) -> int | None:
        """Bytes on the wire if that is fixed."""
        if all(bound.plain for bound in self.fields):
            return sum(bound.codec.width or 0 for bound in self.fields)
        return None

    def fill(self, record: Record, data: bytes, pos: int, end: int) -> int:
        """Read all fields into ``record``; the position after the last one."""
        for step in self.steps:
            pos = step(record, data, pos, end)
        for name in self.absent:
            setattr(record, name, None)
        return pos

    def pack(self, record: Record, out: bytearray) -> None:
        """Write all fields."""
        for name, content in self.measures.items():
            value = getattr(record, content.name)
            setattr(record, name, 0 if value is None else content.codec.measure(value))
        gap = ""
        for bound in self.fields:
            if not bound.write(record, out):
                if bound.info.optional:
                    gap = gap or bound.name
            elif gap:
                raise FieldError(bound.name, f"cannot be given without {gap}, which stands before it")


_hint_cache: dict[type, dict[str, Any]] = {}


def _hints(cls: type[Record]) -> dict[str, Any]:
    hints = _hint_cache.get(cls)
    if hints is None:
        hints = _hint_cache[cls] = typing.get_type_hints(cls, include_extras=True)
    return hints


def codec_of(hint: Any, edition: int, where: str = "") -> Codec:
    """The codec that a type names: the last ``Codec`` of its ``Annotated`` metadata, or the record class itself."""
    if get_origin(hint) in (typing.Union, types.UnionType):
        rest = [one for one in get_args(hint) if one is not type(None)]
        if len(rest) == 1:
            return codec_of(rest[0], edition, where)
    if get_origin(hint) is Annotated:
        inner, *metadata = get_args(hint)
        for codec in reversed(metadata):
            if isinstance(codec, Codec):
                return codec.at(edition).bind(inner, edition)
    if isinstance(hint, type) and issubclass(hint, Record):
        from relay.wire.groups import Nested

        return Nested(hint)
    raise TypeError(f"{where}: {hint!r} names no codec")


@dataclass_transform(kw_only_default=True, field_specifiers=(f,))
class RecordType(type):
    """Makes slots of the annotated fields."""

    wire_fields: dict[str, FieldInfo]

    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> RecordType:
        own: dict[str, FieldInfo] = {}
        for attribute, hint in namespace.get("__annotations__", {}).items():
            if "ClassVar" in str(hint):
                continue
            info = namespace.pop(attribute, None)
            own[attribute] = info if isinstance(info, FieldInfo) else f() if info is None else f(default=info)
            own[attribute].english = own[attribute].english or attribute.replace("_", " ")
        namespace.setdefault("__slots__", tuple(own))
        if own and namespace["__slots__"] != tuple(own):
            namespace["__slots__"] = (*namespace["__slots__"], *own)
        cls = super().__new__(mcs, name, bases, namespace)
        fields: dict[str, FieldInfo] = {}
        for base in reversed(cls.__mro__[1:]):
            fields.update(base.__dict__.get("own_fields", {}))
        fields.update(own)
        cls.own_fields = own  # type: ignore[attr-defined]
        cls.wire_fields = fields
        cls._plans = {}  # type: ignore[attr-defined]
        return cls


class Record(metaclass=RecordType):
    """A group of fields in the order of the wire. Subclasses are declarations; see the package's docstring."""

    __slots__ = ("edition", "trailing")

    own_fields: ClassVar[dict[str, FieldInfo]]
    _plans: ClassVar[dict[int, Plan]]

    if TYPE_CHECKING:
        #: the edition whose layout was read or is to be written; 0 = not said
        edition: int = 0
        #: what stood behind the last known field
        trailing: bytes = b""

    #: where the order on the wire is not that of the declarations (inherited fields first): edition -> names, 0 = every edition
    ORDERS: ClassVar[Mapping[int, tuple[str, ...]]] = {}

    #: used when nobody says an edition
    DEFAULT_EDITION: ClassVar[int] = 0

    def __init__(self, **values: Any) -> None:
        self.edition = values.pop("edition", 0)
        self.trailing = values.pop("trailing", b"")
        for name, info in type(self).wire_fields.items():
            if name in values:
                setattr(self, name, values.pop(name))
            elif info.default is not _MISSING:
                setattr(self, name, info.default)
            elif info.default_factory is not None:
                setattr(self, name, info.default_factory())
            else:
                raise TypeError(f"{type(self).__name__} needs {name}")
        if values:
            raise TypeError(f"{type(self).__name__} has no {', '.join(values)}")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.trailing == other.trailing and all(getattr(self, name) == getattr(other, name) for name in type(self).wire_fields)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        shown = []
        for name, info in type(self).wire_fields.items():
            value = getattr(self, name)
            if value is not None:
                shown.append(f"{name}={'***' if info.secret else repr(value)}")
        if self.trailing:
            shown.append(f"trailing={self.trailing!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    # the wire

    @classmethod
    def plan(cls, edition: int) -> Plan:
        """The plan of that edition, built at its first use."""
        plan = cls._plans.get(edition)
        if plan is None:
            plan = cls._plans[edition] = Plan(cls, edition)
        return plan

    @classmethod
    def layout(cls, data: bytes, edition: int) -> int:
        """The edition whose layout these bytes really have. Overridden where terminals mix editions."""
        return edition

    @classmethod
    def layout_for(cls, fields: Mapping[str, Any], edition: int) -> int:
        """The same question for fields from JSON."""
        return edition

    @classmethod
    def decode(cls, data: bytes, edition: int = 0) -> Self:
        """The message these bytes hold; what stands behind the known fields is kept in ``trailing``. ``DecodeError`` names field and offset."""
        edition = cls.layout(data, edition or cls.DEFAULT_EDITION)
        record = cls.__new__(cls)
        record.edition = edition
        end = len(data)
        try:
            pos = cls.plan(edition).fill(record, data, 0, end)
        except Fault as fault:
            raise DecodeError(f"{cls.__name__}.{fault.path}", fault.offset, fault.problem) from None
        record.trailing = data[pos:] if pos < end else b""
        return record

    def encode(self, edition: int = 0) -> bytes:
        """The bytes of the message in ``edition`` (else the one it was read with, else the default). ``FieldError`` if a value does not fit."""
        out = bytearray()
        own = self.edition
        # codecs ask the record; afterwards it is what it was, since one message may go to terminals of several editions
        self.edition = edition or own or self.DEFAULT_EDITION
        try:
            self.plan(self.edition).pack(self, out)
        except FieldError as problem:
            raise problem.under(type(self).__name__) from None
        finally:
            self.edition = own
        return bytes(out + self.trailing)

    # JSON

    def fields(self) -> dict[str, Any]:
        """The fields that are present, in JSON's types: bytes as hex, absent ones left out."""
        result: dict[str, Any] = {}
        for bound in self.plan(self.edition or EVERY).fields:
            value = getattr(self, bound.name)
            if value is not None:
                result[bound.name] = bound.codec.to_fields(value)
        return result

    def exact_fields(self) -> dict[str, Any]:
        """The same, and beside them what they do not say of the wire, so that ``from_fields`` gives the very bytes again.

        ``trailing``: bytes behind the last field. With a dot behind a field's name: ``raw``, the bytes of a text that is padded or written
        oddly; ``count``, that of a list, if it is not its length; ``skipped``, elements that could not be read.
        """
        result: dict[str, Any] = {}
        for bound in self.plan(self.edition or EVERY).fields:
            value = getattr(self, bound.name)
            if value is not None:
                result[bound.name] = bound.codec.to_exact(value)
                if type(value) not in _PLAIN:
                    for kind, known in bound.codec.memory(value).items():
                        result[f"{bound.name}.{kind}"] = known
        if self.trailing:
            result["trailing"] = self.trailing.hex()
        return result

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any], edition: int = 0) -> Self:
        """The message with these fields, plain or exact; every fault is a ``FieldError`` with its path."""
        if not isinstance(fields, Mapping):
            raise FieldError("", f"must be an object with fields, not {fields!r}")
        edition = cls.layout_for(fields, edition or cls.DEFAULT_EDITION)
        plan = cls.plan(edition)
        record = cls.__new__(cls)
        record.edition = edition
        record.trailing = b""
        memories: dict[str, dict[str, Any]] = {}
        for name, given in fields.items():
            if name in plan.names:
                continue
            bare, dot, kind = str(name).partition(".")
            if name == "trailing":
                try:
                    record.trailing = from_hex(given)
                except FieldError as problem:
                    raise problem.under(name) from None
            elif dot and bare in plan.names:
                memories.setdefault(bare, {})[kind] = given
            else:
                known = name in cls.wire_fields
                raise FieldError(str(name), f"does not exist in edition {edition}" if known else f"{cls.__name__} has no such field")
        for name, info in cls.wire_fields.items():
            bound = plan.names.get(name)
            given = fields.get(name)
            if bound is not None and given is not None:
                try:
                    memory = memories.get(name)
                    value = bound.codec.recall(given, memory, edition) if memory else bound.codec.from_fields(given, edition)
                except FieldError as problem:
                    raise problem.under(name) from None
            elif bound is None or info.optional or info.when is not None or bound.codec.nullable or name in plan.measures:
                value = None
            elif info.default is not _MISSING and info.default is not None:
                value = info.default
            elif info.default_factory is not None:
                value = info.default_factory()
            else:
                raise FieldError(name, "is missing")
            setattr(record, name, value)
        return record


def editions_of(cls: type[Record]) -> list[int]:
    """The editions at which the class's layout changes, from its fields' and codecs' own years (0 = from the beginning)."""
    years = {0}
    for name, info in cls.wire_fields.items():
        years.update(year for year in (info.since, info.until + 1) if ALWAYS < year <= EVER)
        years.update(_years_of(_hints(cls)[name]))
    return sorted(years)


def _years_of(hint: Any) -> Iterator[int]:
    for part in get_args(hint):
        later = getattr(part, "later", None)
        if later:
            yield from later
        if isinstance(part, type) and issubclass(part, Record):
            yield from editions_of(part)
        else:
            yield from _years_of(part)
    if isinstance(hint, type) and issubclass(hint, Record):
        yield from editions_of(hint)


