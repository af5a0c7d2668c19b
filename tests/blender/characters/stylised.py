# SPDX-License-Identifier: GPL-3.0-or-later
"""Faces that no detector was made for: a cartoon, a stick figure, a wolf, an owl. Their rigs tell what is what."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import bpy
import numpy as np

from tests.blender.head import add_armature

Vector = tuple[float, float, float]
BLACK, WHITE = (0.03, 0.03, 0.03), (0.9, 0.9, 0.9)


@dataclass
class Part:
    """A closed surface: vertices [V, 3], faces into them, and the flat colour of its material."""

    vertices: np.ndarray
    faces: list[list[int]]
    colour: Vector
    material: str = ""


def ball(centre: Vector, radii: Vector, colour: Vector, material: str = "", size: int = 16) -> Part:
    """An ellipsoid of `size` rings."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, size), np.linspace(0, 2 * np.pi, 2 * size, endpoint=False))
    unit = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    index = np.arange(2 * size * size).reshape(2 * size, size)
    after = np.roll(index, -1, axis=0)
    quads = np.stack([index[:, :-1], index[:, 1:], after[:, 1:], after[:, :-1]], -1).reshape(-1, 4)
    return Part(unit.reshape(-1, 3) * radii + centre, quads.tolist(), colour, material)


def band(path: Sequence[Vector], width: float, colour: Vector, material: str = "") -> Part:
    """A flat band along a path that faces the viewer, as a brow or a mouth is drawn."""
    points = np.array(path, float)
    fine = np.stack(
        [np.interp(np.linspace(0, len(points) - 1, 17), range(len(points)), points[:, a]) for a in range(3)], 1
    )
    up = np.array([0, 0, width / 2])
    deep = np.array([0, width / 2, 0])
    rims = [fine + up, fine - up, fine - up + deep, fine + up + deep]
    count = len(fine)
    faces = [
        [a * count + i, a * count + i + 1, b * count + i + 1, b * count + i]
        for a, b in ((0, 1), (1, 2), (2, 3), (3, 0))
        for i in range(count - 1)
    ]
    return Part(np.concatenate(rims), faces, colour, material)


def put(name: str, *parts: Part) -> bpy.types.Object:
    """Make one object of the parts; those with a material's name of their own get that."""
    vertices = np.concatenate([part.vertices for part in parts])
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = [
        [corner + int(start) for corner in face]
        for part, start in zip(parts, starts, strict=False)
        for face in part.faces
    ]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata(vertices.tolist(), [], faces)
    for part in parts:
        mesh.materials.append(_flat(part.material or f"Paint {name}", part.colour))
    slots = np.repeat(np.arange(len(parts)), [len(part.faces) for part in parts]).astype(np.int32)
    mesh.polygons.foreach_set("material_index", slots)
    mesh.polygons.foreach_set("use_smooth", np.ones(len(faces), bool))
    obj = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(obj)
    return obj


def keys(obj: bpy.types.Object, moves: Mapping[str, tuple[np.ndarray, Vector]]) -> None:
    """Give an object shape keys: each moves by an offset, weighted per vertex [V]."""
    co = coordinates(obj)
    if obj.data.shape_keys is None:
        obj.shape_key_add(name="Basis", from_mix=False)
    for name, (weights, offset) in moves.items():
        key = obj.shape_key_add(name=name, from_mix=False)
        key.value = 0.0
        key.points.foreach_set("co", (co + np.outer(weights, offset)).astype(np.float32).ravel())


def coordinates(obj: bpy.types.Object) -> np.ndarray:
    """Vertices of a mesh, [V, 3]."""
    co = np.empty((len(obj.data.vertices), 3), np.float32)
    obj.data.vertices.foreach_get("co", co.ravel())
    return co


def near(obj: bpy.types.Object, place: Vector, reach: float) -> np.ndarray:
    """How near each vertex is to a place: 1 there, 0 beyond the reach, [V]."""
    return np.clip(1 - np.linalg.norm(coordinates(obj) - place, axis=1) / reach, 0, 1)


def _flat(name: str, colour: Vector) -> bpy.types.Material:
    material = bpy.data.materials.get(name) or bpy.data.materials.new(name)
    if material.node_tree is None:
        material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    shader.inputs["Base Color"].default_value = (*colour, 1.0)
    shader.inputs["Roughness"].default_value = 0.7
    material.diffuse_color = (*colour, 1.0)
    return material


def light_and_camera(turn: float = 0.0, distance: float = 7.0) -> None:
    """A sun, a soft sky and a camera before the face, `turn` degrees to its left."""
    scene = bpy.context.scene
    angle = math.radians(turn)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location = (distance * math.sin(angle), -distance * math.cos(angle), 0)
    camera.rotation_euler = (math.pi / 2, 0, angle)
    camera.data.lens = 70
    sun = bpy.data.objects.new("Sun", bpy.data.lights.new("Sun", "SUN"))
    sun.data.energy, sun.rotation_euler = 3.0, (math.radians(50), 0, math.radians(20))
    world = bpy.data.worlds.new("World")
    if world.node_tree is None:
        world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.5, 0.5, 0.55, 1)
    scene.world, scene.camera = world, camera
    for obj in (camera, sun):
        scene.collection.objects.link(obj)
    bpy.context.view_layer.update()


def cartoon_ball() -> bpy.types.Object:
    """A ball with separate eyes, lids, brows and a mouth that hang on it; returns the ball, which has no shape keys."""
    head = put("Ball", ball((0, 0, 0), (1, 1, 1), (0.9, 0.7, 0.1), size=24))
    parts = []
    for side, sign in (("L", 1), ("R", -1)):
        centre = (0.36 * sign, -0.82, 0.28)
        eye = put(f"Eye.{side}", ball(centre, (0.24, 0.24, 0.24), WHITE))
        pupil = put(f"Pupil.{side}", ball((0.36 * sign, -1.04, 0.28), (0.09, 0.05, 0.09), BLACK))
        lid = put(f"Lid.{side}", ball((0.36 * sign, -0.82, 0.30), (0.255, 0.255, 0.255), (0.8, 0.55, 0.08)))
        co = coordinates(lid)
        raised = np.clip((co[:, 2] - 0.40) / 0.15, 0, 1)
        lid.data.vertices.foreach_set("co", (co * [1, 1, 1] + np.outer(1 - raised, [0, 0.16, 0])).ravel())
        brow = put(
            f"Brow.{side}",
            band([(0.14 * sign, -0.98, 0.66), (0.36 * sign, -0.94, 0.76), (0.6 * sign, -0.82, 0.66)], 0.08, BLACK),
        )
        inner = np.clip(1 - (np.abs(coordinates(brow)[:, 0]) - 0.14) / 0.46, 0, 1)
        keys(brow, {"Up": (np.ones(len(inner)), (0, 0, 0.15)), "Angry": (inner, (0, 0, -0.15))})
        keys(lid, {"Shut": (raised, (0, -0.12, -0.3))})
        parts += [eye, pupil, lid, brow]
    mouth = put("Mouth", band([(-0.4, -0.9, -0.3), (0, -1.0, -0.4), (0.4, -0.9, -0.3)], 0.09, (0.4, 0.02, 0.02)))
    across = coordinates(mouth)[:, 0]
    keys(
        mouth,
        {
            "Smile.L": (np.clip(across / 0.4, 0, 1), (0.05, 0, 0.15)),
            "Smile.R": (np.clip(-across / 0.4, 0, 1), (-0.05, 0, 0.15)),
            "Sad": (np.abs(across) / 0.4, (0, 0, -0.15)),
        },
    )
    for part in [*parts, mouth]:
        part.parent = head
    light_and_camera()
    return head


def ball_on_bones() -> bpy.types.Object:
    """The same ball as a German rigs it: a bone for each brow, lid and corner of the mouth; returns the ball."""
    head = cartoon_ball()
    heads: dict[str, Vector] = {"Kopf": (0, 0, -1)}
    for side, sign in (("L", 1), ("R", -1)):
        heads |= {
            f"Braue.{side}": (0.36 * sign, -0.95, 0.7),
            f"Augenlid.{side}": (0.36 * sign, -0.82, 0.28),
            f"Mundwinkel.{side}": (0.4 * sign, -0.9, -0.3),
        }
    armature = add_armature(heads, along=(0.0, -0.3, 0.0))
    with_parents(armature, "Kopf")
    for part in [*head.children, head]:
        part.parent = None
        if part.data.shape_keys is not None:
            part.shape_key_clear()
        name, _, side = part.name.partition(".")
        hang(
            part, armature, {"Brow": "Braue.", "Lid": "Augenlid."}.get(name, "Kopf") + side * (name in {"Brow", "Lid"})
        )
    mouth = bpy.data.objects["Mouth"]
    hang(mouth, armature, "")
    across = coordinates(mouth)[:, 0] / 0.4
    for bone, weights in (("Mundwinkel.L", across), ("Mundwinkel.R", -across), ("Kopf", 1 - np.abs(across))):
        group = mouth.vertex_groups.new(name=bone)
        for index, weight in enumerate(weights.clip(0, 1).tolist()):
            group.add([index], weight, "REPLACE")
    mouth.modifiers.new("Armature", "ARMATURE").object = armature
    bpy.context.view_layer.update()
    return head


def with_parents(armature: bpy.types.Object, parent: str) -> None:
    """Let one bone carry all others."""
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = armature.data.edit_bones
    for bone in bones:
        bone.parent = bones[parent] if bone.name != parent else None
    bpy.ops.object.mode_set(mode="OBJECT")


def hang(obj: bpy.types.Object, armature: bpy.types.Object, bone: str) -> None:
    """Hang an object on a bone, or on the armature as a whole, where it is."""
    place = obj.matrix_world.copy()
    obj.parent, obj.parent_type, obj.parent_bone = armature, "BONE" if bone else "OBJECT", bone
    bpy.context.view_layer.update()
    obj.matrix_world = place


def stick_face() -> bpy.types.Object:
    """A drawn face as Japanese modellers name it: a disc on an armature, its keys on brows, eyes and a mouth."""
    armature = bpy.data.objects.new("アーマチュア", bpy.data.armatures.new("アーマチュア"))
    bpy.context.scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    for name, foot, tip in (("首", (0, 0, -1.5), (0, 0, -1)), ("頭", (0, 0, -1), (0, 0, 1))):
        bone = armature.data.edit_bones.new(name)
        bone.head, bone.tail = foot, tip
        bone.parent = armature.data.edit_bones.get("首") if name == "頭" else None
    bpy.ops.object.mode_set(mode="OBJECT")
    face = put("顔", ball((0, 0.1, 0), (1, 0.08, 1), (0.95, 0.85, 0.75), size=24))
    brows = put("眉", *(band([(0.15 * s, -0.05, 0.5), (0.55 * s, -0.05, 0.52)], 0.07, BLACK) for s in (1, -1)))
    eyes = put("目", *(ball((0.35 * s, -0.05, 0.2), (0.05, 0.05, 0.16), BLACK, "墨") for s in (1, -1)))
    mouth = put("口", band([(-0.35, -0.05, -0.45), (0, -0.05, -0.47), (0.35, -0.05, -0.45)], 0.07, BLACK))
    inner = np.clip(1 - (np.abs(coordinates(brows)[:, 0]) - 0.15) / 0.4, 0, 1)
    keys(brows, {"困る": (inner, (0, 0, 0.12)), "怒り": (inner, (0, 0, -0.12)), "眉上": (inner * 0 + 1, (0, 0, 0.12))})
    height = coordinates(eyes)[:, 2] - 0.2
    keys(eyes, {"まばたき": (-height, (0, 0, 0.8)), "びっくり": (height, (0, 0, 0.3))})
    across = coordinates(mouth)[:, 0]
    keys(mouth, {"にやり": (np.abs(across) / 0.35, (0, 0, 0.12)), "口角下げ": (np.abs(across) / 0.35, (0, 0, -0.12))})
    for obj in (face, brows, eyes, mouth):
        obj.parent = armature
        obj.vertex_groups.new(name="頭").add(range(len(obj.data.vertices)), 1.0, "REPLACE")
        obj.modifiers.new("Armature", "ARMATURE").object = armature
    light_and_camera()
    return face


def wolf(turn: float = 40.0) -> bpy.types.Object:
    """A wolf's head in three-quarter view: one mesh with a snout, and ears that move more than all else."""
    grey, dark = (0.4, 0.4, 0.42), (0.15, 0.15, 0.16)
    parts = [
        ball((0, 0, 0), (0.8, 0.8, 0.75), grey, "Fur", 24),
        ball((0, -0.95, -0.2), (0.34, 0.65, 0.26), grey, "Fur", 20),
    ]
    parts += [
        ball((0, -1.58, -0.1), (0.14, 0.1, 0.1), BLACK, "Leather"),
        ball((0, -0.95, -0.42), (0.26, 0.6, 0.12), dark, "Fur"),
    ]
    for sign in (1, -1):
        parts.append(ball((0.34 * sign, -0.68, 0.2), (0.12, 0.1, 0.1), (0.9, 0.7, 0.1), "Amber"))
        parts.append(ball((0.34 * sign, -0.76, 0.2), (0.05, 0.05, 0.06), BLACK, "Leather"))
        parts.append(ball((0.34 * sign, -0.66, 0.36), (0.18, 0.1, 0.05), dark, "Fur"))
        parts.append(ball((0.5 * sign, 0.1, 0.95), (0.2, 0.1, 0.5), dark, "Fur"))
    head = put("Wolf", *parts)
    moves: dict[str, tuple[np.ndarray, Vector]] = {}
    for side, sign in (("L", 1), ("R", -1)):
        moves[f"ear_back_{side}"] = (near(head, (0.5 * sign, 0.1, 1.4), 0.9), (0.1 * sign, 0.5, -0.2))
        moves[f"brow_raise_{side}"] = (near(head, (0.34 * sign, -0.7, 0.4), 0.3), (0, -0.03, 0.12))
        moves[f"brow_lower_{side}"] = (near(head, (0.25 * sign, -0.7, 0.38), 0.3), (0, 0, -0.1))
        moves[f"eye_close_{side}"] = (near(head, (0.34 * sign, -0.7, 0.22), 0.18), (0, 0.03, -0.05))
        moves[f"lip_corner_{side}"] = (near(head, (0.3 * sign, -0.85, -0.34), 0.35), (0.03 * sign, 0.05, 0.1))
        moves[f"snarl_{side}"] = (near(head, (0.12 * sign, -1.5, -0.05), 0.3), (0, 0.03, 0.08))
    lower = np.clip(-(coordinates(head)[:, 2] + 0.34) / 0.1, 0, 1) * (coordinates(head)[:, 1] < -0.4)
    moves["jaw_open"] = (lower, (0, 0.05, -0.2))
    keys(head, moves)
    light_and_camera(turn)
    return head


def owl() -> bpy.types.Object:
    """An owl as a German draws it: one mesh with a material each for eyes, brows and beak; both brows are one key."""
    parts = [ball((0, 0, 0), (1.0, 0.8, 0.95), (0.45, 0.3, 0.18), "Federn", 24)]
    for sign in (1, -1):
        parts.append(ball((0.38 * sign, -0.66, 0.18), (0.3, 0.14, 0.3), (0.95, 0.8, 0.3), "Augen"))
        parts.append(
            band([(0.1 * sign, -0.85, 0.5), (0.7 * sign, -0.75, 0.72)], 0.1, (0.12, 0.08, 0.05), "Augenbrauen")
        )
        parts.append(ball((0.38 * sign, -0.79, 0.18), (0.1, 0.04, 0.1), BLACK, "Pupillen Augen"))
    parts.append(ball((0, -0.85, -0.2), (0.2, 0.2, 0.16), (0.85, 0.5, 0.05), "Schnabel"))
    head = put("Eule", *parts)
    co = coordinates(head)
    brows = ((co[:, 1] < -0.7) & (co[:, 2] > 0.44)).astype(float)
    beak = np.linalg.norm((co - [0, -0.85, -0.2]) / [0.21, 0.21, 0.17], axis=1) < 1
    keys(
        head,
        {
            "Brauen hoch": (brows, (0, 0, 0.12)),
            "Brauen zusammen": (brows * np.clip(1 - np.abs(co[:, 0]) / 0.7, 0, 1), (0, 0, -0.14)),
            "Schnabel auf": (beak * (co[:, 2] < -0.2), (0, 0, -0.15)),
            "Augen zu": (near(head, (0.38, -0.7, 0.45), 0.2) + near(head, (-0.38, -0.7, 0.45), 0.2), (0, -0.05, -0.2)),
        },
    )
    light_and_camera()
    return head
