# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender shows about the backends is what the backends say about themselves."""

from __future__ import annotations

from dataclasses import fields

from magplus.backend_bridge.backends import BACKENDS, checkpoint_folder, find_backend
from magplus.models.backends import Backend, emoportraits, fsrt, liveportrait, metaportrait, registry
from magplus.models.backends.metaportrait_sr import CLIP
from magplus.models.backends.options import parse_options
from magplus.models.backends.store import CheckpointStore
from magplus.models.pipeline.session import Session


def test_the_same_backends() -> None:
    assert [entry.name for entry in BACKENDS] == list(registry), (
        "a new backend needs an entry in backend_bridge/backends/known.py"
    )


def test_what_is_known_of_a_backend_stands_in_one_place() -> None:
    for name, backend in registry.items():
        assert backend.info is find_backend(name)


def test_the_size_that_is_reported_is_the_networks_own() -> None:
    sizes = {name: find_backend(name).frame_size for name in registry}
    assert sizes == {
        "flow_transfer": None,
        "fomm": 256,
        "fsrt": fsrt.SIZE,
        "metaportrait": metaportrait.SIZE,
        "metaportrait_sr": 2 * metaportrait.SIZE,
        "emoportraits": emoportraits.IMAGE_SIZE,
        "liveportrait": 2 * liveportrait.IMAGE_SIZE,
        "liveportrait_animals": 2 * liveportrait.IMAGE_SIZE,
    }
    assert find_backend("metaportrait_sr").clip_length == CLIP


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
            assert (option.default is None or isinstance(option.default, tuple)) == is_file(backend, option.name)


def is_file(backend: type[Backend], name: str) -> bool:
    return any(each.name == name and each.metadata.get("file", False) for each in fields(backend.Options))


def test_the_sidebar_offers_every_option() -> None:
    for name, backend in registry.items():
        has = {each.name for each in fields(backend.Options)}
        if not getattr(backend, "painting", ()):
            has.discard("precision")  # it computes in single precision only
        assert {option.name for option in find_backend(name).options} == has
