"""What is packaged is what is there: packages, data files, the plugin."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.shared import ROOT


@pytest.fixture(scope="module")
def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def packages() -> set[str]:
    return {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "relay").rglob("__init__.py")}


def data_files() -> set[str]:
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "relay").rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc"} and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_every_package_is_listed(setup_cfg: configparser.ConfigParser) -> None:
    listed = setup_cfg["options"]["packages"].split()
    assert set(listed) == packages() | {"twisted.plugins"}
    assert listed == sorted(listed)


def test_every_directory_with_modules_is_a_package() -> None:
    bare = {str(path.parent.relative_to(ROOT)) for path in (ROOT / "relay").rglob("*.py") if not (path.parent / "__init__.py").exists()}
    assert bare == set()


def test_every_data_file_is_listed(setup_cfg: configparser.ConfigParser) -> None:
    listed: set[str] = set()
    for package, patterns in setup_cfg["options.package_data"].items():
        folder = ROOT / package.replace(".", "/")
        listed |= {str(path.relative_to(ROOT)) for pattern in patterns.split() for path in folder.glob(pattern)}
    assert data_files() <= listed


def test_the_plugin_is_one_line_and_no_package(setup_cfg: configparser.ConfigParser) -> None:
    assert "twisted.plugins = plugins" in setup_cfg["options"]["package_dir"]
    assert setup_cfg["editable_wheel"]["mode"] == "strict"
    assert [path.name for path in (ROOT / "plugins").glob("*.py")] == ["relay_plugin.py"], "an __init__.py would replace Twisted's own"
    assert "import relay" not in (ROOT / "plugins" / "relay_plugin.py").read_text()


def test_the_built_package_holds_the_plugin_the_page_and_every_module(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed here")
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    for folder in ("relay", "plugins"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
    words = [sys.executable, "-c", "from setuptools import setup; setup()", "--quiet", "build", "--build-lib", str(tmp_path / "built")]
    done = subprocess.run(words, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {str(path.relative_to(tmp_path / "built")) for path in (tmp_path / "built").rglob("*") if path.is_file()}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "relay").rglob("*.py")}
    assert built == modules | data_files() | {"twisted/plugins/relay_plugin.py"}


@pytest.mark.timeout(600)
def test_the_hot_path_compiles_and_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("mypyc", reason="mypyc is not installed here")
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    if shutil.which("cc") is None or not headers.is_file():
        pytest.skip("no C compiler, or not Python's headers (Debian's packages gcc and python3-dev)")
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path / name)
    for folder in ("relay", "plugins", "tests"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache", "node_modules"))
    environ = {**os.environ, "JT1078RELAY_COMPILE": "1", "PYTHONPATH": str(tmp_path)}
    words = ["setup.py", "--quiet", "build_ext", "--inplace"], ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "tests/hub/test_shortcut.py"]
    for one in words:
        done = subprocess.run([sys.executable, *one], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    words = [sys.executable, "-c", "import relay.hub.shortcut as s; print(s.__file__)"]
    where = subprocess.run(words, cwd=tmp_path, env=environ, capture_output=True, text=True, check=True).stdout
    assert where.strip().endswith(".so")
