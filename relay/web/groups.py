"""Accounts for some groups of terminals: other terminals are as if they were not there.

A route says by its ``scope`` how that is held. What says nothing is shut for such accounts, so that a new route shows too little rather
than too much.
"""

from __future__ import annotations

from relay.web.names import Names
from relay.web.problem import Problem
from relay.web.router import Call


class Groups:
    """What stands before the handlers for accounts with groups."""

    def __init__(self, names: Names) -> None:
        self._names = names

    async def __call__(self, call: Call) -> None:
        """Sets ``call.sees``, or raises a Problem."""
        groups = frozenset(call.principal.groups)
        await self._names.known()

        def sees(sim: str) -> bool:
            return bool(sim) and self._names.group(sim) in groups

        call.sees = sees
        if call.route.scope in ("any", "filtered"):
            return
        name = call.path.get("sim")
        if name is None:
            raise Problem(403, "This is not only about your groups' terminals.", code="groups", hint="It needs an account without groups.")
        sim = await self._names.sim(name)
        if sim is None or not sees(sim):
            raise Problem(404, f"Terminal {name} is not known.", code="unknown_terminal", hint="Your account is for other groups, or it does not exist.")
