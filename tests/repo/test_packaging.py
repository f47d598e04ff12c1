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
        if path.is_file() and path.suffix not in {".py", ".pyc", ".c", ".so"} and "__pycache__" not in path.parts and not path.name.startswith(".")
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


def copy_with_setup(where: Path) -> None:
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, where / name)
    for folder in ("relay", "plugins"):
        shutil.copytree(ROOT / folder, where / folder, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache", "*.so"))


def build_in_place(where: Path, **environ: str) -> list[str]:
    """What has been compiled."""
    words = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
    done = subprocess.run(words, cwd=where, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return [path.name.partition(".")[0] for path in (where / "relay").rglob("*.so")]


def test_one_loop_is_compiled_where_there_is_a_compiler(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed here")
    if shutil.which("cc") is None or not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        pytest.skip("no C compiler, or not Python's headers (Debian's packages gcc and python3-dev)")
    copy_with_setup(tmp_path)
    assert build_in_place(tmp_path) == ["_scan"]
    words = [sys.executable, "-c", "import relay.hub._scan as scan, relay.hub.shortcut as shortcut; print(shortcut.scan is scan.scan, scan.__file__)"]
    done = subprocess.run(words, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"True {tmp_path}")


@pytest.mark.parametrize("environ", [{"CC": "/bin/false"}, {"CC": "/nonexistent/cc"}, {"JT1078RELAY_PLAIN": "1"}], ids=str)
def test_without_a_compiler_it_is_left_in_python(tmp_path: Path, environ: dict[str, str]) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed here")
    copy_with_setup(tmp_path)
    assert build_in_place(tmp_path, **environ) == []
