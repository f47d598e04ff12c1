"""``twistd jt1078relay``: the options and the service; ``plugins/relay_plugin.py`` names this module.

    twistd -n jt1078relay --config FILE        -n: in the foreground; twistd's own options (--pidfile, --logfile, --uid …) stand before
    twistd -n jt1078relay --demo

Faults of the configuration are printed, all of them, and the exit status is 1; wrong usage is status 2; there is no traceback for either.
"""

# mypy: disallow-untyped-calls=False
# (twisted.application and twisted.python.usage carry no annotations)

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from twisted.application.service import IService
from twisted.python import usage

import relay
from relay.errors import RelayError


class Options(usage.Options):
    """What stands behind ``jt1078relay``."""

    synopsis = "[--config FILE | --demo]"
    longdesc = "Vehicle-video gateway: JT/T 808, JT/T 1078 → HTTP-FLV, WS-FLV, fMP4, WS-fMP4, and a page that plays."
    optParameters = [
        ["config", "c", None, "configuration; default: $JT1078RELAY_CONFIG, ./jt1078relay.toml, /etc/jt1078relay.toml, built-in defaults"],
    ]
    optFlags = [
        ["demo", None, "built-in defaults on loopback, a temporary store, simulated terminals; prints the page's URL"],
    ]

    def opt_version(self) -> None:
        """Print the version and end."""
        print(f"jt1078relay {relay.__version__}")
        raise SystemExit(0)

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """As usual, but wrong usage ends with status 2, which twistd's own handling does not."""
        try:
            super().parseOptions(options)
        except usage.UsageError as problem:
            print(f"{self.getSynopsis()}\njt1078relay: {problem}", file=sys.stderr)
            raise SystemExit(2) from None

    def postOptions(self) -> None:
        """What does not go together."""
        if self["demo"] and self["config"]:
            raise usage.UsageError("--demo has a configuration of its own; leave --config out")


def makeService(options: Options) -> IService:
    """The relay, configured but not started; what is wrong with the configuration ends the process here."""
    from relay.app.demo import demo_service
    from relay.app.service import relay_service

    parent: dict[str, Any] = getattr(options, "parent", None) or {}
    try:
        return demo_service(parent) if options["demo"] else relay_service(options["config"], parent)
    except RelayError as problem:
        print(problem, file=sys.stderr)
        raise SystemExit(1) from None
