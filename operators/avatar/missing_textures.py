# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures that an avatar's materials use and that aren't there: Blender renders it pink, and says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import bpy

MOST_NAMES = 3  # that are said
_TILE = ("<UDIM>", "<UVTILE>")


def missing_textures(avatar: bpy.types.Object, objects: Iterable[bpy.types.Object]) -> str:
    """Return what to say of pictures that can't be found for an avatar's objects, or an empty string."""
    materials = {slot.material for obj in objects for slot in obj.material_slots if slot.material is not None}
    images = {image for material in materials for image in _images(material.node_tree)}
    missing = sorted(image.name for image in images if _is_missing(image))
    if not missing:
        return ""
    names = ", ".join(map(repr, missing[:MOST_NAMES])) + (" …" if len(missing) > MOST_NAMES else "")
    return (
        f"Pictures that the materials of {avatar.name!r} use can't be found ({names}), so it is rendered without them; "
        "choose File > External Data > Find Missing Files."
    )


def _images(tree: bpy.types.NodeTree | None) -> Iterator[bpy.types.Image]:
    """Give the images that a tree of nodes may show, those of its groups too."""
    for node in tree.nodes if tree is not None else ():
        if node.mute or not any(output.is_linked for output in node.outputs):
            continue
        if isinstance(image := getattr(node, "image", None), bpy.types.Image):
            yield image
        if isinstance(group := getattr(node, "node_tree", None), bpy.types.NodeTree):
            yield from _images(group)


def _is_missing(image: bpy.types.Image) -> bool:
    if image.source not in {"FILE", "SEQUENCE", "MOVIE", "TILED"} or image.packed_files or image.has_data:
        return False
    path = Path(bpy.path.abspath(image.filepath, library=image.library))
    pattern = path.name
    for tile in _TILE:
        pattern = pattern.replace(tile, "*")
    return bool(image.filepath) and (not any(path.parent.glob(pattern)) if pattern != path.name else not path.exists())
