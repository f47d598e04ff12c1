"""Tells twistd of the jt1078relay command; imports nothing of the program, so that ``twistd --help`` stays quick."""

from twisted.application.service import ServiceMaker

jt1078relay = ServiceMaker(  # type: ignore[no-untyped-call]
    "jt1078relay",
    "relay.app.tap",
    "Vehicle-video gateway: JT/T 808, JT/T 1078, JT/T 809.",
    "jt1078relay",
)
