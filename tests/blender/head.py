# SPDX-License-Identifier: GPL-3.0-or-later
"""A head made of code: a sphere whose shape keys have known effects, a camera in front of it, and a quick render."""

from __future__ import annotations

import math
import warnings
from typing import Any

import bpy
import numpy as np

# What is derived; how Blender 5.2 happens to store an attribute whose values are all one; and a property that crashes
# Blender 4.2 where nobody has sculpted UVs. (4.2 also counts the users of a copied scene's objects twice; reading a
# file counts them anew.)
UNREADABLE = {"rna_type", "depsgraph", "is_evaluated", "is_updated", "is_updated_data", "uv_sculpt", "storage_type"}


def make_head(name: str = "Head", segments: int = 32, rings: int = 24, keys: tuple[str, ...] = ()) -> bpy.types.Object:
    """Return a sphere of radius 1 at the origin that looks along -Y, with shape keys.

    Brow Up: 0.2 upwards above the equator, in front. Smile: 0.2 to the left (+X), below it. Nod: all of it 0.1 down.
    `keys` adds further ones that each move a patch.
    """
    bpy.ops.mesh.primitive_uv_sphere_add(segments=segments, ring_count=rings)
    head = bpy.context.object
    head.name = head.data.name = name
    co = np.empty((len(head.data.vertices), 3), np.float32)
    head.data.vertices.foreach_get("co", co.ravel())
    front = np.clip(-co[:, 1], 0, 1)
    head.shape_key_add(name="Basis", from_mix=False)
    add_key(head, "Brow Up", co, np.outer(front * (co[:, 2] > 0.1), (0, 0, 0.2)))
    add_key(head, "Smile", co, np.outer(front * (co[:, 2] < -0.1), (0.2, 0, 0)))
    add_key(head, "Nod", co, np.outer(np.ones(len(co)), (0, 0, -0.1)))
    for index, key in enumerate(keys):
        add_key(head, key, co, np.outer(front * np.cos(index + 5 * co[:, 0]), (0, 0, 0.05)))
    return head


def add_key(obj: bpy.types.Object, name: str, co: np.ndarray, offset: np.ndarray) -> bpy.types.ShapeKey:
    """Add a shape key that moves the vertices `co` [V, 3] by `offset` [V, 3]."""
    key = obj.shape_key_add(name=name, from_mix=False)
    key.value = 0.0  # Blender 5 adds keys at 1
    key.points.foreach_set("co", (co + offset).astype(np.float32).ravel())
    return key


def add_armature(
    heads: dict[str, tuple[float, float, float]], along: tuple[float, float, float] = (0.0, 0.0, 1.0)
) -> bpy.types.Object:
    """Return an armature with bones that begin at `heads` and all reach `along`."""
    armature = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for name, head in heads.items():
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail = head, tuple(np.add(head, along))
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def bind(mesh: bpy.types.Object, armature: bpy.types.Object, bone: str) -> None:
    """Let one bone move all of a mesh."""
    mesh.vertex_groups.new(name=bone).add(range(len(mesh.data.vertices)), 1.0, "REPLACE")
    mesh.modifiers.new("Armature", "ARMATURE").object = armature


def add_camera(distance: float = 6.0, lens: float = 50.0) -> bpy.types.Object:
    """Put a camera before the head that looks at it along +Y, and make it the scene's."""
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (0, -distance, 0)
    camera.rotation_euler = (math.pi / 2, 0, 0)
    camera.data.lens = lens
    bpy.context.scene.collection.objects.link(camera)
    bpy.context.scene.camera = camera
    bpy.context.view_layer.update()
    return camera


def quick_render(width: int = 96, height: int = 64) -> bpy.types.Scene:
    """Set the scene to the cheapest render that still shows what is there; returns the scene."""
    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = 1
    scene.cycles.use_denoising = False
    scene.render.resolution_x, scene.render.resolution_y = width, height
    return scene


def glow(obj: bpy.types.Object, colour: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> None:
    """Give an object a material of one flat colour, without noise."""
    material = bpy.data.materials.new("Glow")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    emission = tree.nodes.new("ShaderNodeEmission")
    emission.inputs["Color"].default_value = (*colour, 1)
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    tree.links.new(emission.outputs[0], output.inputs["Surface"])
    obj.data.materials.append(material)


def read_png(path: object) -> np.ndarray:
    """Return a picture's stored numbers, [H, W, 4] in [0, 1], row 0 on top, without any colour management."""
    image = bpy.data.images.load(str(path), check_existing=False)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "CHANNEL_PACKED"
    width, height = image.size
    flat = np.empty(width * height * 4, np.float32)
    image.pixels.foreach_get(flat)
    bpy.data.images.remove(image)
    return flat.reshape(height, width, 4)[::-1]


def write_png(path: object, pixels: np.ndarray) -> None:
    """Write [H, W, 4] numbers in [0, 1], row 0 on top, as they are into an 8-bit PNG with straight alpha."""
    height, width = pixels.shape[:2]
    image = bpy.data.images.new("written", width, height, alpha=True)
    image.colorspace_settings.name = "Non-Color"
    image.alpha_mode = "STRAIGHT"
    image.pixels.foreach_set(np.ascontiguousarray(pixels[::-1], np.float32).ravel())
    image.filepath_raw, image.file_format = str(path), "PNG"
    image.save()
    bpy.data.images.remove(image)


def dump() -> dict[str, object]:
    """Return every property of the file's scenes, objects, cameras, meshes, keys and preferences that one can read.

    Two dumps are equal exactly when nothing differs that a person could see.
    """
    bpy.context.view_layer.update()
    found: dict[str, object] = {}
    for kind in (
        "scenes",
        "objects",
        "cameras",
        "meshes",
        "shape_keys",
        "actions",
        "materials",
        "images",
        "collections",
    ):
        blocks = getattr(bpy.data, kind)
        found[kind] = sorted(block.name_full for block in blocks if not _of_render(block))
        for block in blocks:
            if not _of_render(block):
                _dump_struct(block, f"{kind}[{block.name_full}]", found, 4)
    _dump_struct(bpy.context.preferences.view, "preferences.view", found, 1)
    for name in dir(bpy.app.handlers):
        if isinstance(handlers := getattr(bpy.app.handlers, name), list):
            found[f"handlers.{name}"] = list(handlers)
    found["context"] = (bpy.context.scene.name, bpy.context.view_layer.name, bpy.context.object)
    found["selected"] = sorted(obj.name for obj in bpy.context.selected_objects)
    return found


def _of_render(block: bpy.types.ID) -> bool:
    return isinstance(block, bpy.types.Image) and block.type in {"RENDER_RESULT", "COMPOSITING"}


def _dump_struct(struct: Any, path: str, found: dict[str, object], depth: int) -> None:
    for prop in struct.bl_rna.properties:
        name = prop.identifier
        if name in UNREADABLE or (name == "users" and bpy.app.version < (4, 3)):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # all of them are to be looked at
                value = getattr(struct, name)
        except (AttributeError, RuntimeError, TypeError):
            continue
        where = f"{path}.{name}"
        if prop.type == "POINTER":
            if isinstance(value, bpy.types.ID):
                found[where] = value.name_full
            elif value is not None and depth:
                _dump_struct(value, where, found, depth - 1)
        elif prop.type == "COLLECTION":
            found[where] = len(value)
            if depth and len(value) < 100:
                for index, item in enumerate(value):
                    if isinstance(item, bpy.types.ID):
                        found[f"{where}[{index}]"] = item.name_full
                    else:
                        _dump_struct(item, f"{where}[{index}]", found, depth - 1)
        else:
            found[where] = tuple(value) if getattr(prop, "is_array", False) else value
