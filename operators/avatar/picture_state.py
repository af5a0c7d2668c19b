# SPDX-License-Identifier: GPL-3.0-or-later
"""What a picture of the scene is made from, as Blender has it in memory at the scene's present frame.

A pose, a colour or a word that was changed for a frame, unsaved or by a script, makes another picture of it alone.
Geometry is taken as it is evaluated, whatever makes it: keys, bones, drivers, modifiers, nodes, simulations. Everything
else is taken by what can be set of it, so that a kind of data which a later Blender brings is in it, too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from types import CodeType
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from .outside_files import node_trees

# What an engine of Blender's own is set by; of others all that they have put on the scene.
_OF_THE_SCENE = ("render", "view_settings", "display_settings", "cycles", "eevee", "grease_pencil_settings")
_BUILT_IN = {"CYCLES", "BLENDER_EEVEE", "BLENDER_EEVEE_NEXT", "BLENDER_WORKBENCH"}
# Where a render goes to, what it is baked and printed with: a capture sets these itself.
_OF_THE_OUTPUT = frozenset({"filepath", "image_settings", "ffmpeg", "bake", "views", "stereo_views"})
_OF_THE_INTERFACE = frozenset(
    {"rna_type", "is_active", "is_expanded", "show_expanded", "show_in_editmode", "show_on_cage", "select"}
    | {"active_index", "use_pin_to_last", "execution_time", "node_warnings", "wireframe_color_type"}
    | {"selected_studio_light"}
)
# Of blocks: geometry, which is taken as it is evaluated, and what is derived, or of the interface.
_OF_BLOCKS = frozenset(
    {"animation_data", "vertices", "edges", "polygons", "loops", "points", "splines", "curves", "attributes"}
    | {"frames", "layers", "grids", "uv_layers", "vertex_colors", "color_attributes", "shape_keys"}
    | {"vertex_groups", "root_nodes", "pixels", "pose", "motion_path", "children", "mode", "matrix_world"}
    | {"matrix_local", "bound_box", "dimensions", "active_shape_key", "active_shape_key_index"}
    | {"active_material_index", "depsgraph", "render_slots", "packed_file", "packed_files", "bones"}
    | {"uv_sculpt", "node_tree", "magplus", "file_format", "resolution"}  # the last two would load an image
)
_MOST = 5000  # of what has more elements, those are geometry
_DEEPEST = 5  # structures within structures; a colour ramp's stops are three below their node
_CALLED = ("frame_change_pre", "frame_change_post", "depsgraph_update_pre", "depsgraph_update_post", "render_init",
           "render_pre")  # fmt: skip
_GEOMETRY = ("MESH", "CURVES", "POINTCLOUD", "GREASEPENCIL", "GPENCIL")
_VALUES = ("vector", "value", "color")  # what an attribute's values are called, by its type


def state_of(context: bpy.types.Context, *, coarsely: bool = False) -> str:
    """Return a hash of all that a picture of the scene shows at its present frame.

    coarsely: take smooth surfaces by what they are subdivided from. To subdivide a head takes a third of a second, all
    for nothing where the capture is there already.
    """
    walk = Settings()
    settings = [*_settings(context, walk), *_scripts()]
    blocks = [(block.name_full, walk.values(block)) for block in _blocks(context.scene)]
    nodes = [*_nodes(walk)]
    known: dict[int, str] = {}
    with _unsubdivided(context.scene) if coarsely and context.scene.is_editable else nullcontext():
        instances = context.evaluated_depsgraph_get().object_instances
        shown = sorted(_shown(instance, known, context.scene) for instance in instances)
    return hashlib.sha256(repr((shown, settings, blocks, nodes)).encode(errors="replace")).hexdigest()


@contextmanager
def _unsubdivided(scene: bpy.types.Scene) -> Iterator[None]:
    render = scene.render
    before = render.use_simplify, render.simplify_subdivision
    render.use_simplify, render.simplify_subdivision = True, 0
    try:
        yield
    finally:
        render.use_simplify, render.simplify_subdivision = before


def unknown_in(context: bpy.types.Context) -> str:
    """Return why nobody can tell whether a picture of the scene would be the same as before; empty where one can.

    Pixels that were painted and not saved are as many as a render has.
    """
    for image in _pictures():
        if image.is_dirty and image.users:
            return f"The image {image.name!r} was changed and is not saved; nothing that was captured before is used."
    return ""


def _shown(instance: bpy.types.DepsgraphObjectInstance, known: dict[int, str], scene: bpy.types.Scene) -> str:
    """Return a hash of one evaluated object, which is gone when the next one is looked at."""
    obj = instance.object
    slots = [slot.material.name_full if slot.material else "" for slot in obj.material_slots]
    digest = hashlib.sha256(f"{obj.name_full} {obj.type} {instance.random_id} {obj.hide_render} {slots}".encode())
    digest.update(np.array(instance.matrix_world, np.float32).tobytes())
    if isinstance(obj.data, bpy.types.Camera):
        digest.update(np.array([*map(tuple, obj.data.view_frame(scene=scene))], np.float32).tobytes())
    elif obj.type in _GEOMETRY and obj.data is not None:
        place = obj.data.as_pointer()  # of many instances of one geometry, which is looked at once
        if place not in known:
            known[place] = _hash_of(_arrays(obj.data))
        digest.update(known[place].encode())
    digest.update(_hash_of(_strands(obj)).encode())
    return digest.hexdigest()


def _hash_of(arrays: Iterable[tuple[str, NDArray[Any]]]) -> str:
    digest = hashlib.sha256()
    for name, array in arrays:
        digest.update(f"{name} {array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _arrays(data: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give the arrays that an evaluated geometry consists of."""
    if isinstance(data, bpy.types.Mesh):
        yield "faces", _read(data.polygons, "loop_start", np.int32)
        yield "corners", _read(data.loops, "vertex_index", np.int32)
        if data.has_custom_normals:
            yield "normals", _read(data.corner_normals, "vector", np.float32, 3)
    yield from _attributes(getattr(data, "attributes", ()))
    if hasattr(data, "curve_offset_data"):
        yield "curves", _read(data.curve_offset_data, "value", np.int32)
    for layer in getattr(data, "layers", ()) if _is_drawn(data) else ():
        yield f"{layer.name if hasattr(layer, 'name') else layer.info} {layer.opacity} {layer.hide}", np.zeros(0)
        yield from _drawing(layer)


def _is_drawn(data: Any) -> bool:
    return type(data).__name__.startswith("GreasePencil")


def _drawing(layer: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give what a layer of drawings shows at the present frame."""
    if hasattr(layer, "current_frame"):
        frame = layer.current_frame()
        if frame is not None and frame.drawing is not None:
            yield from _attributes(frame.drawing.attributes)
            yield "curves", _read(frame.drawing.curve_offsets, "value", np.int32)
        return
    for stroke in layer.active_frame.strokes if layer.active_frame is not None else ():  # up to Blender 4.2
        yield f"{stroke.material_index} {stroke.line_width}", _read(stroke.points, "co", np.float32, 3)
        yield "pressure", _read(stroke.points, "pressure", np.float32)
        yield "colour", _read(stroke.points, "vertex_color", np.float32, 4)


def _attributes(attributes: Iterable[Any]) -> Iterator[tuple[str, NDArray[Any]]]:
    for attribute in attributes:
        if attribute.name.startswith((".select", ".uv_select", ".hide", ".edge_verts", ".corner")):
            continue  # of the interface, or known by the faces
        values = attribute.data
        name = next((each for each in _VALUES if len(values) and hasattr(values[0], each)), "")
        if name:
            first = getattr(values[0], name)
            if not isinstance(first, str | bytes):
                kind = np.int32 if attribute.data_type.startswith(("INT", "BOOLEAN")) else np.float32
                shape = np.shape(first)
                yield f"{attribute.name} {attribute.domain}", _read(values, name, kind, int(np.prod(shape)))


def _strands(obj: Any) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give where the particles of an evaluated object are, and the points of what hair they are."""
    for system in obj.particle_systems:
        yield system.name, _read(system.particles, "location", np.float32, 3)
        yield f"{system.seed} {system.settings.name_full}", _read(system.particles, "size", np.float32)
        if system.settings.type == "HAIR":
            for particle in system.particles:
                yield "hair", _read(particle.hair_keys, "co_local", np.float32, 3)


def _read(values: Any, name: str, kind: type[np.generic], width: int = 1) -> NDArray[Any]:
    """Return a property of all elements of a collection, [count * width]."""
    array = np.empty(len(values) * width, kind)
    values.foreach_get(name, array)
    return array


class Settings:
    """Reads what can be set of a structure, with the structures that belong to it; others are named."""

    def __init__(self) -> None:
        self._names: dict[type, list[tuple[str, str]]] = {}

    def values(self, struct: Any, skip: frozenset[str] = frozenset(), depth: int = 0) -> list[Any]:
        """Return values by name, as plain data."""
        found: list[Any] = [type(struct).__name__]
        for name, kind in self._properties(struct):
            if name in skip:
                continue
            value = getattr(struct, name, None)
            if kind == "COLLECTION":
                found.append(
                    [name, [self._value(each, depth) for each in value] if value and len(value) < _MOST else 0]
                )
            else:
                found.append([name, self._value(value, depth) if kind == "POINTER" else _plain(value)])
        for name in struct.keys() if depth == 0 and isinstance(struct, bpy.types.ID) else _inputs(struct):
            value = struct.get(name)
            if not isinstance(struct, bpy.types.ID) or not hasattr(value, "keys"):  # those of add-ons are their matter
                found.append([name, _plain(value)])
        return found

    def _value(self, value: Any, depth: int) -> Any:
        if value is None:
            return None
        if isinstance(value, (bpy.types.ID, bpy.types.Node, bpy.types.NodeSocket)) or depth >= _DEEPEST:
            return getattr(value, "name_full", None) or getattr(value, "name", "")
        return self.values(value, depth=depth + 1)

    def _properties(self, struct: Any) -> list[tuple[str, str]]:
        kind = type(struct)
        if kind not in self._names:
            skip = _OF_THE_INTERFACE | _base_names(struct)
            self._names[kind] = [
                (each.identifier, each.type)
                for each in struct.bl_rna.properties
                if each.identifier not in skip and (not each.is_readonly or each.type in {"POINTER", "COLLECTION"})
                if not getattr(each, "is_deprecated", False)
            ]
        return self._names[kind]


def _base_names(struct: Any) -> frozenset[str]:
    """Return the properties that say of a block or a node only where it is listed and how it is shown."""
    if isinstance(struct, bpy.types.ID):
        return _OF_BLOCKS | {*bpy.types.ID.bl_rna.properties.keys()}
    return frozenset(bpy.types.Node.bl_rna.properties.keys()) if isinstance(struct, bpy.types.Node) else frozenset()


def _inputs(struct: Any) -> Iterable[str]:
    """Return the names of what a modifier of geometry nodes is given; from Blender 5.3 on these are its properties."""
    return struct.keys() if isinstance(struct, bpy.types.NodesModifier) and not hasattr(struct, "properties") else ()


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, set):
        return sorted(value)
    if isinstance(value, bpy.types.ID):
        return value.name_full
    try:
        return np.array(value).ravel().tolist()
    except (TypeError, ValueError):
        return str(type(value))


def _settings(context: bpy.types.Context, walk: Settings) -> Iterator[Any]:
    """Give the settings of the scene's render and of its colours, and what of the scene its view layer leaves out."""
    scene, layer = context.scene, context.view_layer
    names = list(_OF_THE_SCENE)
    if scene.render.engine not in _BUILT_IN:
        kinds = ((each.identifier, getattr(each, "fixed_type", None)) for each in scene.bl_rna.properties)
        names += [name for name, kind in kinds if kind is not None and kind.base == bpy.types.PropertyGroup.bl_rna]
    yield scene.render.engine, scene.world.name_full if scene.world is not None else None
    for name in names:
        settings = getattr(scene, name, None)
        if settings is not None and name != "magplus":
            yield name, walk.values(settings, _OF_THE_OUTPUT)
    skip = frozenset({"objects", "layer_collection", "active_layer_collection", "depsgraph"})
    yield walk.values(layer, skip)
    yield [*_left_out(layer.layer_collection)]


def _left_out(collection: bpy.types.LayerCollection) -> Iterator[Any]:
    yield collection.name, collection.exclude, collection.holdout, collection.indirect_only, collection.hide_viewport
    for child in collection.children:
        yield from _left_out(child)


def _blocks(scene: bpy.types.Scene) -> Iterator[Any]:
    """Give the data whose settings a picture depends on; of geometry that which makes it is in the evaluated one."""
    data = bpy.data
    kinds: list[Any] = [data.materials, data.lights, data.worlds, data.cameras, data.textures, data.linestyles]
    kinds += [data.particles, data.lightprobes, data.curves, data.metaballs, data.volumes, _pictures(), data.fonts]
    kinds += [data.collections, data.grease_pencils, getattr(data, "grease_pencils_v3", ())]
    yield from (block for kind in kinds for block in kind)
    yield from scene.objects


def _pictures() -> list[bpy.types.Image]:
    """Return the images that a scene can show; others are the results of renders."""
    return [image for image in bpy.data.images if image.type not in {"RENDER_RESULT", "COMPOSITING"}]


def _scripts() -> Iterator[tuple[str, str]]:
    """Give the texts in the file, and the functions that add-ons and scripts have called at frames and at renders."""
    for text in bpy.data.texts:
        yield text.name_full, text.as_string()
    ours = __package__.rpartition(".")[0]
    for name in _CALLED:
        for function in getattr(bpy.app.handlers, name):
            code = getattr(function, "__code__", None)
            if code is not None and not function.__module__.startswith(ours):
                yield f"{name} {function.__module__}.{function.__qualname__}", _program(code)


def _program(code: CodeType) -> str:
    """Return what code does, without the place where it is written."""
    parts = (_program(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts)
    return f"{code.co_code.hex()} {code.co_names} {[*parts]}"


def _nodes(walk: Settings) -> Iterator[Any]:
    """Give what is set at the nodes of materials, lights, worlds and groups, and how they are linked."""
    for block, tree in node_trees():
        yield block.name_full
        for node in tree.nodes:
            sockets = [(each.identifier, _default(each)) for each in (*node.inputs, *node.outputs)]
            yield node.name, node.bl_idname, node.mute, walk.values(node), sockets
        for link in tree.links:
            ends = (link.from_node.name, link.from_socket.identifier, link.to_node.name, link.to_socket.identifier)
            yield *ends, link.is_muted


def _default(socket: bpy.types.NodeSocket) -> Any:
    return _plain(getattr(socket, "default_value", None))
