# SPDX-License-Identifier: GPL-3.0-or-later
"""A capture says which pictures of the avatar's materials aren't there: it would come out pink without a word."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest
from bl_ext.user_default.magplus.operators.avatar.missing_textures import missing_textures

from tests.blender.head import make_head, write_png


def textured(path: Path, *, grouped: bool = False) -> bpy.types.Object:
    """A head whose material shows a picture, that of a group with `grouped`."""
    write_png(path, np.ones((2, 2, 4), np.float32))
    head = make_head()
    material = bpy.data.materials.new("Skin")
    if material.node_tree is None:
        material.use_nodes = True  # always on from 5.0
    tree = material.node_tree
    inner = bpy.data.node_groups.new("Skin", "ShaderNodeTree") if grouped else tree
    picture = inner.nodes.new("ShaderNodeTexImage")
    picture.image = bpy.data.images.load(str(path))
    shown = picture.outputs["Color"]
    if grouped:
        inner.interface.new_socket("Color", in_out="OUTPUT", socket_type="NodeSocketColor")
        inner.links.new(shown, inner.nodes.new("NodeGroupOutput").inputs[0])
        node = tree.nodes.new("ShaderNodeGroup")
        node.node_tree = inner
        shown = node.outputs[0]
    skin = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
    tree.links.new(shown, skin.inputs["Base Color"])
    head.data.materials.clear()
    head.data.materials.append(material)
    return head


@pytest.mark.parametrize("grouped", [False, True])
def test_a_picture_that_is_gone_is_named(tmp_path: Path, grouped: bool) -> None:
    head = textured(tmp_path / "skin.png", grouped=grouped)
    assert missing_textures(head, (head,)) == ""
    (tmp_path / "skin.png").rename(tmp_path / "moved.png")
    assert missing_textures(head, (head,)).startswith(
        "Pictures that the materials of 'Head' use can't be found ('skin.png'), so it is rendered without them;"
    )


def test_what_is_packed_or_shows_nowhere_is_not_missed(tmp_path: Path) -> None:
    head = textured(tmp_path / "skin.png")
    image = bpy.data.images["skin.png"]
    image.pack()
    (tmp_path / "skin.png").unlink()
    assert missing_textures(head, (head,)) == ""
    head = textured(tmp_path / "other.png")
    (tmp_path / "other.png").unlink()
    tree = head.data.materials[0].node_tree
    tree.links.clear()
    assert missing_textures(head, (head,)) == ""


def test_tiles_are_there_where_one_of_them_is(tmp_path: Path) -> None:
    head = textured(tmp_path / "skin.1001.png")
    image = bpy.data.images["skin.1001.png"]
    image.source, image.filepath = "TILED", str(tmp_path / "skin.<UDIM>.png")
    assert missing_textures(head, (head,)) == ""
    (tmp_path / "skin.1001.png").unlink()
    image.reload()
    assert missing_textures(head, (head,)) != ""
