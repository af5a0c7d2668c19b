# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip on a plane that fills the camera's view."""

from __future__ import annotations

from typing import cast

import bpy
from mathutils import Vector

from ..blender.data import camera_of
from .clip import Clip
from .image import MARK, NAME, hold


def is_result_plane(obj: bpy.types.Object) -> bool:
    """Whether an object is a plane that `add_plane` has made."""
    return obj.type == "MESH" and obj.get(MARK) is not None


def add_plane(context: bpy.types.Context, camera: bpy.types.Object, image: bpy.types.Image, clip: Clip) -> str:
    """Hang a plane before the camera that fills its view. It gives off its colours and nothing else sees it.

    Solid shading knows no pictures and would show a grey wall, so it is transparent there.
    """
    scene = context.scene
    lens = camera_of(camera)
    distance = lens.clip_start * 2  # in front of everything else
    corners = [Vector(tuple(corner)) for corner in lens.view_frame(scene=scene)]
    if lens.type == "PERSP":
        corners = [corner * (distance / -corner.z) for corner in corners]
    right, top = max(c.x for c in corners), max(c.y for c in corners)
    left, bottom = min(c.x for c in corners), min(c.y for c in corners)
    # Fit a picture of another shape than the view into it, without distortion.
    aspect = scene.render.pixel_aspect_x / scene.render.pixel_aspect_y
    shape = clip.size[0] * aspect / clip.size[1]
    width = min(right - left, (top - bottom) * shape)
    height = width / shape
    mesh = bpy.data.meshes.new(NAME)
    x, y, w, h = (left + right) / 2, (bottom + top) / 2, width / 2, height / 2
    places = [(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h)]
    mesh.from_pydata([(*place, -distance) for place in places], [], [(0, 1, 2, 3)])
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", [0, 0, 1, 0, 1, 1, 0, 1])
    mesh.materials.append(_picture_material(image, clip))
    plane = bpy.data.objects.new(NAME, mesh)
    plane[MARK] = clip.job
    plane.color = (1.0, 1.0, 1.0, 0.0)
    plane.parent = camera
    # A camera's scale does not change what it sees, so it must not change the plane.
    context.view_layer.update()
    plane.matrix_parent_inverse = camera.matrix_world.inverted_safe() @ camera.matrix_world.normalized()
    _let_zoom(plane, lens)
    plane.visible_diffuse = plane.visible_glossy = plane.visible_transmission = False
    plane.visible_volume_scatter = plane.visible_shadow = False
    scene.collection.objects.link(plane)  # a collection below it may be left out of renders
    return str(plane.name)


def _let_zoom(plane: bpy.types.Object, lens: bpy.types.Camera) -> None:
    """Let a plane fill the view of a camera that zooms, too; its origin is the camera's."""
    for axis in (0, 1):
        driver = cast(bpy.types.FCurve, plane.driver_add("scale", axis)).driver
        variable = driver.variables.new()
        variable.name, target = "now", variable.targets[0]
        target.id_type, target.id = "CAMERA", lens
        if lens.type == "PERSP":
            target.data_path, driver.expression = "lens", f"{lens.lens} / now"
        else:
            target.data_path, driver.expression = "ortho_scale", f"now / {lens.ortho_scale}"


def unfaithful(context: bpy.types.Context, camera: bpy.types.Object) -> tuple[str, ...]:
    """Return what will make renders show a plane before the camera otherwise than its pictures are, a sentence each."""
    lens, layer = camera_of(camera), context.view_layer
    found = []
    if lens.dof.use_dof:
        found.append(
            f"The depth of field of {camera.name!r} blurs the image plane in renders; switch it off in Properties > "
            "Data > Depth of Field."
        )
    if layer.material_override is not None:
        found.append(
            f"The view layer {layer.name!r} replaces all materials, so that renders show the image plane without its "
            "pictures; clear Material Override in Properties > View Layer > Override."
        )
    return tuple(found)


def _picture_material(image: bpy.types.Image, clip: Clip) -> bpy.types.Material:
    """Return a material that shows the picture as it is: emission, mixed with transparency by its alpha."""
    material = bpy.data.materials.new(NAME)
    if material.node_tree is None:
        material.use_nodes = True  # always on from 5.0, where the setter is deprecated
    material.diffuse_color = (1.0, 1.0, 1.0, 0.0)
    material.surface_render_method = "BLENDED"  # EEVEE's other method dithers alpha
    tree = material.node_tree
    tree.nodes.clear()
    texture = cast(bpy.types.ShaderNodeTexImage, tree.nodes.new("ShaderNodeTexImage"))
    texture.image = image
    texture.extension = "EXTEND"
    hold(texture.image_user, clip)
    emission = tree.nodes.new("ShaderNodeEmission")
    transparent = tree.nodes.new("ShaderNodeBsdfTransparent")
    mix = tree.nodes.new("ShaderNodeMixShader")
    output = tree.nodes.new("ShaderNodeOutputMaterial")
    for column, node in enumerate((texture, emission, mix, output)):
        node.location = (column * 300, 0)
    transparent.location = (300, -150)
    tree.links.new(texture.outputs["Color"], emission.inputs["Color"])
    tree.links.new(texture.outputs["Alpha"], mix.inputs[0])
    tree.links.new(transparent.outputs[0], mix.inputs[1])
    tree.links.new(emission.outputs[0], mix.inputs[2])
    tree.links.new(mix.outputs[0], output.inputs["Surface"])
    return material
