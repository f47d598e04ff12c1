"""The configuration: which file, every fault at once with its key, secrets, sections of later versions."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from relay.app import config
from relay.app.config import ConfigurationError, build, load
from relay.app.ports import listeners
from relay.settings import Settings
from tests.shared import SHARED


def write(folder: Path, text: str, name: str = "relay.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def faults(folder: Path, text: str, environ: dict[str, str] | None = None) -> dict[str, str]:
    with pytest.raises(ConfigurationError) as caught:
        load(str(write(folder, text)), environ or {}, folder)
    return {fault.path: fault.message for fault in caught.value.faults}


def settings(folder: Path, text: str, environ: dict[str, str] | None = None) -> Settings:
    return load(str(write(folder, text)), environ or {}, folder).settings


# -- which file


def test_the_order_of_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = tmp_path / "here"
    here.mkdir()
    system = tmp_path / "etc.toml"
    monkeypatch.setattr(config, "SYSTEM", system)

    built_in = load(None, {}, here)
    assert built_in.path is None
    assert built_in.said == (
        f"configuration: built-in defaults (no --config, no $JT1078RELAY_CONFIG, no jt1078relay.toml here, no {system}), "
        f"store in {here}/jt1078relay-data"
    )
    assert built_in.settings.store.url == f"sqlite:///{here}/jt1078relay-data/relay.db"

    write(tmp_path, "", "etc.toml")
    assert load(None, {}, here).said == f"configuration: {system}"
    write(here, "", "jt1078relay.toml")
    assert load(None, {}, here).said == f"configuration: {here}/jt1078relay.toml (found here)"
    write(here, "", "named.toml")
    assert load(None, {"JT1078RELAY_CONFIG": "named.toml"}, here).said == f"configuration: {here}/named.toml ($JT1078RELAY_CONFIG)"
    write(here, "", "given.toml")
    assert load("given.toml", {"JT1078RELAY_CONFIG": "named.toml"}, here).said == f"configuration: {here}/given.toml (--config)"


def test_a_directory_that_may_not_be_looked_into_has_no_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # root's home, when root says: sudo -u jt1078relay jt1078relay terminal add …
    system = Path("/etc/passwd")
    monkeypatch.setattr(config, "SYSTEM", system)
    here = tmp_path / "shut"
    here.mkdir(mode=0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        assert config.locate(None, {}, here) == (system, f"configuration: {system}")
    finally:
        os.seteuid(before)


@pytest.mark.parametrize(("explicit", "environ"), [("missing.toml", {}), (None, {"JT1078RELAY_CONFIG": "missing.toml"})])
def test_a_named_file_must_exist(tmp_path: Path, explicit: str | None, environ: dict[str, str]) -> None:
    write(tmp_path, "", "jt1078relay.toml")
    with pytest.raises(ConfigurationError, match=r"missing\.toml: cannot be read: No such file or directory"):
        load(explicit, environ, tmp_path)


def test_a_directory_bytes_and_broken_toml_are_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(str(tmp_path), {}, tmp_path)
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load("a.toml", {}, tmp_path)
    with pytest.raises(ConfigurationError, match=r"not TOML: .*line 2"):
        load(str(write(tmp_path, "[http]\nport = \n")), {}, tmp_path)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert settings(tmp_path, "\ufeff[http]\nport = 1\n").http.port == 1


# -- values


def test_an_empty_file_is_the_defaults_with_the_store_beside_it(tmp_path: Path) -> None:
    got = settings(tmp_path, "")
    assert got.store.url == f"sqlite:///{tmp_path}/jt1078relay-data/relay.db"
    assert (got.terminals, got.media, got.http, got.audio, got.auth, got.limits, got.log, got.metrics) == (
        Settings().terminals,
        Settings().media,
        Settings().http,
        Settings().audio,
        Settings().auth,
        Settings().limits,
        Settings().log,
        Settings().metrics,
    )


def test_every_fault_is_told_at_once_with_its_key(tmp_path: Path) -> None:
    assert faults(
        tmp_path,
        """
        [terminals]
        registration = "knwon"
        udp_port = 70000
        tcp_port = "7808"
        idle_timeout_s = true
        retries = 1.5
        [media]
        live_tcp_prt = 3
        talk_extra_ports = "1299-1279"
        merge_ms = 10
        sim_bytes = 12
        idle_stop_s = -1
        [http]
        host = "example.org"
        registration = "open"
        trusted_proxies = ["10.0.0.0/33"]
        cors_origins = "https://a.example"
        map_tiles = "https://tiles.example; script-src *"
        [metrics]
        enabled = 1
        [store]
        url = "mysql://x"
        [auth]
        signing_key = "short"
        [supperior]
        """,
    ) == {
        "supperior": "unknown section; did you mean superior?",
        "terminals.registration": "must be one of known, first-seen, open, not 'knwon'; did you mean known?",
        "terminals.udp_port": "70000 is out of range: 0 to 65535",
        "terminals.tcp_port": "must be a whole number, not '7808'",
        "terminals.idle_timeout_s": "must be a number, not true",
        "terminals.retries": "must be a whole number, not 1.5",
        "media.live_tcp_prt": "unknown key; did you mean live_tcp_port?",
        "media.talk_extra_ports": 'must be ports such as "1279-1299" (or "" for none), not \'1299-1279\'',
        "media.merge_ms": 'must be "auto", 0 or 20 to 350, not 10',
        "media.sim_bytes": "must be one of 0, 6, 10, not 12",
        "media.idle_stop_s": "-1.0 is out of range: 0.0 or more",
        "http.host": 'must be a numeric address to bind such as "0.0.0.0", "127.0.0.1" or "::", not \'example.org\'',
        "http.registration": "unknown key; it belongs into [terminals]",
        "http.trusted_proxies": 'must be addresses or networks such as "10.0.0.1" or "10.0.0.0/8", not \'10.0.0.0/33\'',
        "http.cors_origins": "must be a list of texts, not 'https://a.example'",
        "http.map_tiles": "must be an address such as \"https://tiles.example/{z}/{x}/{y}.png\", not 'https://tiles.example; script-src *'",
        "metrics.enabled": "must be true or false, not 1",
        "store.url": 'must be "sqlite:///relative/path", "sqlite:////absolute/path" or "postgresql://user@host/database"',
        "auth.signing_key": "shorter than 16 characters; `openssl rand -hex 32` makes a good one",
    }


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ('merge_ms = "auto"', "auto"),
        ("merge_ms = 0", "0"),
        ('merge_ms = "100"', "100"),
        ("merge_ms = 350", "350"),
    ],
)
def test_merge_ms_is_a_word_or_a_number(tmp_path: Path, line: str, value: str) -> None:
    assert settings(tmp_path, f"[media]\n{line}\n").media.merge_ms == value


@pytest.mark.parametrize("text", ["merge_ms = 19", "merge_ms = 351", "merge_ms = true", 'merge_ms = "fast"', "merge_ms = -1", "merge_ms = 100.0"])
def test_other_values_of_merge_ms_are_faults(tmp_path: Path, text: str) -> None:
    assert list(faults(tmp_path, f"[media]\n{text}\n")) == ["media.merge_ms"]


def test_whole_numbers_do_for_seconds_and_localhost_for_an_address(tmp_path: Path) -> None:
    got = settings(tmp_path, '[terminals]\nidle_timeout_s = 60\n[http]\nhost = "localhost"\n')
    assert got.terminals.idle_timeout_s == 60.0
    assert isinstance(got.terminals.idle_timeout_s, float)
    assert got.http.host == "127.0.0.1"


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_no_second_is_infinite(tmp_path: Path, value: str) -> None:
    assert list(faults(tmp_path, f"[terminals]\nidle_timeout_s = {value}\n")) == ["terminals.idle_timeout_s"]


def test_relative_paths_count_from_the_file(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    write(tmp_path / "conf", '[store]\nurl = "sqlite:///data/a.db"\n')
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    loaded = load("../conf/relay.toml", {}, elsewhere)
    assert loaded.settings.store.url == f"sqlite:///{tmp_path}/conf/data/a.db"


# -- what must fit together


def test_postgresql_keeps_its_url_and_files_go_beside_the_configuration(tmp_path: Path) -> None:
    def store(text: str) -> Any:
        path = tmp_path / "a.toml"
        path.write_text(f"[store]\n{text}")
        return load(str(path)).settings.store

    plain = store('url = "postgresql://ann@db.example/relay"')
    assert (plain.url, plain.directory) == ("postgresql://ann@db.example/relay", str(tmp_path / "jt1078relay-data"))
    assert store('url = "postgresql://ann@/relay"\ndirectory = "files"').directory == str(tmp_path / "files")
    assert store('directory = "files"').url == f"sqlite:///{tmp_path / 'jt1078relay-data' / 'relay.db'}"
    assert "names no database" in faults(tmp_path, '[store]\nurl = "postgresql://db.example"')["store.url"]


def test_two_listeners_on_one_port_are_a_fault_of_the_second(tmp_path: Path) -> None:
    assert faults(tmp_path, "[http]\nport = 7808\n[media]\nlive_udp_port = 7808\ntalk_tcp_port = 1285\n") == {
        "http.port": "TCP port 7808 is also terminals.tcp_port's",
        "media.live_udp_port": "UDP port 7808 is also terminals.udp_port's",
        "media.talk_extra_ports": "TCP port 1285 is also media.talk_tcp_port's",
    }


def test_the_same_port_of_two_addresses_or_switched_off_is_none(tmp_path: Path) -> None:
    settings(tmp_path, '[http]\nport = 7808\nhost = "127.0.0.1"\n[terminals]\nhost = "10.0.0.1"\n')
    got = settings(tmp_path, "[terminals]\ntcp_port = 0\nudp_port = 0\n[http]\nport = 0\nplatform_port = 0\n")
    assert "http.port" not in {key for key, *_ in listeners(got)}


def test_certificate_and_key_go_together_and_must_be_readable(tmp_path: Path) -> None:
    write(tmp_path, "x", "cert.pem")
    text = '[terminals]\ntls_port = 8443\n[http]\ntls_certificate = "cert.pem"\n[media]\ntls_certificate = "cert.pem"\ntls_key = "key.pem"\n'
    assert faults(tmp_path, text) == {
        "terminals.tls_certificate": "terminals.tls_port needs tls_certificate and tls_key",
        "http.tls_key": "tls_certificate and tls_key go together",
        "media.tls_key": f"{tmp_path}/key.pem cannot be read: No such file or directory",
    }


@pytest.mark.parametrize("value", ["", "203.0.113.10", "relay.example", "::1", "relay-1.example.", "xn--fiq228c.example"])
def test_what_others_are_told_is_an_address_or_a_name(tmp_path: Path, value: str) -> None:
    assert settings(tmp_path, f'[media]\nadvertise = "{value}"\n').media.advertise == value


@pytest.mark.parametrize("value", ["http://203.0.113.10", "203.0.113.10:1078", "two words", "-x", "a..b", "x" * 254, "车.example"])
def test_other_things_are_not(tmp_path: Path, value: str) -> None:
    assert list(faults(tmp_path, f'[media]\nadvertise = "{value}"\n')) == ["media.advertise"]


@pytest.mark.parametrize("value", ["relay.example", "relay.example:8443", "203.0.113.10:80", "[::1]:80", "[::1]"])
def test_the_web_is_told_with_or_without_a_port(tmp_path: Path, value: str) -> None:
    assert settings(tmp_path, f'[http]\nadvertise = "{value}"\n').http.advertise == value


@pytest.mark.parametrize("value", ["https://relay.example", "relay.example:x", "relay.example:70000", "relay.example/path", "[::1", ":80", "::1"])
def test_but_without_a_scheme_or_path(tmp_path: Path, value: str) -> None:
    assert list(faults(tmp_path, f'[http]\nadvertise = "{value}"\n')) == ["http.advertise"]


def test_a_certificate_that_is_none_is_told_by_its_key(tmp_path: Path) -> None:
    write(tmp_path, "nothing of the sort", "cert.pem")
    assert list(faults(tmp_path, '[http]\ntls_certificate = "cert.pem"\ntls_key = "cert.pem"\n')) == ["http.tls_certificate"]


# -- secrets


def test_secrets_come_from_text_file_or_environment(tmp_path: Path) -> None:
    key = "k" * 32
    secret = write(tmp_path, f"{key}\nsecond line\n", "key")
    secret.chmod(0o600)
    assert settings(tmp_path, f'[auth]\nsigning_key = "{key}"\n').auth.signing_key == key
    assert settings(tmp_path, '[auth]\nsigning_key = "file:key"\n').auth.signing_key == key
    assert settings(tmp_path, f'[auth]\nsigning_key = "file:{secret}"\n').auth.signing_key == key
    assert settings(tmp_path, '[auth]\nsigning_key = "env:KEY"\n', {"KEY": key}).auth.signing_key == key


def test_secrets_that_cannot_be_had_are_faults_that_do_not_tell_them(tmp_path: Path) -> None:
    write(tmp_path, "\n", "empty")
    write(tmp_path, "planted-short", "short")
    found = faults(
        tmp_path,
        '[auth]\nsigning_key = "file:nowhere"\nsigning_key_old = "file:empty"\n[metrics]\ntoken = "env:NOT_SET"\n',
    )
    assert found["auth.signing_key"] == f"the file {tmp_path}/nowhere cannot be read: No such file or directory"
    assert found["auth.signing_key_old"] == f"the file {tmp_path}/empty is empty"
    assert found["metrics.token"] == "the environment variable it names is not set"
    assert "planted" not in str(faults(tmp_path, '[auth]\nsigning_key = "file:short"\n'))
    assert "12345" not in str(faults(tmp_path, "[auth]\nsigning_key = 12345\n"))


def test_secrets_do_not_stand_in_the_settings_repr(tmp_path: Path) -> None:
    got = settings(tmp_path, f'[auth]\nsigning_key = "{"planted" * 5}"\n[metrics]\ntoken = "planted-token"\n')
    assert "planted" not in repr(got)


def test_a_secret_file_open_to_all_is_warned_of(tmp_path: Path) -> None:
    write(tmp_path, "k" * 32, "key").chmod(0o644)
    loaded = load(str(write(tmp_path, '[auth]\nsigning_key = "file:key"\n')), {}, tmp_path)
    assert loaded.warnings == (f"auth.signing_key: the file {tmp_path}/key can be read by everybody; chmod 600 it",)


def test_a_former_key_needs_a_present_one(tmp_path: Path) -> None:
    assert list(faults(tmp_path, f'[auth]\nsigning_key_old = "{"k" * 32}"\n')) == ["auth.signing_key"]


# -- arrays of tables

PUSH = '[[push]]\nname = "a"\nurl = "rtmp://media.example/live/car?key=secret"\nterminal = "13800138000"\n'


def test_tables_of_an_array_keep_their_order_and_have_defaults(tmp_path: Path) -> None:
    one, two = settings(tmp_path, PUSH + PUSH.replace('"a"', '"b"') + 'channel = 2\nwhen = "demand"\n').push
    assert (one.name, one.terminal, one.channel, one.when) == ("a", "13800138000", 1, "always")
    assert (two.name, two.channel, two.when) == ("b", 2, "demand")
    assert "secret" not in repr(one), "stream keys are secrets"


def test_faults_of_tables_name_which_one(tmp_path: Path) -> None:
    text = PUSH + '[[push]]\nname = "a"\nurl = "rtsp://media.example/live/hidden"\nchannel = 0\nwhere = "x"\n[[push]]\nname = "../x"\n'
    assert faults(tmp_path, text) == {
        "push[2].where": "unknown key; did you mean when?",
        "push[2].url": "must begin with rtmp:// or rtmps://",
        "push[2].terminal": "missing",
        "push[2].channel": "0 is out of range: 1 to 255",
        "push[2].name": "'a' is also push[1]'s",
        "push[3].name": "must be 1 to 64 letters, digits, dots, dashes and underscores, not '../x'",
        "push[3].url": "missing",
        "push[3].terminal": "missing",
    }
    assert faults(tmp_path, "[push]\n") == {"push": "must be an array of tables: [[push]]"}
    assert faults(tmp_path, "push = [1]\n") == {"push": "must be an array of tables: [[push]]"}
    assert faults(tmp_path, "[[push]]\n" * 1001) == {"push": "1001 tables, 1000 at most"}


@pytest.mark.parametrize("url", ["ftp://hook.example/key", "http://[::1/key", "http://hook.example:port/key", "http://hook.example:99999/key", "http:///key"])
def test_an_address_that_is_none_is_a_fault_of_its_hook(url: str, tmp_path: Path) -> None:
    assert faults(tmp_path, f'[[hook]]\nname = "a"\nurl = "{url}"\n') == {"hook[1].url": "must be an http:// or https:// address"}


def test_a_secret_of_a_table_comes_from_the_environment(tmp_path: Path) -> None:
    text = PUSH.replace("rtmp://media.example/live/car?key=secret", "env:CDN")
    assert settings(tmp_path, text, {"CDN": "rtmps://a.example/b/c"}).push[0].url == "rtmps://a.example/b/c"
    assert faults(tmp_path, text, {"CDN": "http://a.example/b/c"}) == {"push[1].url": "must begin with rtmp:// or rtmps://"}


SUPERIOR = '[[superior]]\nname = "{0}"\nhost = "gov.example"\n'


def test_superiors_have_their_rules(tmp_path: Path) -> None:
    one, two = settings(tmp_path, SUPERIOR.format("a") + 'vehicles = ["粤B*", "!粤BT*"]\n' + SUPERIOR.format("b") + "edition = 2019\n").superior
    assert (one.edition, one.vehicles, one.sublink_port, two.edition) == (2011, ("粤B*", "!粤BT*"), 8809, 2019)
    bad = (
        'edition = 2013\nencrypt = true\npassword = "123456789"\nplatform_id = "123456789012"\nversion = "1.0"\ntimeout_s = 60\nreconnect_max_s = 1\n'
        'vehicles = ["!"]\nalarm_types = ["64=1"]\npost_query_rules = ["在岗"]\ncar_info = "A:={secret}"\nsublink_tls = true\n'
    )
    assert {path.removeprefix("superior[1].") for path in faults(tmp_path, SUPERIOR.format("a") + bad)} == {
        "edition", "encrypt", "password", "platform_id", "version", "timeout_s", "reconnect_max_s", "vehicles", "alarm_types", "post_query_rules",
        "car_info", "sublink_tls",
    }  # fmt: skip


def test_superiors_may_share_a_port_that_nobody_else_has(tmp_path: Path) -> None:
    shared = settings(tmp_path, SUPERIOR.format("a") + SUPERIOR.format("b"))
    assert [key for key, *_ in listeners(shared) if key.startswith("superior")] == ["superior.sublink 0.0.0.0:8809"]
    assert list(faults(tmp_path, SUPERIOR.format("a") + "sublink_port = 7808\n")) == ["superior.sublink 0.0.0.0:7808"]


# -- sections of the contract


def test_sections_of_later_versions_are_taken_with_one_warning_each(tmp_path: Path) -> None:
    text = "[cluster]\nx = 1\n"
    loaded = load(str(write(tmp_path, text)), {}, tmp_path)
    assert loaded.warnings == tuple(
        f"{name} is not served by this version"
        for name in ("[cluster]",)
    )


def test_their_shape_is_checked(tmp_path: Path) -> None:
    assert faults(tmp_path, "hls = 1\nhttp = 2\n[superior]\n[[ftp]]\n") == {
        "hls": "must be a section: [hls]",
        "http": "must be a section: [http]",
        "superior": "must be an array of tables: [[superior]]",
        "ftp": "must be a section: [ftp]",
    }


def test_the_contracts_own_file_loads(tmp_path: Path) -> None:
    contract = SHARED / "contract.md"
    if not contract.exists():
        pytest.skip(f"{contract} is not there")
    found = re.search(r"```toml\n(.*?)```", contract.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    loaded = load(str(write(tmp_path, found[1])), {}, tmp_path)
    assert loaded.settings.auth.signing_key == "", "the placeholder is no key"
    assert loaded.settings.media.advertise == "203.0.113.10"
    assert loaded.settings.store.url == "sqlite:////var/lib/jt1078relay/relay.db"
    assert [w for w in loaded.warnings if "placeholder" in w]


def test_whatever_stands_in_the_tree_only_config_errors_come_out(tmp_path: Path) -> None:
    odd = [None, True, 0, -1, 1.5, "", "x", [], ["x", 1], {}, {"a": {}}, [{}]]
    names = {f.name: list(f.metadata.get("table", type(getattr(Settings(), f.name))).__dataclass_fields__) for f in fields(Settings)}
    for value in odd:
        for section, keys in names.items():
            filled = dict.fromkeys(keys, value)
            for tree in ({section: value}, {section: filled}, {section: [filled]}, {"cluster": value, "superior": value}):
                with contextlib.suppress(ConfigurationError):
                    build(tree, tmp_path, {}, "test")
