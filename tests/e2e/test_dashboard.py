"""etc/grafana.json against a relay where every kind of figure has been counted: each expression's metrics, labels and words are there."""

from __future__ import annotations

import contextlib
import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.support import Product, record, wait_for
from tests.ports import free_port
from tests.shared import ROOT

pytestmark = pytest.mark.e2e

PHONE, SILENT = "13800138000", "13800138001"
#: what Prometheus itself adds, and what belongs to the form of a histogram
ADDED = {"instance", "job", "le"}


def samples(relay: Product) -> dict[str, list[dict[str, str]]]:
    """Name of a series → the labels that it has there."""
    request = urllib.request.Request(f"http://127.0.0.1:{relay.ports['http']}/metrics", headers={"Authorization": f"Bearer {relay.api_token}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[str, list[dict[str, str]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append(sample.labels)
    return found


def targets() -> list[dict[str, Any]]:
    dashboard = json.loads((ROOT / "etc" / "grafana.json").read_text(encoding="utf-8"))
    return [target for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_series_and_label_of_the_dashboard_is_told(tmp_path: Path) -> None:
    account = {"access_code": 44030001, "user_id": 10001, "password": "12345678", "platform_id": "44030012345"}
    province = {"name": "province", "host": "127.0.0.1", "port": free_port(), "sublink_host": "127.0.0.1", "sublink_port": free_port(), **account}
    product = Product(tmp_path, superiors=(province,), media={"start_timeout_s": 1}, budget={"day_bytes": 1_000_000_000})
    with product.config.open("a", encoding="utf-8") as config:
        config.write(f'[[hook]]\nname = "nobody"\nurl = "http://127.0.0.1:{free_port()}/"\n')
        config.write(f'[[record]]\nname = "all"\nterminals = ["{PHONE}"]\n')
    with product as relay:
        relay.terminal(PHONE, "--channels", "1")
        relay.terminal(SILENT, "--channels", "1", "--fault", "never-connect")
        record(relay.url(f"/live/{PHONE}_1.flv", audio="none"), 2, tmp_path / "seen.flv")
        relay.api("POST", f"/terminals/{SILENT}/channels/1/live", {}, expect=504)
        with contextlib.suppress(AssertionError):
            wait_for("every kind of figure", lambda: not faults_now(relay), timeout=45)
        assert faults_now(relay) == []


def faults_now(relay: Product) -> list[str]:
    told = samples(relay)
    return [fault for target in targets() for fault in faults(told, target)]


def faults(told: dict[str, list[dict[str, str]]], target: dict[str, Any]) -> list[str]:
    """What an expression names and nobody tells."""
    expression, found = target["expr"], []
    wanted = {label for group in re.findall(r"\bby \(([^)]*)\)", expression) for label in group.replace(" ", "").split(",")}
    wanted |= set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
    for name, matchers in re.findall(r"(jt1078relay_\w+)\{([^}]*)\}", expression):
        series = told.get(name, [])
        if not series:
            found.append(f"{name} is not told")
            continue
        found += [f"{name} has no label {label}" for label in sorted(wanted - ADDED) if not any(label in labels for labels in series)]
        for label, how, value in re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers):
            if label in ADDED:
                continue
            fits = [labels for labels in series if (re.fullmatch(value, labels.get(label, "")) if "~" in how else labels.get(label) == value)]
            if how[0] == "=" and not fits:
                found.append(f"{name} has no {label}{how}{value}: {sorted({labels.get(label, '') for labels in series})}")
    return found
