# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender shows about the backends is what the backends say about themselves."""

from __future__ import annotations

from dataclasses import fields

from magplus.backend_bridge.backends import BACKENDS, checkpoint_folder, find_backend
from magplus.models.backends import Backend, registry
from magplus.models.backends.options import parse_options
from magplus.models.backends.store import CheckpointStore
from magplus.models.pipeline.session import Session


def test_the_same_backends() -> None:
    assert [entry.name for entry in BACKENDS] == list(registry), (
        "a new backend needs a line in backend_bridge/backends.py"
    )


def test_the_same_licences() -> None:
    for name, backend in registry.items():
        entry = find_backend(name)
        assert (entry.weights_licence, entry.commercial_use) == (
            backend.info.weights_licence,
            backend.info.commercial_use,
        )


def test_the_same_files() -> None:
    assert Session().checkpoints == checkpoint_folder()
    nothing = CheckpointStore(checkpoint_folder() / "there is no such folder")
    for name, backend in registry.items():
        entry = find_backend(name)
        assert list(entry.parts) == nothing.missing(backend.info)
        assert not entry.parts or entry.folder == backend.info.folder


def test_the_same_options() -> None:
    """What the sidebar offers is what the backend takes, with the same default."""
    for name, backend in registry.items():
        plain = parse_options(backend.Options, {}, title=name)
        for option in find_backend(name).options:
            assert getattr(plain, option.name) == option.default
            for value, _, _ in option.choices:
                parse_options(backend.Options, {option.name: value}, title=name)
            assert (option.default is None) == is_file(backend, option.name)


def is_file(backend: type[Backend], name: str) -> bool:
    return any(each.name == name and each.metadata.get("file", False) for each in fields(backend.Options))
