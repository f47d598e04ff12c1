"""Quirks over the API: shown, overridden, exported, taken in."""

from __future__ import annotations

from tests.core.fakes import SIM
from tests.web.world import Relay

ONE = f"/terminals/{SIM}/quirks"


def test_quirks_are_shown_overridden_and_forgotten() -> None:
    relay = Relay()
    relay.online()
    relay.quirks.learn(SIM, "talk.silent", True)
    assert relay.api("GET", ONE, role="viewer") == {
        "sim": SIM, "model": "ABCDE/M1", "effective": {"talk.silent": True}, "override": {}, "learnt": {"talk.silent": True}, "model_override": {},
        "model_learnt": {"talk.silent": True},
    }  # fmt: skip
    assert relay.api("PUT", ONE, {"override": {"talk.silent": False}})["effective"] == {"talk.silent": False}
    assert relay.api("PUT", ONE, {"override": {"talk.silent": 7}}, expect=400)["error"] == "bad_quirk"
    assert relay.api("PUT", ONE, {"override": {}}, role="viewer", expect=403)["error"] == "role"
    assert relay.api("PUT", ONE, {"forget": True})["learnt"] == {}
    assert relay.api("GET", "/terminals/10000000001/quirks", expect=404)["error"] == "unknown_terminal"
    relay.end()


def test_a_model_says_how_its_fuel_is_cut() -> None:
    relay = Relay()
    device = relay.online()
    device.read()
    way = {"vehicle.fuel_cut": {"flags": 4}}
    assert relay.api("PUT", "/quirks/models/ABCDE/M1", {"override": way})["override"] == way
    assert relay.api("GET", "/quirks/models/ABCDE/M1")["override"] == way
    relay.begin("POST", f"/terminals/{SIM}/vehicle", {"fuel": "cut", "confirm": True})
    [(_, message)] = device.commands()
    assert message.control_flags == 4
    relay.end()


def test_an_export_is_taken_in_by_another_relay() -> None:
    relay = Relay()
    relay.online()
    relay.quirks.learn(SIM, "marks", "wrong")
    exported = relay.api("GET", "/quirks")
    assert [(item["kind"], item["name"]) for item in exported["items"]] == [("model", "ABCDE/M1"), ("terminal", SIM)]
    other = Relay()
    assert other.api("POST", "/quirks/import", exported) == {"profiles": 2}
    assert other.api("GET", "/quirks") == exported
    wrong = {"items": [*exported["items"], {"kind": "model", "name": "x/y", "override": {"colour": 1}}]}
    assert other.api("POST", "/quirks/import", wrong, expect=400)["message"].startswith("model x/y:")
    assert other.api("POST", "/quirks/import", exported, role="operator", expect=403)["error"] == "role"
    assert "talk.voice" in [item["name"] for item in other.api("GET", "/quirks/known")["items"]]
    relay.end()
    other.end()
