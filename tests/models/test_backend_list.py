# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender shows about the backends is what the backends say about themselves."""

from __future__ import annotations

from backend_bridge.backends import BACKENDS, checkpoint_folder, find_backend
from models.backends import registry
from models.backends.store import CheckpointStore
from models.session import Session


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
