"""The types that declarations are written with. To type checkers they are ``int``, ``str``, ``bytes`` and ``list``."""

from __future__ import annotations

from typing import Annotated, TypeVar

from relay.wire.codecs import Bcd, Bytes, Int, Text
from relay.wire.groups import ListOf

T = TypeVar("T")

U8 = Annotated[int, Int("B")]
U16 = Annotated[int, Int("H")]
U32 = Annotated[int, Int("I")]
U64 = Annotated[int, Int("Q")]
I16 = Annotated[int, Int("h")]
I32 = Annotated[int, Int("i")]

#: text with a length of one, two or four bytes before it
Str8 = Annotated[str, Text("B")]
Str16 = Annotated[str, Text("H")]
Str32 = Annotated[str, Text("I")]
#: text to the end of the body
StrRest = Annotated[str, Text()]

#: bytes likewise
Bytes8 = Annotated[bytes, Bytes("B")]
Bytes16 = Annotated[bytes, Bytes("H")]
Bytes32 = Annotated[bytes, Bytes("I")]
BytesRest = Annotated[bytes, Bytes()]

#: packed digits, kept as digits
Bcd4 = Annotated[str, Bcd(4)]
Bcd5 = Annotated[str, Bcd(5)]
Bcd10 = Annotated[str, Bcd(10)]
#: YYMMDDhhmmss, GMT+8; kept as digits too, since zeros and impossible dates occur and must go on unchanged
Time6 = Annotated[str, Bcd(6, time=True, zone="GMT+8")]
#: hhmm
Time2 = Annotated[str, Bcd(2, time=True)]
#: YYYYMMDD
Date4 = Annotated[str, Bcd(4, time=True)]

#: lists with a count of one, two or four bytes before them, and lists to the end
Counted8 = Annotated[list[T], ListOf("B")]
Counted16 = Annotated[list[T], ListOf("H")]
Counted32 = Annotated[list[T], ListOf("I")]
UntilEnd = Annotated[list[T], ListOf()]
