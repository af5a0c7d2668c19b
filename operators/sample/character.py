# SPDX-License-Identifier: GPL-3.0-or-later
"""A character from the files that `models/training/person.py` writes: head with 52 shape keys, hair, sweater, light."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import bmesh
import bpy
import numpy as np
from mathutils import Vector
from numpy.typing import NDArray

COLLAR_POINT = Vector((0.0, 0.095, -0.128))  # the neck hole's plane, metres; the head looks along -y
COLLAR_NORMAL = Vector((0.0, -0.42, 1.0)).normalized()


def build(person: Path, transparent: bool = False, size: int = 640, samples: int = 12) -> bpy.types.Object:
    """Build the scene into the open, empty file and return the head.

    person: folder with `head.npz`, `skin.png` and `relief.png`. transparent: no backdrop, transparent film. size: side
    of the picture in px. samples: of Cycles, for each pixel.
    """
    data = dict(np.load(person / "head.npz"))
    for name in ("vertices", "units"):
        data[name] = _upright(data[name])
    head = _head(data, person)
    _sweater(data)
    _hair(data)
    _light()
    _camera(size)
    _backdrop(transparent)
    _cycles(transparent, samples)
    return head


def _upright(points: NDArray[np.floating]) -> NDArray[np.floating]:
    """From y up and z out of the face to Blender's z up and -y out of the face."""
    return np.stack([points[..., 0], -points[..., 2], points[..., 1]], -1).astype(np.float32)


def _head(data: dict[str, NDArray[Any]], person: Path) -> bpy.types.Object:
    part_names = [str(name) for name in data["part_names"]]
    part = data["part"]
    below = data["vertices"] @ np.array(COLLAR_NORMAL) - COLLAR_POINT.dot(COLLAR_NORMAL)
    hidden = (part == part_names.index("SKIN")) & (below[data["faces"]].max(1) < -0.05)
    faces, uv, part = data["faces"][~hidden], data["uv"][~hidden], part[~hidden]
    used, faces = np.unique(faces, return_inverse=True)
    faces = faces.reshape(-1, 4)
    vertices = data["vertices"][used]

    mesh = bpy.data.meshes.new("Head")
    mesh.from_pydata(vertices.tolist(), [], faces.tolist())
    mesh.uv_layers.new(name="UVMap").data.foreach_set("uv", uv.astype(np.float32).ravel())
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    picture = bpy.data.images.load(str(person / "skin.png"))
    relief = bpy.data.images.load(str(person / "relief.png"))
    relief.colorspace_settings.name = "Non-Color"
    for image in (picture, relief):
        image.pack()
    materials = {
        "SKIN": _skin_material(picture, relief),
        "EYES": _wet_material("Eyes", picture, roughness=0.04, sss=0.0),
        "MOUTH": _wet_material("Mouth", picture, roughness=0.3, sss=0.3),
        "TEETH": _wet_material("Teeth", picture, roughness=0.18, sss=0.2),
        "LASHES": _matte_material("Lashes", data["hair"] * 0.4),
    }
    slot_of = {"LEFT_EYE": "EYES", "RIGHT_EYE": "EYES", "TONGUE": "MOUTH", "SOCKETS": "SKIN"}
    slots = list(materials)
    for material in materials.values():
        mesh.materials.append(material)
    index = np.array([slots.index(slot_of.get(name, name)) for name in part_names], np.int32)
    mesh.polygons.foreach_set("material_index", index[part])
    mesh.update()

    head = bpy.data.objects.new("Head", mesh)
    bpy.context.collection.objects.link(head)
    head.shape_key_add(name="Basis")
    for name, unit in zip(data["unit_names"], data["units"], strict=True):
        key = head.shape_key_add(name=str(name), from_mix=False)
        key.data.foreach_set("co", (vertices + unit[used]).ravel())
        key.value = 0.0  # a new key starts at 1
    smooth = head.modifiers.new("Subdivision", "SUBSURF")
    smooth.levels = smooth.render_levels = 1
    return head


def _nodes(name: str) -> tuple[bpy.types.Material, Any, Any]:
    """Return a new material, its Principled BSDF and its node tree."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # new materials have nodes from Blender 5.0 on, where the switch is deprecated
        material.use_nodes = True
    tree = material.node_tree
    return material, _only(tree, "ShaderNodeBsdfPrincipled"), tree


def _only(tree: Any, kind: str) -> Any:
    """Return a tree's only node of a kind; its name depends on the interface's language."""
    [node] = [node for node in tree.nodes if node.bl_idname == kind]
    return node


def _image_node(tree: Any, image: bpy.types.Image) -> Any:
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    return node


def _skin_material(picture: bpy.types.Image, relief: bpy.types.Image) -> bpy.types.Material:
    material, skin, tree = _nodes("Skin")
    colour, height = _image_node(tree, picture), _image_node(tree, relief)
    tree.links.new(colour.outputs["Color"], skin.inputs["Base Color"])
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.55
    bump.inputs["Distance"].default_value = 0.0004
    tree.links.new(height.outputs["Color"], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], skin.inputs["Normal"])
    # Pores scatter the highlight; between them skin is a little oily.
    gloss = tree.nodes.new("ShaderNodeValToRGB")
    ramp = gloss.color_ramp.elements
    for position, roughness in ((0.30, 0.60), (0.58, 0.42), (0.72, 0.85)):  # pore, skin, brow hair
        element = ramp.new(position)
        element.color = (roughness, roughness, roughness, 1.0)
    ramp.remove(ramp[0])
    ramp.remove(ramp[-1])
    tree.links.new(height.outputs["Color"], gloss.inputs["Fac"])
    tree.links.new(gloss.outputs["Color"], skin.inputs["Roughness"])
    skin.inputs["Specular IOR Level"].default_value = 0.38
    skin.inputs["Subsurface Weight"].default_value = 1.0
    skin.inputs["Subsurface Radius"].default_value = (1.0, 0.36, 0.18)
    skin.inputs["Subsurface Scale"].default_value = 0.0032
    return material


def _wet_material(name: str, picture: bpy.types.Image, roughness: float, sss: float) -> bpy.types.Material:
    material, wet, tree = _nodes(name)
    colour = _image_node(tree, picture)
    tree.links.new(colour.outputs["Color"], wet.inputs["Base Color"])
    wet.inputs["Roughness"].default_value = roughness
    wet.inputs["Specular IOR Level"].default_value = 0.5
    wet.inputs["Subsurface Weight"].default_value = sss
    wet.inputs["Subsurface Radius"].default_value = (1.0, 0.4, 0.3)
    wet.inputs["Subsurface Scale"].default_value = 0.002
    return material


def _matte_material(name: str, colour: NDArray[np.floating]) -> bpy.types.Material:
    material, matte, _ = _nodes(name)
    matte.inputs["Base Color"].default_value = (*(np.asarray(colour) ** 2.2).tolist(), 1.0)
    matte.inputs["Roughness"].default_value = 0.7
    return material


def _hair_material(name: str, colour: NDArray[np.floating]) -> bpy.types.Material:
    material, principled, tree = _nodes(name)
    strand = tree.nodes.new("ShaderNodeBsdfHairPrincipled")
    strand.parametrization = "COLOR"
    strand.inputs["Color"].default_value = (*(np.asarray(colour) ** 2.2).tolist(), 1.0)
    strand.inputs["Roughness"].default_value = 0.35
    strand.inputs["Radial Roughness"].default_value = 0.5
    strand.inputs["Random Roughness"].default_value = 0.3
    tree.links.new(strand.outputs["BSDF"], _only(tree, "ShaderNodeOutputMaterial").inputs["Surface"])
    tree.nodes.remove(principled)
    return material


def _sweater(data: dict[str, NDArray[Any]]) -> None:
    """A crew neck: the body below the collar's plane, loosened, with a rib knitted on."""
    skin = data["part"] == [str(name) for name in data["part_names"]].index("SKIN")
    faces = data["faces"][skin]
    used, faces = np.unique(faces, return_inverse=True)
    mesh = bpy.data.meshes.new("Sweater")
    mesh.from_pydata(data["vertices"][used].tolist(), [], faces.reshape(-1, 4).tolist())
    knit = bmesh.new()
    knit.from_mesh(mesh)
    whole = [*knit.verts, *knit.edges, *knit.faces]
    bmesh.ops.bisect_plane(knit, geom=whole, plane_co=COLLAR_POINT, plane_no=COLLAR_NORMAL, clear_outer=True)
    rim = [edge for edge in knit.edges if edge.is_boundary and abs(_above_collar(edge.verts[0].co)) < 1e-4]
    rim_vertices = {vertex for edge in rim for vertex in edge.verts}
    for _ in range(12):  # cloth spans what skin follows
        bmesh.ops.smooth_vert(
            knit, verts=[v for v in knit.verts if not v.is_boundary], factor=0.5, use_axis_x=True, use_axis_y=True,
            use_axis_z=True,
        )  # fmt: skip
    knit.normal_update()
    for vertex in knit.verts:
        vertex.co += vertex.normal * (0.005 if vertex in rim_vertices else 0.010)
    for rise, spread in ((0.004, 0.003), (0.008, 0.0), (0.006, -0.003)):
        grown = bmesh.ops.extrude_edge_only(knit, edges=rim)["geom"]
        rim = [item for item in grown if isinstance(item, bmesh.types.BMEdge) and item.is_boundary]
        ring = [item for item in grown if isinstance(item, bmesh.types.BMVert)]
        middle = sum((vertex.co for vertex in ring), Vector()) / len(ring)
        for vertex in ring:
            outwards = vertex.co - middle
            outwards -= COLLAR_NORMAL * outwards.dot(COLLAR_NORMAL)
            vertex.co += COLLAR_NORMAL * rise + outwards.normalized() * spread
    knit.to_mesh(mesh)
    knit.free()
    mesh.polygons.foreach_set("use_smooth", np.ones(len(mesh.polygons), bool))

    sweater = bpy.data.objects.new("Sweater", mesh)
    bpy.context.collection.objects.link(sweater)
    thick = sweater.modifiers.new("Thickness", "SOLIDIFY")
    thick.thickness, thick.offset = 0.004, 1.0
    smooth = sweater.modifiers.new("Subdivision", "SUBSURF")
    smooth.levels, smooth.render_levels = 1, 2
    material, wool, tree = _nodes("Wool")
    wool.inputs["Base Color"].default_value = (0.016, 0.026, 0.046, 1.0)
    wool.inputs["Roughness"].default_value = 0.9
    wool.inputs["Sheen Weight"].default_value = 0.35
    place = tree.nodes.new("ShaderNodeTexCoord")
    stitches = tree.nodes.new("ShaderNodeTexNoise")
    stitches.inputs["Scale"].default_value = 700.0
    bump = tree.nodes.new("ShaderNodeBump")
    bump.inputs["Strength"].default_value = 0.6
    bump.inputs["Distance"].default_value = 0.001
    tree.links.new(place.outputs["Object"], stitches.inputs["Vector"])
    tree.links.new(stitches.outputs[0], bump.inputs["Height"])
    tree.links.new(bump.outputs["Normal"], wool.inputs["Normal"])
    mesh.materials.append(material)


def _above_collar(point: Vector) -> float:
    return (point - COLLAR_POINT).dot(COLLAR_NORMAL)


def _hair(data: dict[str, NDArray[Any]], count: int = 30000, points: int = 5) -> None:
    """Cropped hair as Cycles curves, rooted where the skin's hairline allows it."""
    rng = np.random.default_rng(5)
    part_names = [str(name) for name in data["part_names"]]
    quads = data["faces"][data["part"] == part_names.index("SKIN")]
    quads = quads[data["hairline"][quads].max(1) > 0]
    corners = data["vertices"][quads]
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    area = np.linalg.norm(normals, axis=1)
    chosen = rng.choice(len(quads), count, p=area / area.sum())
    s, t = rng.uniform(size=(2, count))
    weights = np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], 1)
    roots = (corners[chosen] * weights[..., None]).sum(1)
    inside = (data["hairline"][quads][chosen] * weights).sum(1)
    vertex_normals = np.zeros_like(data["vertices"])
    np.add.at(vertex_normals, quads.ravel(), np.repeat(normals, 4, 0))
    normal = (vertex_normals[quads[chosen]] * weights[..., None]).sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    kept = inside > rng.exponential(0.002, count)
    roots, inside, normal = roots[kept], inside[kept], normal[kept]

    crown = np.clip((roots[:, 2:] - 0.055) / 0.04, 0, 1)  # long on top, short at the sides
    length = (0.006 + 0.024 * crown[:, 0]) * rng.uniform(0.7, 1.1, len(roots)) * np.clip(0.65 + inside / 0.012, 0, 1)
    # Combed to one side over the brow, down at the sides and the back, never through the skin.
    comb = crown * [0.75, -0.4, 0.0] + (1 - crown) * [0.0, 0.25, -0.9]
    comb -= (comb * normal).sum(1, keepdims=True) * normal
    locks = rng.normal(0, 1.0, (400, 3)) * [0.22, 0.22, 0.1]  # hairs of a lock lean alike
    cells = (roots[:, :2] / 0.011 + rng.normal(0, 0.25, (len(roots), 2))).round().astype(int)
    way = (
        0.62 * normal
        + comb
        + crown * locks[(cells[:, 0] * 73 + cells[:, 1] * 19) % 400]
        + rng.normal(0, 0.1, roots.shape)
    )
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    along = np.linspace(0, 1, points)[None, :, None]
    bend = 0.8 * comb - 0.45 * normal
    strands = roots[:, None] + length[:, None, None] * (along * way[:, None] + 0.5 * along**2 * bend[:, None])

    curves = bpy.data.hair_curves.new("Hair")
    curves.add_curves([points] * len(roots))
    curves.attributes["position"].data.foreach_set("vector", strands.astype(np.float32).ravel())
    radius = curves.attributes.new("radius", "FLOAT", "POINT")
    # Twice and more what a hair has: a few samples a pixel, denoised, turn real hair into fog.
    taper = np.tile(0.00022 * (1.0 - 0.8 * np.linspace(0, 1, points) ** 2), len(roots))
    radius.data.foreach_set("value", taper.astype(np.float32))
    hair = bpy.data.objects.new("Hair", curves)
    bpy.context.collection.objects.link(hair)
    curves.materials.append(_hair_material("Hair", data["hair"]))


def _light() -> None:
    """Key, fill and two rims, all soft: the key's square is what the eyes reflect."""
    for name, place, energy, side, colour in (
        ("Key", (-0.75, -1.00, 0.52), 38.0, 0.55, (1.0, 0.95, 0.89)),
        ("Fill", (1.0, -0.85, 0.05), 4.0, 0.9, (0.86, 0.92, 1.0)),
        ("Rim", (0.75, 0.75, 0.45), 7.0, 0.35, (1.0, 0.97, 0.93)),
        ("Kicker", (-0.8, 0.7, 0.25), 3.5, 0.35, (0.85, 0.92, 1.0)),
    ):
        light = bpy.data.lights.new(name, "AREA")
        light.energy, light.size, light.color = energy, side, colour
        lamp = bpy.data.objects.new(name, light)
        lamp.location = place
        lamp.rotation_euler = (Vector((0, 0.06, -0.03)) - lamp.location).to_track_quat("-Z", "Y").to_euler()
        bpy.context.collection.objects.link(lamp)


def _camera(size: int) -> None:
    lens = bpy.data.cameras.new("Camera")
    lens.lens, lens.sensor_width = 105.0, 36.0
    camera = bpy.data.objects.new("Camera", lens)
    camera.location = (0.0, -0.96, -0.028)
    camera.rotation_euler = (np.pi / 2, 0, 0)
    bpy.context.collection.objects.link(camera)
    scene = bpy.context.scene
    scene.camera = camera
    scene.render.fps, scene.render.fps_base = 24, 1.001  # as the clip
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100


def _backdrop(transparent: bool) -> None:
    world = bpy.data.worlds.new("World")
    world.color = (0.05, 0.05, 0.05)
    bpy.context.scene.world = world
    if world.node_tree is None:
        world.use_nodes = True
    sky = _only(world.node_tree, "ShaderNodeBackground")
    sky.inputs["Color"].default_value = (0.030, 0.034, 0.042, 1.0)
    if transparent:
        return
    mesh = bpy.data.meshes.new("Backdrop")
    mesh.from_pydata([(-2, 1.2, -2), (2, 1.2, -2), (2, 1.2, 2), (-2, 1.2, 2)], [], [(0, 1, 2, 3)])
    material, paper, _ = _nodes("Paper")
    paper.inputs["Base Color"].default_value = (0.055, 0.06, 0.072, 1.0)
    paper.inputs["Roughness"].default_value = 0.9
    mesh.materials.append(material)
    bpy.context.collection.objects.link(bpy.data.objects.new("Backdrop", mesh))
    glow = bpy.data.lights.new("Backdrop light", "AREA")
    glow.energy, glow.size = 6.0, 0.3
    lamp = bpy.data.objects.new("Backdrop light", glow)
    lamp.location = (0.35, 0.55, -0.35)
    lamp.rotation_euler = (Vector((0.1, 1.2, 0.0)) - lamp.location).to_track_quat("-Z", "Y").to_euler()
    bpy.context.collection.objects.link(lamp)


def _cycles(transparent: bool, samples: int) -> None:
    import _cycles

    scene = bpy.context.scene
    scene.render.engine = "CYCLES"
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = bool(_cycles.with_openimagedenoise)
    scene.cycles.denoising_prefilter = "FAST"
    scene.cycles.max_bounces, scene.cycles.diffuse_bounces, scene.cycles.glossy_bounces = 4, 2, 2
    scene.cycles.caustics_reflective = scene.cycles.caustics_refractive = False
    scene.render.film_transparent = transparent
    scene.render.use_persistent_data = True
    scene.view_settings.view_transform = "AgX"
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
