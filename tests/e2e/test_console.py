"""The console's pages in a real Chromium, against the product with simulated vehicles and a simulated superior platform: each shows what there is, does what it
offers, and complains of nothing; axe-core, where npm has it, looks for what keeps people out."""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
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
OPERATORS = {"Talk", "Take a picture", "Acknowledge", "Answer", "Disconnect", "Stop", "Do", "Send", "Search", "Record now", "Push a channel", "Import"}
OPERATORS |= {"Say it is otherwise", "Change", "Send a test", "Send to the terminal"}
PAGES = ("live", "vehicles", f"vehicles/{PHONE}", "playback", "map", "alarms", "superiors", "inspector", "streams", "audit", "settings")


class Scene(NamedTuple):
    """What the tests of this module share."""

    relay: Product
    browser: Any
    vehicle: Process
    told: list[str]  #: names of what a hook's receiver was told


class Receiver(BaseHTTPRequestHandler):
    """The program that a hook tells."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append(self.headers["X-JT1078-Hook"])  # type: ignore[attr-defined]
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


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
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    receiver.told = told = []  # type: ignore[attr-defined]
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    product = Product(
        folder, superiors=(province,), rules=(rule,), media={"talk_tcp_port": free_port(), "talk_extra_ports": str(free_port())},
        attachments={"delay_s": 0.0, "free_bytes": 0},
    )  # fmt: skip
    with product.config.open("a", encoding="utf-8") as config:
        for name, port in (("fleet", receiver.server_port), ("broken", free_port())):
            config.write(f'[[hook]]\nname = "{name}"\nurl = "http://127.0.0.1:{port}/in?key=verysecret"\nevents = ["on_terminal_*"]\nsecret = "s"\n')
    try:
        with product as relay, playwright.sync_playwright() as machinery:
            relay.api("POST", "/terminals", {"phone": PHONE, "plate": "粤B12345", "plate_color": 2, "group": "depot"}, expect=201)
            vehicle = relay.terminal(
                PHONE, "--plate", "粤B12345", "--position-interval", "1", "--alarm-interval", "5", "--channels", "2", "--fault", "talk-echo"
            )
            relay.terminal(OTHER, "--position-interval", "2", "--channels", "1", "--edition", "2019")
            chromium = machinery.chromium.launch(**options)
            yield Scene(relay, chromium, vehicle, told)
            chromium.close()
    finally:
        superior.stop()
        receiver.shutdown()
        receiver.server_close()


@pytest.fixture
def page(scene: Scene) -> Iterator[Any]:
    """A page whose complaints (script errors, broken policy) fail the test; answers of the relay that say no are no complaint."""
    context = scene.browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-US")
    made = context.new_page()
    complaints: list[str] = []
    made.on("pageerror", lambda problem: complaints.append(str(problem)))
    made.on("console", lambda line: complaints.append(line.text) if line.type == "error" and not re.search("status of (4..|50[234])", line.text) else None)
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
        words = wait_for(f"the Chinese words of {place}", lambda: re.search("[\u4e00-\u9fff]{2}", said := page.evaluate(WORDS)) and said)
        missing = re.search(r"\b(ve|vh|or|pb|up|al|mp|su|in|au|tk|set|pa|vi|ap|ar|qu|pu|hk|ptz)_[a-z]+", words)
        assert not missing, f"{place} has a word that is not there: {missing[0]}"


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


def test_a_camera_is_turned_from_the_wall(scene: Scene, page: Any) -> None:
    visit(page, scene, f"live/{PHONE}_1")
    moving(page)
    tile = page.locator(".tile.open").first
    tile.hover()
    tile.get_by_role("button", name="Turn the camera").click()
    for name in ("Left", "Zoom in"):
        before = scene.vehicle.output.count("0x9301") + scene.vehicle.output.count("0x9306")
        tile.get_by_role("button", name=name, exact=True).hover()
        page.mouse.down()
        count = lambda: scene.vehicle.output.count("0x9301") + scene.vehicle.output.count("0x9306")  # noqa: E731
        wait_for(name, lambda before=before, count=count: count() > before)
        shoot(page, "wall-pad")
        page.mouse.up()
        if name == "Left":
            wait_for("its stopping", lambda before=before, count=count: count() > before + 1)
    tile.get_by_role("button", name="Close").click()


def test_an_area_is_drawn_sent_read_back_and_deleted(scene: Scene, page: Any) -> None:
    visit(page, scene, f"vehicles/{OTHER}")
    page.locator("summary", has_text="Areas and routes").click()
    form = page.get_by_role("form", name="Areas and routes")
    form.get_by_role("combobox", name="Kind").select_option("polygons")
    drawn = page.locator(".area-map canvas")
    drawn.scroll_into_view_if_needed()
    for x, y in ((80, 80), (260, 90), (180, 220)):
        drawn.click(position={"x": x, "y": y})
    assert len(form.get_by_label("Places").input_value().splitlines()) == 3
    form.get_by_label("Number").fill("7")
    form.get_by_label("Name").fill("车场")
    form.get_by_label("Speed limit (km/h)").fill("40")
    form.get_by_text("More rules").click()
    form.get_by_label("Speed limit at night").fill("30")
    form.get_by_label("Doors must stay closed").check()
    form.get_by_label("Communication module off").check()
    shoot(page, "areas")
    form.get_by_role("button", name="Send to the terminal").click()
    page.get_by_text("The terminal has taken it.").wait_for()
    page.get_by_role("button", name="Read from the terminal").last.click()
    row = page.get_by_role("row", name=re.compile("车场"))
    row.get_by_text("3 places").wait_for()
    row.get_by_text("at most 40 km/h, at night 30 km/h, Doors must stay closed inside, Communication module off inside").wait_for()
    form.get_by_label("Places").fill("22.5 114\nnowhere")
    form.get_by_role("button", name="Send to the terminal").click()
    page.get_by_text("Line 2 is not a latitude and a longitude: nowhere").wait_for()
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Delete").click()
    page.get_by_text("The terminal has none of these.").wait_for()
    assert scene.relay.api("GET", f"/terminals/{OTHER}/areas/polygons")["count"] == 0


def test_a_route_has_rules_for_each_of_its_segments(scene: Scene, page: Any) -> None:
    visit(page, scene, f"vehicles/{OTHER}")
    page.locator("summary", has_text="Areas and routes").click()
    form = page.get_by_role("form", name="Areas and routes")
    form.get_by_role("combobox", name="Kind").select_option("routes")
    form.get_by_label("Places").fill("22.5, 114.0\n22.6, 114.1\n22.7, 114.2")
    form.get_by_label("Number").fill("3")
    form.get_by_label("Speed limit (km/h)").fill("80")
    form.get_by_text("More rules").click()
    assert not form.get_by_label("Doors must stay closed").is_visible()
    for words, value in (("limit (km/h)", "40"), ("exceeded for (s)", "5"), ("at night (km/h)", "30"), ("width (m)", "20"), ("at most (s)", "600")):
        form.get_by_label(f"Segment 2: {words}").fill(value)
    form.get_by_label("Segment 3: limit (km/h)").fill("70000")
    form.get_by_text("More rules").click()
    form.get_by_role("button", name="Send to the terminal").click()
    assert form.locator("details.more").get_attribute("open") is not None, "what is wrong is shown"
    form.get_by_label("Segment 3: limit (km/h)").fill("")
    form.get_by_label("Segment 2: limit (km/h)").scroll_into_view_if_needed()
    shoot(page, "route")
    form.get_by_role("button", name="Send to the terminal").click()
    page.get_by_text("The terminal has taken it.").wait_for()
    points = scene.relay.api("GET", f"/terminals/{OTHER}/areas/routes")["areas"][0]["points"]
    told = [[point.get(name) for name in ("width", "max_speed", "overspeed_duration", "night_max_speed", "too_long_threshold")] for point in points]
    assert told == [[50, 80, 10, 80, None], [20, 40, 5, 30, 600], [50, 80, 10, 80, None]]
    page.get_by_role("button", name="Read from the terminal").last.click()
    page.get_by_text("at most 40–80 km/h, at night 30–80 km/h, driving time").wait_for()
    scene.relay.api("DELETE", f"/terminals/{OTHER}/areas/routes")


def test_quirks_are_said_taken_back_and_exported(scene: Scene, page: Any) -> None:
    visit(page, scene, f"vehicles/{PHONE}")
    page.get_by_role("button", name="Say it is otherwise").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Quirk").select_option("talk.keep_ms")
    dialog.get_by_label("Value").fill("1e9")
    dialog.get_by_role("button", name="Set").click()
    dialog.get_by_role("alert").get_by_text("0 to 60000").wait_for()
    dialog.get_by_label("Value").fill("400")
    shoot(page, "quirk")
    dialog.get_by_role("button", name="Set").click()
    row = page.get_by_role("row", name=re.compile("talk.keep_ms"))
    row.get_by_text("said by a person").wait_for()
    assert scene.relay.api("GET", f"/terminals/{PHONE}/quirks")["override"] == {"talk.keep_ms": 400}
    turn(page, "settings")
    page.get_by_text("talk.keep_ms 400").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Export").click()
    exported = json.loads(Path(saved.value.path()).read_text(encoding="utf-8"))
    assert [one["override"] for one in exported["items"] if one["name"] == PHONE] == [{"talk.keep_ms": 400}]
    turn(page, f"vehicles/{PHONE}")
    page.get_by_role("row", name=re.compile("talk.keep_ms")).get_by_role("button", name="Take back").click()
    wait_for("the end of it", lambda: scene.relay.api("GET", f"/terminals/{PHONE}/quirks")["override"] == {})
    turn(page, "settings")
    page.get_by_role("button", name="Import").click()
    page.get_by_label("File").set_input_files(saved.value.path())
    page.get_by_role("dialog").get_by_role("button", name="Import").click()
    page.get_by_text("talk.keep_ms 400").wait_for()
    scene.relay.api("PUT", f"/terminals/{PHONE}/quirks", {"override": {}})


def test_a_push_is_made_says_why_it_waits_and_is_removed(scene: Scene, page: Any) -> None:
    visit(page, scene, "streams")
    page.get_by_role("button", name="Push a channel").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Vehicle").fill("粤B12345")
    dialog.get_by_label("Address").fill("rtmp://127.0.0.1:9/live/verysecret?key=verysecret")
    dialog.get_by_label("Name").fill("cdn")
    dialog.get_by_role("button", name="Push", exact=True).click()
    row = page.get_by_role("row", name=re.compile("cdn"))
    row.get_by_text("waiting").wait_for()
    row.get_by_text("push_allow").or_(row.get_by_text("refused")).or_(row.get_by_text("127.0.0.1")).first.wait_for()
    shoot(page, "pushes")
    assert "verysecret" not in page.content()
    row.get_by_role("button", name="Stop").click()
    row.get_by_text("stopped").wait_for()
    page.once("dialog", lambda question: question.accept())
    row.get_by_role("button", name="Remove").click()
    page.get_by_text("No channel is sent to an outside RTMP server.").wait_for()


def test_hooks_tell_how_they_do_and_are_tried(scene: Scene, page: Any) -> None:
    visit(page, scene, "settings")
    row = page.get_by_role("row", name=re.compile("fleet"))
    row.get_by_text("delivered").wait_for()
    assert scene.told
    row.get_by_role("button", name="Send a test").click()
    page.get_by_text("fleet took it: 204").wait_for()
    assert "on_test" in scene.told
    broken = page.get_by_role("row", name=re.compile("broken"))
    broken.get_by_role("button", name="Send a test").click()
    page.get_by_text("The hook broken did not take it: Connection was refused").wait_for()
    broken.get_by_text("Connection was refused").wait_for()
    shoot(page, "settings")
    assert "verysecret" not in page.content()


def test_a_button_that_is_drawn_anew_while_it_is_pressed_does_what_it_says(scene: Scene, page: Any) -> None:
    visit(page, scene, "settings")
    test = page.get_by_role("row", name=re.compile("fleet")).get_by_role("button")
    before = scene.told.count("on_test")
    test.hover()
    page.mouse.down()
    with page.expect_response("**/hooks"):
        page.evaluate("() => document.getElementById('language').click()")  # all of it is drawn anew, in Chinese
    page.evaluate("() => new Promise((done) => setTimeout(() => requestAnimationFrame(done), 100))")
    assert test.text_content() == "Send a test"  # not before it is let go
    page.mouse.up()
    page.get_by_text("fleet 已接收：204").wait_for()
    assert scene.told.count("on_test") == before + 1
    test.focus()
    page.keyboard.press("Enter")
    wait_for("the second delivery", lambda: scene.told.count("on_test") == before + 2)
    wait_for("its being told", lambda: test.get_attribute("aria-disabled") is None)
    page.keyboard.press("Enter")  # drawn anew, it still is the one that the keyboard is at
    wait_for("the third delivery", lambda: scene.told.count("on_test") == before + 3)


def test_what_is_said_of_a_click_is_not_pushed_away_by_alarms(scene: Scene, page: Any) -> None:
    visit(page, scene, "settings")
    page.evaluate("""async () => {
      const { toast } = await import("/static/dom.js");
      toast("refused");
      for (let number = 0; number < 20; number += 1) toast(`alarm ${number}`, "alarm");
      toast("refused");
    }""")
    said = page.locator("#toast p").all_text_contents()
    assert [one for one in said if one == "refused" or one.startswith("alarm ")] == ["refused", "alarm 19"]
    page.get_by_text("refused", exact=True).wait_for(state="detached")


def test_what_happens_while_the_page_opens_is_not_missed(scene: Scene, page: Any) -> None:
    def late(route: Any) -> None:  # the list has been read, its events are not told yet
        scene.relay.api("PUT", f"/terminals/{OTHER}", {"group": "meanwhile"})
        route.continue_()

    page.route("**/page_vehicles.js", late)
    visit(page, scene, "vehicles")
    page.get_by_text("meanwhile", exact=True).first.wait_for()


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
        assert not OPERATORS & set(offered), place
    assert refused == []


def test_an_operator_of_one_group_is_asked_for_nothing_that_is_refused(scene: Scene, page: Any) -> None:
    refused: list[str] = []
    page.on("response", lambda answer: refused.append(f"{answer.status} {answer.url}") if answer.status >= 400 else None)
    token = scene.relay.api("POST", "/tokens", {"name": "depot", "role": "operator", "groups": ["depot"], "expires_s": 600}, expect=201)["token"]
    page.goto(f"http://127.0.0.1:{scene.relay.ports['http']}/?token={token}#/settings")
    shown(page, "settings")
    assert "#/superiors" not in page.locator(".nav a").evaluate_all("(links) => links.map((link) => link.hash)")
    for place in ("streams", "map", "alarms", f"vehicles/{PHONE}"):
        turn(page, place)
        page.wait_for_timeout(400)
    page.get_by_role("button", name="Say it is otherwise").click()
    page.get_by_role("dialog").get_by_label("Quirk").wait_for()
    assert refused == []
