"""What is shipped: a wheel built from the source distribution, and an editable install, each in an environment of its own.

The environments have this one's dependencies (links) but nothing of this project, so that what runs is what was installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.e2e.support import Process, run
from tests.shared import ROOT

pytestmark = pytest.mark.e2e

#: what of this environment is not a dependency: this project in any form of install, and paths that lead to its source
OURS = re.compile(r"relay|jt1078relay.*|__editable__.*|.*\.pth|__pycache__|pip|pip-.*")
SETUP = "import runpy; runpy.run_path('setup.py')"


def environment(folder: Path) -> Path:
    """A virtual environment with the dependencies and without the project."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    target = next(folder.glob("lib/python3*/site-packages"))
    source = Path(sysconfig.get_path("purelib"))
    for entry in source.iterdir():
        if entry.name == "twisted":
            link(entry, target / "twisted")
        elif not OURS.fullmatch(entry.name):
            (target / entry.name).symlink_to(entry)
    twistd = folder / "bin" / "twistd"
    twistd.write_text(f"#!{folder}/bin/python\nfrom twisted.scripts.twistd import run\nrun()\n", encoding="utf-8")
    twistd.chmod(0o755)
    return folder


def link(source: Path, target: Path) -> None:
    """Twisted, without the plugin that ``pip install`` put into its folder of plugins."""
    (target / "plugins").mkdir(parents=True)
    for entry in [*source.iterdir(), *(source / "plugins").iterdir()]:
        if entry.name not in {"plugins", "relay_plugin.py", "dropin.cache", "__pycache__"}:
            (target / entry.relative_to(source)).symlink_to(entry)


def install(folder: Path, *words: str | Path) -> None:
    """pip of this environment installs into that one, without a network."""
    run(
        sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation",
        "--disable-pip-version-check", *words,
    )  # fmt: skip


def says(*words: str | Path, cwd: Path) -> str:
    """What a command prints, started where the project's source is not."""
    environ = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "JT1078RELAY_CONFIG"}}
    done = subprocess.run([str(word) for word in words], cwd=cwd, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked; it is made from a copy, so that the checkout stays clean."""
    pytest.importorskip("setuptools", minversion="70.1", reason="setuptools that makes wheels is not installed here (extra: test)")
    folder = tmp_path_factory.mktemp("source")
    copy = folder / "copy"
    copy.mkdir()
    for name in ("README.md", "LICENSE", "CONTRIBUTING.md", "Makefile", "MANIFEST.in", "setup.cfg", "setup.py", "pyproject.toml", "ruff.toml", ".dockerignore"):
        (copy / name).symlink_to(ROOT / name)
    for name in ("relay", "plugins", "etc", "docs", "tests", "bench", "newsfragments", ".ci"):
        (copy / name).symlink_to(ROOT / name)
    run(sys.executable, "-c", f"import os; os.chdir({str(copy)!r}); {SETUP}", "--quiet", "sdist", "--dist-dir", folder)
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder)
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source: Path) -> Path:
    run(sys.executable, "-c", f"import os; os.chdir({str(source)!r}); {SETUP}", "--quiet", "bdist_wheel", "--dist-dir", source.parent)
    return next(source.parent.glob("*.whl"))


def files(*folders: str) -> set[str]:
    found = (path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(ROOT)) for path in found if "__pycache__" not in path.parts and not path.name.startswith(".") and path.suffix != ".so"
    }


def test_the_source_distribution_has_tests_documentation_and_samples(source: Path) -> None:
    wanted = files("relay", "tests", "docs", "etc") | {"README.md", "LICENSE", "setup.cfg", "setup.py", "plugins/relay_plugin.py", ".ci/run", ".dockerignore"}
    assert {name for name in wanted if not name.endswith((".pyc", "dropin.cache"))} <= {
        str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()
    }


def test_the_wheel_has_what_it_needs_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [info] = [name.partition("/")[0] for name in names if name.endswith(".dist-info/METADATA")]
        points = archive.read(f"{info}/entry_points.txt").decode()
    data = info.replace(".dist-info", ".data") + "/data/share/jt1078relay/"
    compiled = {name for name in names if name.endswith(".so")}
    assert len(compiled) <= 1
    assert {name for name in names - compiled if not name.startswith(f"{info}/")} == {
        *files("relay") - {"relay/hub/_scan.c"}, "twisted/plugins/relay_plugin.py", *(data + Path(name).name for name in files("etc")),
    }  # fmt: skip
    assert "jt1078relay = relay.cli.main:main" in points
    assert {"relay/py.typed", "relay/web/static/index.html"} <= names


def test_what_a_container_image_is_built_of_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines
    for name in (line.removeprefix("!") for line in lines if line.startswith("!")):
        (tmp_path / name).symlink_to(ROOT / name)
    run(sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r}); {SETUP}", "--quiet", "bdist_wheel", "--dist-dir", tmp_path)
    [same] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(same) as other:
        assert set(one.namelist()) == set(other.namelist())


def test_the_installed_wheel_runs_the_demonstration(wheel: Path, tmp_path: Path) -> None:
    place = environment(tmp_path / "venv")
    install(place, wheel)
    assert (place / "share" / "jt1078relay" / "jt1078relay.toml").exists()
    assert re.search(r"(?m)^ +jt1078relay ", says(place / "bin" / "twistd", "--help", cwd=tmp_path))
    where = says(place / "bin" / "python", "-c", "import relay; print(relay.__file__)", cwd=tmp_path)
    assert where.startswith(str(place))
    version = says(place / "bin" / "jt1078relay", "--version", cwd=tmp_path)
    assert version.split() == ["jt1078relay", wheel.name.split("-")[1]]
    demo = Process("the demo", [place / "bin" / "twistd", "-n", "--pidfile=", "jt1078relay", "--demo"], tmp_path / "demo.log", cwd=tmp_path)
    try:
        url = demo.wait_for_output(r"http://127\.0\.0\.1:\d+/\?token=\S+").group(0)
        with urllib.request.urlopen(url, timeout=20) as answer:
            assert b"<html" in answer.read()
    finally:
        status = demo.stop()
    assert status == 0
    assert "Traceback" not in demo.output


def test_an_editable_install_has_the_plugin_and_follows_the_source(source: Path, tmp_path: Path) -> None:
    place = environment(tmp_path / "venv")
    install(place, "-e", source)
    assert re.search(r"(?m)^ +jt1078relay ", says(place / "bin" / "twistd", "--help", cwd=tmp_path))
    init = source / "relay" / "__init__.py"
    text = init.read_text(encoding="utf-8")
    init.write_text(re.sub(r'__version__ = ".*"', '__version__ = "9.9.9"', text), encoding="utf-8")
    try:
        assert says(place / "bin" / "jt1078relay", "--version", cwd=tmp_path).split() == ["jt1078relay", "9.9.9"]
    finally:
        init.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("form", ["wheel", "editable"])
def test_it_installs_without_a_compiler(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setenv("CC", "/bin/false")
    place = environment(tmp_path / "venv")
    copy = tmp_path / "source"
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build", "*.so", "*.egg-info"))
    install(place, *(["-e"] if form == "editable" else []), copy)
    asked = "from relay.hub.shortcut import COMPILED; print(COMPILED)"
    assert says(place / "bin" / "python", "-c", asked, cwd=tmp_path).strip() == "False"
