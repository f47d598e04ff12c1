"""Whatever words come in, an order is a message or says what is wrong."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.core import order_forms as forms
from relay.core.orders import NotPossibleError
from relay.jt808.messages import text
from relay.jt808.params_check import entry
from relay.wire import FieldError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from([
    "id", "latitude", "longitude", "radius_m", "points", "top", "left", "bottom", "right", "start_time", "end_time", "max_speed_kmh", "name", "width_m",
    "entry_alarm_driver", "overspeed_s", "night_max_speed_kmh",
])  # fmt: skip
AREA = st.fixed_dictionaries({}, optional={"id": st.integers(1, 9) | JSON, "latitude": st.floats(-90, 90), "longitude": st.floats(-180, 180)}).flatmap(
    lambda fixed: st.dictionaries(NAMES, JSON, max_size=4).map(lambda more: {**more, **fixed})
)


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(list(forms.AREA_KINDS)),
    how=st.sampled_from(list(forms.SET_WORDS)),
    areas=st.lists(AREA, max_size=3),
    edition=st.sampled_from([2011, 2013, 2019]),
)
def test_areas(kind: str, how: str, areas: list[dict[str, Any]], edition: int) -> None:
    with contextlib.suppress(NotPossibleError):
        for message in forms.set_areas(kind, how, areas, edition):
            assert message.encode(edition)


@settings(max_examples=150, deadline=None)
@given(
    fields=st.dictionaries(st.sampled_from(["id", "name", "value", "raw", "wake_mode", "channels"]), JSON | st.integers(0, 0x200), max_size=4),
    edition=st.sampled_from([2011, 2013, 2019]),
)
def test_parameters(fields: dict[str, Any], edition: int) -> None:
    with contextlib.suppress(FieldError):
        assert len(entry(fields, edition).value_bytes(edition)) <= 255


@settings(max_examples=80, deadline=None)
@given(
    items=st.lists(st.dictionaries(st.sampled_from(["event_id", "content", "x"]), JSON, max_size=3), max_size=3),
    how=st.sampled_from(list(forms.LIST_WORDS)),
)
def test_lists(items: list[dict[str, Any]], how: str) -> None:
    with contextlib.suppress(NotPossibleError):
        assert forms.setting_list(text.SetEvents, "events", how, items, 2013).encode(2013)


@pytest.mark.parametrize("points", [[5], [[1, 2]], ["x"], [None], {"a": 1}])
def test_points_that_are_none(points: Any) -> None:
    for kind in ("polygons", "routes"):
        with pytest.raises(NotPossibleError):
            forms.set_areas(kind, "append", [{"id": 1, "points": points}], 2013)


def test_a_route_has_its_own_flags_and_rules_for_each_segment() -> None:
    points: list[dict[str, Any]] = [{"latitude": 22.5, "longitude": 114.0, "max_speed_kmh": 40, "overspeed_s": 5, "too_long_s": 600}]
    points += [{"latitude": 22.6, "longitude": 114.1, "too_short_s": 30}]
    (made,) = forms.set_areas("routes", "append", [{"id": 1, "points": points, "exit_alarm_platform": True}], 2019)
    fields = made.fields()
    assert fields["attributes"] == 1 << 5
    first, second = fields["points"]
    assert (first["max_speed"], first["overspeed_duration"], first["night_max_speed"]) == (40, 5, 40)
    assert (first["too_long_threshold"], first["too_short_threshold"]) == (600, 0)
    assert (second["attributes"], second["too_long_threshold"], second["too_short_threshold"]) == (1, 0xFFFF, 30), "no longest time: none is too long"
    with pytest.raises(NotPossibleError, match="doors_closed is not known here"):  # bits 6 and above are reserved there
        forms.set_areas("routes", "append", [{"id": 1, "points": points, "doors_closed": True}], 2019)
