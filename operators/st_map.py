# SPDX-License-Identifier: GPL-3.0-or-later
"""A shot's ST-map in Blender's compositor and sequencer: a node group that moves any picture by it, more or less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import bpy
import numpy as np

from ..backend_bridge.files.errors import InputError
from ..backend_bridge.job.artefacts import ST_MAPS
from ..backend_bridge.job.folder import JobFolder
from .blender.operator import ExplainedOperator, OperatorResult, refusing
from .blender.properties import RELATIVE_PATH, EnumProperty, StringProperty, with_properties
from .blender.wording import translated
from .frames.clip import Clip
from .frames.image import hold
from .frames.strip import strips_of

NAME = "MagPlus ST-Map"
IDENTITY = "MagPlus Identity"
NON_COLOUR = "Non-Color"
CROPPED = (
    "The scene's render is cropped to its region, and an ST-map is of the whole picture; switch off Crop to Render "
    "Region in Properties > Output > Format."
)
# Where the render begins, and how much of the picture it is, as a share of the width: all of it unless it is cropped to
# its region, whose pixels Blender cuts off towards 0.
_LEFT = "floor(low * floor(size * percent / 100)) / floor(size * percent / 100) if border * crop else 0"
_SHARE = (
    "(floor(high * floor(size * percent / 100)) - floor(low * floor(size * percent / 100)))"
    " / floor(size * percent / 100) if border * crop else 1"
)
_NEW = bpy.app.version >= (5, 0, 0)  # the compositor shares its nodes with shaders, and a scene has a group for it
HAS_STRIPS = bpy.app.version >= (5, 3, 0)
KNOWS_PLACES = hasattr(bpy.types, "CompositorNodeImageCoordinates")  # from 4.5 on, also of a picture that is cropped
_Sockets: TypeAlias = tuple[bpy.types.NodeSocket, bpy.types.NodeSocket]


def st_maps_of(folder: JobFolder) -> Clip:
    """Return the ST-maps of a finished job. Raises `InputError` where there are none, or they were changed."""
    shot = folder.read_report().shot
    if shot is None or not shot.st_map:
        raise InputError(f"{folder.path.name} has no ST-map; run a moving shot with the ST-map among its outputs.")
    units = [ST_MAPS.unit(number - 1) for number in range(shot.first, shot.first + shot.count)]
    folder.check_whole(units)
    return Clip([folder.path / unit for unit in units], shot.size, shot.first)


def node_group(size: tuple[int, int], *, of_the_render: bool = True) -> bpy.types.NodeTree:
    """Return a node group with inputs Image, ST-Map and Strength, for maps of (width, height) px.

    u + strength * (map - u), u being where each pixel is, is where Map UV looks: at 0 the picture stays, beyond 1 it
    moves farther than the driver. The picture may be rendered at another percentage of the scene's size than the map,
    and, `of_the_render`, be cropped to the scene's render region, as it is when it is rendered.
    """
    tree = bpy.data.node_groups.new(NAME, "CompositorNodeTree")
    for name, kind, flow in (
        ("Image", "NodeSocketColor", "INPUT"),
        ("ST-Map", "NodeSocketColor", "INPUT"),
        ("Strength", "NodeSocketFloat", "INPUT"),
        ("Image", "NodeSocketColor", "OUTPUT"),
    ):
        socket = cast(Any, tree.interface).new_socket(name, in_out=flow, socket_type=kind)
        if name == "Strength":
            socket.default_value, socket.min_value, socket.max_value = 1.0, 0.0, 10.0
    given, result = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    here = _identity(tree, given.outputs["Image"], size)
    left, share = (_region(tree, expression, of_the_render) for expression in (_LEFT, _SHARE))
    in_the_map = [_math(tree, "ADD", _math(tree, "MULTIPLY", here[n], share[n]), left[n]) for n in (0, 1)]
    apart = _node(tree, "CompositorNodeSeparateColor")
    off = _mapped(tree, _off(tree, given.outputs["ST-Map"], size), in_the_map, "Bilinear")
    tree.links.new(off, apart.inputs[0])
    moved = []
    for axis in (0, 1):
        of_the_picture = _math(tree, "DIVIDE", apart.outputs[axis], share[axis])
        scaled = _math(tree, "MULTIPLY", of_the_picture, given.outputs["Strength"])
        moved.append(_math(tree, "ADD", scaled, here[axis]))
    tree.links.new(_mapped(tree, given.outputs["Image"], moved, "Bicubic"), result.inputs[0])
    for place, node in enumerate(tree.nodes):
        node.location = (180 * place, 0)
    return tree


def in_the_compositor(scene: bpy.types.Scene, maps: Clip) -> bpy.types.Node:
    """Put the group with the maps of a shot before the output of a scene's compositor; return its node.

    Raises `InputError` where the render is cropped to its region, and Blender can't tell where that lies.
    """
    if not KNOWS_PLACES and scene.render.use_border and scene.render.use_crop_to_border:
        raise InputError(CROPPED)
    tree, output = _compositor(scene)
    source = output.inputs[0].links[0].from_socket if output.inputs[0].links else None
    if source is None:
        layers = _node(tree, "CompositorNodeRLayers")
        layers.location = (output.location[0] - 700, output.location[1])
        source = layers.outputs["Image"]
    image = _node(tree, "CompositorNodeImage")
    image.image = bpy.data.images.load(str(maps.files[0]), check_existing=True)
    if len(maps.files) > 1:
        image.image.source = "SEQUENCE"
    image.image.colorspace_settings.name = cast(Any, NON_COLOUR)
    image.label = "ST-map"
    if len(maps.files) > 1:
        hold(image, maps)
    group = _node(tree, "CompositorNodeGroup")
    group.node_tree = node_group(maps.size)
    image.location = (output.location[0] - 500, output.location[1] - 250)
    group.location = (output.location[0] - 220, output.location[1])
    tree.links.new(source, group.inputs["Image"])
    tree.links.new(image.outputs["Image"], group.inputs["ST-Map"])
    tree.links.new(group.outputs["Image"], output.inputs[0])
    return group


def on_a_strip(scene: bpy.types.Scene, strip: bpy.types.Strip, maps: Clip) -> bpy.types.Strip:
    """Put the group as an effect on a strip of the sequencer, with the maps as a strip beside it; return the effect."""
    strips = strips_of(scene)
    channel = max(each.channel for each in strips) + 1
    first = maps.start
    made = strips.new_image(
        name="MagPlus ST-map", filepath=str(maps.files[0]), channel=channel, frame_start=first, fit_method="STRETCH"
    )
    picture = cast("bpy.types.ImageStrip", made)
    for path in maps.files[1:]:
        picture.elements.append(path.name)
    picture.colorspace_settings.name = cast(Any, NON_COLOUR)
    effect = cast(Any, strips).new_effect(
        name=NAME, type="COMPOSITOR", channel=channel + 1, frame_start=first, input1=strip, input2=picture
    )
    effect.node_group = _strip_group(maps.size)
    return cast("bpy.types.Strip", effect)


def _strip_group(size: tuple[int, int]) -> bpy.types.NodeTree:
    """Return the group in one that has nothing but the two pictures: a strip passes no numbers on (5.3.0)."""
    tree = bpy.data.node_groups.new(f"{NAME} Strip", "CompositorNodeTree")
    for name, flow in (("Image", "INPUT"), ("ST-Map", "INPUT"), ("Image", "OUTPUT")):
        cast(Any, tree.interface).new_socket(name, in_out=flow, socket_type="NodeSocketColor")
    given, group, result = (_node(tree, kind) for kind in ("NodeGroupInput", "CompositorNodeGroup", "NodeGroupOutput"))
    group.node_tree = node_group(size, of_the_render=False)
    group.location, result.location = (220, 0), (440, 0)
    tree.links.new(given.outputs["Image"], group.inputs["Image"])
    tree.links.new(given.outputs["ST-Map"], group.inputs["ST-Map"])
    tree.links.new(group.outputs["Image"], result.inputs[0])
    return tree


def _compositor(scene: bpy.types.Scene) -> tuple[bpy.types.NodeTree, bpy.types.Node]:
    """Return a scene's compositor and its output, which are made if there are none."""
    if _NEW:
        tree = _scenes_group(scene)
        if not any(item.in_out == "OUTPUT" for item in tree.interface.items_tree if item.item_type == "SOCKET"):
            tree.interface.new_socket("Image", in_out="OUTPUT", socket_type="NodeSocketColor")
        kind = "NodeGroupOutput"
    else:
        fresh = not scene.use_nodes
        scene.use_nodes = True
        tree, kind = cast(Any, scene).node_tree, "CompositorNodeComposite"
        if fresh and tree is not None and len(tree.nodes) == 0:
            _node(tree, "CompositorNodeRLayers")
    found = next((node for node in tree.nodes if node.bl_idname == kind), None)
    return tree, found or _node(tree, kind)


def _scenes_group(scene: Any) -> Any:
    """Return the node group of a scene's compositor, a new one if there is none. From 5.3 on there may be several."""
    if not hasattr(scene, "compositor_effects"):
        if scene.compositing_node_group is None:
            scene.compositing_node_group = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
        return scene.compositing_node_group
    effect = next((each for each in scene.compositor_effects if each.is_active), None)
    effect = effect or scene.compositor_effects.new(NAME)
    if effect.node_group is None:
        effect.node_group = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
    return effect.node_group


def _off(tree: bpy.types.NodeTree, maps: bpy.types.NodeSocket, size: tuple[int, int]) -> bpy.types.NodeSocket:
    """Return a socket with how far from each pixel of a map the place lies that it looks at, in red and green."""
    separate, combine = _node(tree, "CompositorNodeSeparateColor"), _node(tree, "CompositorNodeCombineColor")
    tree.links.new(maps, separate.inputs[0])
    own = _coordinates(tree, maps) or _identity_channels(tree, size, scaled=False)
    for axis in (0, 1):
        tree.links.new(_math(tree, "SUBTRACT", separate.outputs[axis], own[axis]), combine.inputs[axis])
    return cast(bpy.types.NodeSocket, combine.outputs[0])


def _mapped(
    tree: bpy.types.NodeTree, picture: bpy.types.NodeSocket, places: Sequence[bpy.types.NodeSocket], how: str
) -> bpy.types.NodeSocket:
    """Return a picture looked up at places, their u and v; `how` it is interpolated, where Blender lets one choose."""
    combine, mapped = (
        _node(tree, "ShaderNodeCombineXYZ" if _NEW else "CompositorNodeCombineXYZ"),
        _node(tree, "CompositorNodeMapUV"),
    )
    combine.inputs[2].default_value = 1.0  # what is mapped is opaque
    for axis in (0, 1):
        tree.links.new(places[axis], combine.inputs[axis])
    tree.links.new(picture, mapped.inputs["Image"])
    tree.links.new(combine.outputs[0], mapped.inputs["UV"])
    if _NEW:
        mapped.inputs["Interpolation"].default_value = how
        mapped.inputs["Extension X"].default_value = mapped.inputs["Extension Y"].default_value = "Extend"
    else:
        mapped.alpha = 0
    return cast(bpy.types.NodeSocket, mapped.outputs[0])


def _region(tree: bpy.types.NodeTree, expression: str, of_the_render: bool) -> _Sockets:
    """Return sockets with one of the region's expressions along x and y; of the whole picture, if not of the render."""
    found = []
    for axis, side in (("x", "resolution_x"), ("y", "resolution_y")):
        value = _node(tree, "ShaderNodeValue" if _NEW else "CompositorNodeValue")
        value.outputs[0].default_value = 0.0 if expression is _LEFT else 1.0
        if of_the_render:
            driver = value.outputs[0].driver_add("default_value").driver
            driver.expression = expression
            read = {"low": f"border_min_{axis}", "high": f"border_max_{axis}", "size": side}
            read |= {"percent": "resolution_percentage", "border": "use_border", "crop": "use_crop_to_border"}
            for name, path in read.items():
                variable = driver.variables.new()
                variable.name, variable.type = name, "CONTEXT_PROP"
                variable.targets[0].context_property = "ACTIVE_SCENE"
                variable.targets[0].data_path = f"render.{path}"
        found.append(value.outputs[0])
    return found[0], found[1]


def _identity(tree: bpy.types.NodeTree, image: bpy.types.NodeSocket, size: tuple[int, int]) -> _Sockets:
    """Return sockets with each pixel's own u and v in a picture of the size that is rendered."""
    return _coordinates(tree, image) or _identity_channels(tree, size, scaled=True)


def _coordinates(tree: bpy.types.NodeTree, image: bpy.types.NodeSocket) -> _Sockets | None:
    """Return sockets with each pixel's own u and v in a picture, None where Blender has no node for it."""
    if not KNOWS_PLACES:
        return None
    places = _node(tree, "CompositorNodeImageCoordinates")
    tree.links.new(image, places.inputs[0])
    apart = _node(tree, "ShaderNodeSeparateXYZ" if _NEW else "CompositorNodeSeparateXYZ")
    tree.links.new(places.outputs["Normalized"], apart.inputs[0])
    return apart.outputs[0], apart.outputs[1]


def _identity_channels(tree: bpy.types.NodeTree, size: tuple[int, int], *, scaled: bool) -> _Sockets:
    """Return sockets with u and v in a picture of a size, or `scaled` to that which is rendered."""
    picture = _node(tree, "CompositorNodeImage")
    picture.image = _identity_image(size)
    apart = _node(tree, "CompositorNodeSeparateColor")
    image = picture.outputs["Image"]
    if scaled:
        scale = _node(tree, "CompositorNodeScale")
        scale.space = "RENDER_SIZE"
        tree.links.new(image, scale.inputs[0])
        image = scale.outputs[0]
    tree.links.new(image, apart.inputs[0])
    return apart.outputs[0], apart.outputs[1]


def _identity_image(size: tuple[int, int]) -> bpy.types.Image:
    """Return a picture whose red and green are u and v, packed into the file: Blender 4 has no node for it."""
    name = f"{IDENTITY} {size[0]}x{size[1]}"
    if (there := bpy.data.images.get(name)) is not None:
        return there
    width, height = size
    pixels = np.ones((height, width, 4), np.float32)
    pixels[..., 0] = (np.arange(width) + 0.5) / width
    pixels[..., 1] = ((np.arange(height) + 0.5) / height)[:, None]
    image = bpy.data.images.new(name, width, height, alpha=True, float_buffer=True)
    image.colorspace_settings.name = cast(Any, NON_COLOUR)
    image.pixels.foreach_set(pixels.ravel())
    image.pack()
    return image


def _math(tree: bpy.types.NodeTree, operation: str, *given: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    node = _node(tree, "ShaderNodeMath" if _NEW else "CompositorNodeMath")
    node.operation = operation
    for place, socket in enumerate(given):
        tree.links.new(socket, node.inputs[place])
    return cast(bpy.types.NodeSocket, node.outputs[0])


def _node(tree: bpy.types.NodeTree, kind: str) -> Any:
    return tree.nodes.new(kind)


@with_properties
class MAGPLUS_OT_st_map_nodes(ExplainedOperator):
    """Move what the compositor, or the active strip, shows by the ST-map of the last moving shot"""

    bl_idname = "magplus.st_map_nodes"
    bl_label = "ST-Map Node Group"
    bl_options = {"REGISTER", "UNDO"}

    folder: str = StringProperty(
        name="Job Folder",
        description="A finished moving shot; by default the last one",
        subtype="DIR_PATH",
        options=RELATIVE_PATH,
    )
    where: str = EnumProperty(
        name="Where",
        items=(
            ("COMPOSITOR", "Compositor", "Before the output of the scene's compositor"),
            ("STRIP", "Active Strip", "As an effect on the sequencer's active strip (from Blender 5.3)"),
        ),
    )

    @classmethod
    def problem(cls, context: bpy.types.Context) -> str:
        """Return why it can't be used now, or an empty string."""
        return "" if context.scene is not None else "There is no scene."

    @refusing
    def execute(self, context: bpy.types.Context) -> OperatorResult:
        """Build the group and put it where it is asked for."""
        place: Callable[[Clip], str] = self._strip if self.where == "STRIP" else self._compositor
        chosen = self.folder or context.scene.magplus.last_job
        if not chosen:
            raise InputError("There is no moving shot in this scene yet; run one with an ST-map, or name its job.")
        sentence = place(st_maps_of(JobFolder.open(Path(bpy.path.abspath(chosen)))))
        self.report({"INFO"}, translated(sentence))
        return {"FINISHED"}

    def _compositor(self, maps: Clip) -> str:
        in_the_compositor(bpy.context.scene, maps)
        return f"The compositor moves frames {maps.start} to {maps.start + len(maps.files) - 1}; see {NAME}'s Strength."

    def _strip(self, maps: Clip) -> str:
        scene = bpy.context.scene
        if not HAS_STRIPS:
            raise InputError("Strips take a node group from Blender 5.3 on; use the compositor here.")
        editor = scene.sequence_editor
        if editor is None or editor.active_strip is None:
            raise InputError("Select the strip that shows the shot in the sequencer first.")
        on_a_strip(scene, editor.active_strip, maps)
        return f"The strip {editor.active_strip.name!r} is moved by the ST-map."


CLASSES = (MAGPLUS_OT_st_map_nodes,)
