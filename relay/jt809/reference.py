"""The reference page of JT/T 809: ``python -m relay.jt809.reference > docs/reference/jt809.md``."""

from __future__ import annotations

import sys

from relay.jt809.envelope import ACKNOWLEDGEMENTS, ALARM_FAMILIES, FAMILIES, PLATFORM_FAMILIES
from relay.jt809.messages import MESSAGES, Body
from relay.wire.reference import page

EDITIONS = (2011, 2019)

INTRO = """Written from the declarations in `relay/jt809`; do not edit. `python -m relay.jt809.reference > docs/reference/jt809.md` writes it again.

Big-endian throughout. BYTE, WORD, DWORD, QWORD: unsigned 8, 16, 32, 64 bits. STRING: GBK; STRING[n]: fixed width, padded with NULs. "…" as
offset: behind a field of varying size; "+n": from the beginning of the entry. Times of eight bytes are seconds since 1970, UTC. Offsets are those in the
data, behind the envelope. Names are those of `decode`, `encode` and the API; the names in capitals are the standard's own.

以下各表由 `relay/jt809` 中的声明自动生成，请勿手工修改。全部字段为大端序；STRING 为 GBK 编码，定长时右侧补 0x00；八字节时间为 UTC 秒。偏移量从子业务数据体
（封装之后）算起；2011、2019 两版不同之处分列给出。

## Envelopes (子业务封装)

What stands in a message's body around the data. Each message below says which it has.

| envelope | layout | 中文 | where |
| --- | --- | --- | --- |
| V | `vehicle_no` STRING[21], `vehicle_color` BYTE, `data_type` WORD, `data_length` DWORD, data | 车牌号、车辆颜色、子业务类型标识、后续数据长度、数据 | \
vehicles: 28 bytes before the data |
| P | `data_type` WORD, `data_length` DWORD, data | 子业务类型标识、后续数据长度、数据 | platforms; alarms in 2019, which have the plate in the data |
| A | `vehicle_no` STRING[21], `vehicle_color` BYTE, `data_type` WORD, `source_data_type` WORD, `source_msg_sn` DWORD, `data_length` DWORD (0) | \
车牌号、车辆颜色、子业务类型标识、对应请求消息源子业务类型标识、对应请求消息源报文序列号、后续数据长度 | \
two acknowledgements in 2019 |
| T | `data_type` WORD, data | 子业务类型标识、数据 | 0x1701: the passwords belong to a platform, not to a vehicle |
| L | data | 数据 | link messages: no sub-business |

Where editions have different envelopes, the bytes decide, since there are links that mix them. A body whose business is not known is kept as it came.

## Families (业务类型)

{families}

## Dialects (方言)

Layouts beside the two editions, told by the lengths in a body; what was read in one is written in it again. `encode` writes one when `layout` stands beside the
fields of the data: 2011 or 2019 for the other edition's, 2012 for the supplement's, 2020 for the variants of 2019; `decode --exact` says it. A message of
2019 alone, and one whose size is that of the other edition, is read as what it is on every link. For a superior that wants 0x1701 with 167 bytes:
`passwords_in_envelope`.

| message | dialect |
| --- | --- |
| 0x1201 | 2011: `terminal_model_type` has 20 bytes instead of 8, as the supplement (补充协议) has it |
| 0x1205, 0x1206 | 2019: the envelope A without `data_length`, 30 bytes |
| 0x1301, 0x9301, 0x9302 | 2011: `object_id` has 20 bytes instead of 12, as the supplement has it; a link of one edition may have the layout of the other |
| 0x1303, 0x9303 | 2019, 16 bytes: `retran_data_type` and `serial_count` left out |
| 0x1401 | 2019, 7 bytes: `supervision_id` left out; 5 bytes: the layout of 2011 |
| 0x9401 | 2019, 92 bytes: the layout of 2011 |
| 0x1402, 0x1403, 0x9402, 0x9403 | 2019: `warn_time` left out, the other two times in milliseconds |
| 0x1502 | 2019: the location has the 36 bytes of 2011 |
| 0x1701 | 167 bytes: with the envelope V |
| 0x9504 | 15 bytes, as the supplement has it: `command_type`, `start_time_bcd` and `end_time_bcd` BCD[6], `max_units` WORD |
| 0x9702 | 128 bytes: both passwords; 64: the cross-domain one alone; 129: a result (BYTE) before both; 0: none |
| 0x9801, 0x9902, 0x9A01, 0x9B01 | without `gnss_data` |"""


def envelope(cls: type[Body]) -> str:
    """The message's envelope, or one for each edition."""
    msg_id, sub_id = cls.KEY
    if not sub_id:
        return "L"
    if msg_id in PLATFORM_FAMILIES:
        return "P"
    if sub_id == 0x1701:
        return "T"
    if msg_id in ALARM_FAMILIES:
        return "P" if cls.SINCE >= 2019 else "V in 2011, P in 2019"
    if sub_id in ACKNOWLEDGEMENTS:
        return "V in 2011, A in 2019"
    return "V, or P" if sub_id == 0x9201 else "V"


def reference() -> str:
    """The page."""
    families = ["| id | link | name | 中文 | messages |", "| --- | --- | --- | --- | --- |"]
    for id, (label, name) in sorted(FAMILIES.items()):
        messages = ", ".join(f"0x{cls.KEY[1]:04X}" for cls in MESSAGES if cls.KEY[0] == id)
        families.append(f"| 0x{id:04X} | {'main' if id < 0x9000 else 'subordinate'} | `{name}` | {label} | {messages} |")
    text = page(
        "JT/T 809 and the messages between platforms of JT/T 1078",
        INTRO.replace("{families}", "\n".join(families)),
        MESSAGES,
        editions=EDITIONS,
        directions={"up": "subordinate platform → superior", "down": "superior platform → subordinate"},
    )
    for cls in MESSAGES:
        head = f"Class `{cls.__name__}`. "
        names = ", ".join(f"`{name}`" for name in cls.NAME.split(" / "))
        text = text.replace(head, f"{names}. {head}Envelope {envelope(cls)}. ")
    # link messages have no sub-business
    return text.replace("/0x0000", "")


if __name__ == "__main__":
    sys.stdout.write(reference())
