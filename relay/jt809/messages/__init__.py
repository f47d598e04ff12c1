"""JT/T 809 message classes, one module a family; importing this package registers them all."""

from relay.jt809.messages import alarms, exchange, link, platform, supervision, video
from relay.jt809.messages.base import MESSAGES, SUPPLEMENT, VARIANT, Body, Gnss

__all__ = ["MESSAGES", "SUPPLEMENT", "VARIANT", "Body", "Gnss", "alarms", "exchange", "link", "platform", "supervision", "video"]
