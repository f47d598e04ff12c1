"""The console's pages in a real Chromium, against the product with simulated vehicles and a simulated superior platform: each shows what there is, does what it
offers, and complains of nothing; axe-core, where npm has it, looks for what keeps people out."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.support import BIN, NPM, Process, Product, chromium_options, npm_fault, wait_for
from tests.ports import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

pytestmark = pytest.mark.e2e

PHONE, OTHER = "13800138000", "13800138001"
SCREENSHOTS = os.environ.get("JT1078RELAY_SCREENSHOTS", "")
AXE = "axe-core/axe.min.js"
#: what a page says, to eyes and to readers of screens
WORDS = """() => [document.querySelector('#view').textContent, ...[...document.querySelectorAll('#view *')].map((one) =>
  `${one.getAttribute('aria-label') || ''} ${one.getAttribute('placeholder') || ''} ${one.title || ''}`)].join(' ')"""
PAGES = ("live", "vehicles", f"vehicles/{PHONE}", "playback", "map", "alarms", "superiors", "inspector", "streams", "audit", "settings")


class Scene(NamedTuple):
    """What the tests of this module share."""

    relay: Product
    browser: Any
    vehicle: Process


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("console")
    options: dict[str, Any] = chromium_options()
    options["args"] = [*options["args"], "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    words = ["simulate", "superior", "--listen", "127.0.0.1:0", "--do", "send 9301 object_type=1 object_id=1 info_id=7 info_content=值班员在岗吗"]
    superior = Process("the superior", [BIN / "jt1078relay", *words], folder / "superior.log")
    port = int(superior.wait_for_output(r"listening on 127\.0\.0\.1:(\d+)").group(1))
    province = {"name": "province", "host": "127.0.0.1", "port": port, "access_code": 44030001, "user_id": 10001, "password": "12345678"}
    province |= {"platform_id": "44030012345", "sublink_host": "127.0.0.1", "sublink_port": free_port(), "sublink_advertise": "127.0.0.1"}
    rule = {"name": "collisions", "alarms": ["adas.1"], "level": 2, "attachments": True}
    product = Product(
        folder, superiors=(province,), rules=(rule,), media={"talk_tcp_port": free_port(), "talk_extra_ports": str(free_port())},
        attachments={"delay_s": 0.0, "free_bytes": 0},
    )  # fmt: skip
    try:
        with product as relay, playwright.sync_playwright() as machinery:
            relay.api("POST", "/terminals", {"phone": PHONE, "plate": "粤B12345", "plate_color": 2, "group": "depot"}, expect=201)
            vehicle = relay.terminal(
                PHONE, "--plate", "粤B12345", "--position-interval", "1", "--alarm-interval", "5", "--channels", "2", "--fault", "talk-echo"
            )
            relay.terminal(OTHER, "--position-interval", "2", "--channels", "1", "--edition", "2019")
            chromium = machinery.chromium.launch(**options)
            yield Scene(relay, chromium, vehicle)
            chromium.close()
    finally:
        superior.stop()


@pytest.fixture
def page(scene: Scene) -> Iterator[Any]:
    """A page whose complaints (script errors, broken policy) fail the test; answers of the relay that say no are no complaint."""
    context = scene.browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    made = context.new_page()
    complaints: list[str] = []
    made.on("pageerror", lambda problem: complaints.append(str(problem)))
    made.on("console", lambda line: complaints.append(line.text) if line.type == "error" and "status of 4" not in line.text else None)
    made.set_default_timeout(20000)
    yield made
    assert complaints == []
    context.close()


def visit(page: Any, scene: Scene, place: str) -> Any:
    page.goto(f"{scene.relay.page()}#/{place}")
    shown(page, place)
    return page


def shown(page: Any, place: str) -> None:
    page.wait_for_selector(f'#view[data-page="{place.partition("/")[0]}"] > *', state="attached")


def turn(page: Any, place: str) -> None:
    """To another page without loading anew."""
    page.evaluate("(place) => { location.hash = `#/${place}`; }", place)
    shown(page, place)


def shoot(page: Any, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=str(Path(SCREENSHOTS) / f"console-{name}.png"))


def moving(page: Any) -> None:
    """Waits until the picture plays."""
    look = "() => [...document.querySelectorAll('.tile.open video')].some((v) => v.videoWidth && v.currentTime > 0.3)"
    wait_for("a picture that plays", lambda: page.evaluate(look))


def test_every_page_opens_in_both_languages_and_on_a_phone(scene: Scene, page: Any) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    visit(page, scene, "live")
    for place in PAGES:
        turn(page, place)
        wide = page.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide[0] <= wide[1], place
    page.get_by_role("button", name="中文").click()
    for place in PAGES:
        turn(page, place)
        words = page.evaluate(WORDS)
        assert re.search("[\u4e00-\u9fff]{2}", words), place
        assert not re.search(r"\b(ve|vh|or|pb|up|al|mp|su|in|au|tk|set|pa|vi|ap)_[a-z]+", words), f"{place} has a word that is not there: {words}"


def test_nothing_serious_keeps_people_out(scene: Scene, page: Any) -> None:
    if fault := npm_fault(AXE):
        pytest.skip(f"axe-core is not there: {fault}")
    visit(page, scene, "live")
    page.evaluate((NPM / AXE).read_text(encoding="utf-8"))
    look = "async () => (await axe.run(document, { resultTypes: ['violations'] })).violations"
    serious = []
    for place in PAGES:
        turn(page, place)
        page.wait_for_timeout(300)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            found = [one for one in page.evaluate(look) if one["impact"] in ("serious", "critical")]
            serious += [(place, scheme, one["id"], node["html"][:160], node["failureSummary"][:300]) for one in found for node in one["nodes"][:4]]
    assert serious == []


def test_a_vehicle_is_found_watched_turned_photographed_and_told(scene: Scene, page: Any) -> None:
    visit(page, scene, "vehicles")
    page.get_by_label("Plate or number").fill("12345")
    page.get_by_role("link", name=re.compile("粤B12345")).click()
    page.get_by_role("button", name="Watch").first.click()
    moving(page)
    page.get_by_text("picture after").first.wait_for()
    turned = scene.vehicle.output.count("0x9301")
    page.locator(".ptz-pad").get_by_role("button", name="Left", exact=True).hover()
    page.mouse.down()
    wait_for("the camera's turning", lambda: scene.vehicle.output.count("0x9301") > turned)
    page.mouse.up()
    wait_for("its stopping", lambda: scene.vehicle.output.count("0x9301") > turned + 1)
    page.get_by_role("button", name="Take a picture").click()
    photo = page.locator(".pictures img").first
    photo.wait_for()
    wait_for("the picture's pixels", lambda: photo.evaluate("(image) => image.naturalWidth"))
    page.get_by_role("button", name="Read from the terminal").click()
    page.get_by_role("row", name=re.compile("0x0001")).get_by_role("button", name="Change").click()
    page.get_by_role("textbox", name=re.compile("heartbeat")).fill("47")
    page.get_by_role("button", name="Set", exact=True).click()
    page.get_by_role("row", name=re.compile("0x0001")).get_by_text("47").wait_for()
    page.get_by_role("combobox", name="Control").select_option("doors_lock")
    page.get_by_role("button", name="Do", exact=True).click()
    page.get_by_role("button", name="Yes, do it").click()
    page.get_by_text('"doors_locked": true').wait_for()
    shoot(page, "vehicle")


def test_a_recording_is_searched_played_paused_and_fetched(scene: Scene, page: Any) -> None:
    visit(page, scene, f"playback/{PHONE}/1/{scene.relay.api('GET', '/status')['time'][:10]}")
    page.get_by_text(re.compile(r"\d+ recordings")).wait_for()
    page.get_by_role("button", name="Play", exact=True).first.click()
    moving(page)
    page.get_by_role("button", name="Pause").first.click()
    page.get_by_role("button", name="Go on").first.click()
    page.get_by_role("button", name="4×").click()
    wait_for("the speed", lambda: [one["speed"] for one in scene.relay.api("GET", "/playbacks")["items"]] == [4])
    page.get_by_text("Sound left out").wait_for()  # none comes at that speed: the picture does not wait for it
    moving(page)
    shoot(page, "playback")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Fetch file").first.click()
    page.get_by_role("link", name=re.compile(r"\.h264$")).wait_for()


def test_an_alarm_comes_with_its_files_and_is_acknowledged(scene: Scene, page: Any) -> None:
    visit(page, scene, "alarms")
    page.get_by_text("complete").first.wait_for()
    page.locator(".nav .badge").first.wait_for()
    page.get_by_role("row", name=re.compile("complete")).first.get_by_role("button", name="Show").click()
    wait_for("the evidence", lambda: page.locator(".evidence img").count() and page.locator(".evidence img").first.evaluate("(image) => image.naturalWidth"))
    shoot(page, "alarms")
    page.get_by_role("button", name="Acknowledge").first.click()
    page.get_by_label("Note").fill("seen by the test")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    page.get_by_role("combobox", name="State").select_option("true")
    page.get_by_text("seen by the test").wait_for()


def test_the_map_shows_vehicles_and_a_track(scene: Scene, page: Any) -> None:
    visit(page, scene, f"map/{PHONE}")
    page.get_by_text(re.compile(r"\d+ positions")).wait_for()
    look = "(map) => new Set(map.getContext('2d').getImageData(0, 0, map.width, map.height).data).size"
    assert page.locator("canvas.map").evaluate(look) > 20
    shoot(page, "map")


def test_a_superiors_question_is_answered_and_messages_are_seen(scene: Scene, page: Any) -> None:
    visit(page, scene, "superiors")
    page.get_by_role("button", name="Answer", exact=True).click()
    page.get_by_label("Answer", exact=True).fill("在岗")
    page.get_by_role("button", name="Send").click()
    page.get_by_text("answered by").wait_for()
    shoot(page, "superiors")
    visit(page, scene, "inspector")
    page.locator(".line", has_text="0x0200").first.click()
    page.get_by_text("22.5").first.wait_for()
    wait_for("messages of the superior", lambda: page.locator(".line", has_text="0x1202").count())
    shoot(page, "inspector")


def test_a_call_from_a_vehicles_page(scene: Scene, page: Any) -> None:
    visit(page, scene, f"vehicles/{PHONE}")
    page.get_by_role("button", name="Talk", exact=True).first.click()
    page.get_by_text("holds the microphone").first.wait_for()
    page.get_by_role("button", name="End", exact=True).click()
    wait_for("the end of the call", lambda: scene.relay.api("GET", "/talks")["total"] == 0)


def test_the_wall_goes_on_patrol_with_words_over_the_pictures(scene: Scene, page: Any) -> None:
    visit(page, scene, "live")
    page.get_by_role("button", name="Patrol").click()
    page.get_by_label("Seconds for each").fill("5")
    page.get_by_role("button", name="Begin").click()
    moving(page)
    page.locator(".osd", has_text="km/h").first.wait_for()
    page.get_by_role("button", name=re.compile("^Patrol: ")).click()


def test_the_api_is_read_and_tried(scene: Scene, page: Any) -> None:
    url, _, token = scene.relay.page().partition("/?")
    page.goto(f"{url}/api/?{token}")
    page.get_by_label("Path or words").fill("/api/v1/terminals/{sim}")
    page.get_by_text("One terminal", exact=True).click()
    page.locator("details[open] input").first.fill(PHONE)
    page.get_by_role("button", name="Send").click()
    page.get_by_text('"plate": "粤B12345"').wait_for()
    shoot(page, "api")


def test_a_viewer_is_offered_nothing_that_is_refused(scene: Scene, page: Any) -> None:
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    page.goto(f"http://127.0.0.1:{scene.relay.ports['http']}/?token={scene.relay.token('--api', '--role', 'viewer')}#/live")
    shown(page, "live")
    pages = page.locator(".nav a").evaluate_all("(links) => links.map((link) => link.hash.slice(2))")
    assert pages == ["live", "vehicles", "playback", "map", "alarms", "superiors", "streams", "settings"]
    for place in [*pages, f"vehicles/{PHONE}", f"playback/{PHONE}/1"]:
        turn(page, place)
        page.wait_for_timeout(400)
        offered = page.locator("#view button:enabled").all_inner_texts()
        assert not {"Talk", "Take a picture", "Acknowledge", "Answer", "Disconnect", "Stop", "Do", "Send", "Search", "Record now"} & set(offered), place
    assert refused == []
