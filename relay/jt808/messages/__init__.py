"""JT/T 808 message classes, one module a topic; importing this package registers them all.

``decode_body(msg_id, body, edition)`` gives an object of the class, or an ``OpaqueBody`` for ids that nobody knows; ``decode_message(header,
body)`` also leaves pieces of longer messages and cipher text opaque. ``MESSAGES.get(0x9101)`` is the class; its ``REPLY`` says what answers it.
"""

from relay.jt808.header import Header
from relay.jt808.messages import areas, data, general, location, multimedia, parameters, safety, text, video
from relay.jt808.messages.areas import VehicleControl, VehicleControlResponse
from relay.jt808.messages.base import MESSAGES, Body, OpaqueBody
from relay.jt808.messages.general import (
    Authentication,
    Deregistration,
    GeneralResponse,
    Heartbeat,
    LinkCheck,
    PlatformGeneralResponse,
    PlatformResendRequest,
    Registration,
    RegistrationResponse,
    RegistrationResult,
    ResendRequest,
    Result,
    ServerTime,
    ServerTimeQuery,
    TerminalGeneralResponse,
    TerminalResendRequest,
)
from relay.jt808.messages.location import (
    Alarm,
    BaseLocation,
    BatchLocation,
    Location,
    LocationQuery,
    LocationQueryResponse,
    LocationReport,
    Status,
)
from relay.jt808.messages.parameters import (
    ParametersResponse,
    QueryAllParameters,
    QueryAttributes,
    QueryParameters,
    SetParameters,
    TerminalAttributes,
)
from relay.jt808.messages.video import (
    AvAttributes,
    AvAttributesQuery,
    AvCommand,
    AvDataType,
    CloseType,
    FileUpload,
    FileUploadControl,
    FileUploadFinished,
    MediaType,
    PlaybackControl,
    PlaybackRequest,
    RealtimeAvControl,
    RealtimeAvRequest,
    RealtimeAvStatus,
    ResourceList,
    ResourceQuery,
    StorageType,
    StoredStream,
    StreamType,
)

__all__ = [
    "MESSAGES",
    "Alarm",
    "Authentication",
    "AvAttributes",
    "AvAttributesQuery",
    "AvCommand",
    "AvDataType",
    "BaseLocation",
    "BatchLocation",
    "Body",
    "CloseType",
    "Deregistration",
    "FileUpload",
    "FileUploadControl",
    "FileUploadFinished",
    "GeneralResponse",
    "Header",
    "Heartbeat",
    "LinkCheck",
    "Location",
    "LocationQuery",
    "LocationQueryResponse",
    "LocationReport",
    "MediaType",
    "OpaqueBody",
    "ParametersResponse",
    "PlatformGeneralResponse",
    "PlatformResendRequest",
    "PlaybackControl",
    "PlaybackRequest",
    "QueryAllParameters",
    "QueryAttributes",
    "QueryParameters",
    "RealtimeAvControl",
    "RealtimeAvRequest",
    "RealtimeAvStatus",
    "Registration",
    "RegistrationResponse",
    "RegistrationResult",
    "ResendRequest",
    "ResourceList",
    "ResourceQuery",
    "Result",
    "ServerTime",
    "ServerTimeQuery",
    "SetParameters",
    "Status",
    "StorageType",
    "StoredStream",
    "StreamType",
    "TerminalAttributes",
    "TerminalGeneralResponse",
    "TerminalResendRequest",
    "VehicleControl",
    "VehicleControlResponse",
    "areas",
    "data",
    "decode_body",
    "decode_message",
    "general",
    "location",
    "multimedia",
    "parameters",
    "safety",
    "text",
    "video",
]


def decode_body(msg_id: int, body: bytes, edition: int = 2013) -> Body:
    """The message in a whole, plain body. ``DecodeError`` if its layout is known and does not fit."""
    cls = MESSAGES.get(msg_id)
    return OpaqueBody(msg_id, body) if cls is None else cls.decode(body, edition)


def decode_message(header: Header, body: bytes, edition: int = 0) -> Body:
    """The message in one frame's body. ``edition`` says more than the header can: 2011 for a terminal known to be that old."""
    if header.encryption or header.is_subpackage:
        return OpaqueBody(header.msg_id, body)
    return decode_body(header.msg_id, body, 2019 if header.edition == 2019 else edition or 2013)
