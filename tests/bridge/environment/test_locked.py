# SPDX-License-Identifier: GPL-3.0-or-later
"""The lists that an environment is installed from, and pip's settings that reach an installation."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from magplus.backend_bridge.environment import locked
from magplus.backend_bridge.environment.interpreters import SERIES
from magplus.backend_bridge.environment.pip_settings import parse_settings, read_settings, surroundings, without_sources
from magplus.backend_bridge.environment.requirements import read_requirements
from magplus.backend_bridge.environment.system_libraries import LINUX, WINDOWS, how_to_install
from magplus.backend_bridge.environment.torch_builds import OWN_INDEX, PUBLISHED

LISTS = sorted(locked.LOCKED.glob("*.txt"))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_every_package_is_at_one_version_and_every_file_has_a_hash(path: Path) -> None:
    lines = path.read_text("utf-8").replace("\\\n", " ").splitlines()
    entries = [line for line in lines if not line.startswith("#")]
    assert entries and all("==" in entry and "--hash=sha256:" in entry for entry in entries)
    assert len(locked.read_list(path)) == len(entries), "a line that we don't read and pip does"
    assert not any(option in path.read_text("utf-8") for option in ("--index", "--find-links", "://", "git+"))


def test_the_lists_are_those_of_the_requirements() -> None:
    listed = {(pin.name, pin.version) for pin in locked.read_list(locked.PACKAGES)}
    for requirement in read_requirements():
        if requirement.name != "torch":
            assert (requirement.name, requirement.version) in listed
    [torch] = [requirement.version for requirement in read_requirements() if requirement.name == "torch"]
    for path in LISTS:
        if path.name.startswith("torch-"):
            [version] = {pin.version for pin in locked.read_list(path) if pin.name == "torch"}
            own = any(path.name == f"torch-{system}-{tag}.txt" for system, tag, _ in OWN_INDEX)
            assert version == (f"{torch}+{path.stem.rpartition('-')[2]}" if own else torch)


def test_pytorch_and_what_only_it_needs_stand_in_its_own_lists() -> None:
    names = {pin.name for pin in locked.read_list(locked.PACKAGES)}
    assert "torch" not in names and not any(name.startswith(("nvidia", "triton", "cuda")) for name in names)
    for system, tag in PUBLISHED.items():
        assert (locked.LOCKED / f"torch-{system}-{tag}.txt").is_file()


@pytest.mark.skipif(sys.platform != "linux", reason="the builds differ by system")
def test_which_builds_are_locked_for_which_pythons() -> None:
    assert all(locked.is_locked(tag, series) for tag in ("cpu", "cu130") for series in SERIES)
    assert not locked.is_locked("cpu", "3.14") and not locked.is_locked("cu99", "3.11")


# --- the user's settings of pip ------------------------------------------------------------------------------------

CONFIG = """[global]
index-url = https://mirror.studio.example/simple
extra-index-url =
    https://one.example/simple
    https://two.example/simple
cert = /etc/studio.pem
user = true
require-hashes = true
no-index = true
constraint = /etc/constraints.txt
quiet = 2
[install]
target = /srv/packages
prefix = /srv
dry-run = true
timeout = 99
"""


def test_registries_proxies_and_certificates_are_kept_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real pip tells what the file and the variables set."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    config = tmp_path / "pip.conf"
    config.write_text(CONFIG)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_PROXY", "http://proxy.studio.example:3128")
    monkeypatch.setenv("PIP_TARGET", "/elsewhere")
    monkeypatch.setenv("PIP_ONLY_BINARY", ":none:")
    settings = read_settings(Path(sys.executable))
    kept = {name: value.split() for name, value in settings.items() if name not in {"find-links", "cache-dir"}}
    assert kept == {
        "index-url": ["https://mirror.studio.example/simple"],
        "extra-index-url": ["https://one.example/simple", "https://two.example/simple"],
        "cert": ["/etc/studio.pem"],
        "timeout": ["99"],
        "proxy": ["http://proxy.studio.example:3128"],
    }
    variables = {name: value for name, value in surroundings(settings)["env"].items() if name.startswith("PIP_")}
    assert variables["PIP_CONFIG_FILE"] == os.devnull
    assert variables["PIP_INDEX_URL"] == "https://mirror.studio.example/simple"
    assert not {"PIP_TARGET", "PIP_USER", "PIP_ONLY_BINARY", "PIP_NO_INDEX"} & set(variables)
    assert {"index-url", "extra-index-url"} & set(without_sources(settings)) == set()


def test_what_pip_says_of_its_settings() -> None:
    text = "install.timeout='5'\nglobal.timeout='60'\n:env:.cert='/a=b'\nglobal.odd=not python\nnonsense\n"
    assert parse_settings(text) == {"timeout": "5", "cert": "/a=b"}


# --- libraries of the system ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "words"),
    [
        ("debian", "install it with `sudo apt install libgles2 libegl1`"),
        ("fedora", "`sudo dnf install libglvnd-gles libglvnd-egl`"),
        ("arch", "`sudo pacman -S libglvnd`"),
        ("", "(debian: libgles2 libegl1; fedora: libglvnd-gles libglvnd-egl; arch: libglvnd; suse: libglvnd)"),
    ],
)
def test_a_missing_library_is_named_with_the_package_that_has_it(family: str, words: str) -> None:
    text = how_to_install(LINUX[:2], family)
    assert text.startswith("This machine lacks libGLESv2.so.2 and libEGL.so.1, which MediaPipe needs; ")
    assert words in text and text.endswith(".")


def test_windows_without_the_runtime_that_pytorch_needs_gets_a_message() -> None:
    assert "Visual C++ Redistributable" in how_to_install(WINDOWS)
