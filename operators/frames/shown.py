# SPDX-License-Identifier: GPL-3.0-or-later
"""What shows frames of MagPlus in a scene: found again by a mark, hidden for a while, taken away."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import bpy

from ..blender.data import camera_of
from .image import MARK, NAME
from .plane import is_result_plane
from .strip import extent, strips_of

Picture: TypeAlias = bpy.types.CameraBackgroundImage


def camera_pictures(scene: bpy.types.Scene) -> Iterator[tuple[bpy.types.Camera, Picture]]:
    """Give the pictures of a scene's cameras that show frames of MagPlus."""
    for obj in scene.objects:
        if obj.type == "CAMERA" and camera_of(obj).is_editable:
            for picture in camera_of(obj).background_images:
                if picture.image is not None and is_result(picture.image):
                    yield camera_of(obj), picture


def frames_shown(scene: bpy.types.Scene) -> bool | None:
    """Return whether frames of MagPlus are seen in a scene's view; None where there are none to be seen there."""
    seen = [picture.show_background_image for _, picture in camera_pictures(scene)]
    seen += [not plane.hide_viewport for plane in _planes(scene)]
    return any(seen) if seen else None


def jobs_in_view(scene: bpy.types.Scene) -> set[str]:
    """Return the names of the jobs whose frames can be seen in a scene's view, shown or hidden."""
    blocks = [*(picture.image for _, picture in camera_pictures(scene)), *_planes(scene)]
    return {str(block.get(MARK, "")) for block in blocks if block is not None}


def uncover_avatar(scene: bpy.types.Scene) -> None:
    """Hide frames of MagPlus that are before the avatar in a scene's view, whichever job they are of; renders stay."""
    for _, picture in camera_pictures(scene):
        if picture.display_depth == "FRONT":
            picture.show_background_image = False
    for plane in _planes(scene):
        plane.hide_viewport = True


def show_frames(scene: bpy.types.Scene, on: bool) -> None:
    """Show frames of MagPlus in a scene's view, or hide them so that the avatar itself is seen; renders stay."""
    for _, picture in camera_pictures(scene):
        picture.show_background_image = on
    for plane in _planes(scene):
        plane.hide_viewport = not on


def is_result(block: Any) -> bool:
    """Whether an image or a strip shows frames of MagPlus; earlier versions left no mark but the name."""
    return block.get(MARK) is not None or block.name.startswith(NAME)


def take_away(scene: bpy.types.Scene, first: float, last: float) -> None:
    """Take away what shows earlier frames in a scene: every plane, and of the rest what lies within the frames given.

    A plane fills the view at every frame, so that there is room for one. What else uses the images keeps them.
    """
    freed: list[bpy.types.ID | None] = []
    for plane in _planes(scene):
        freed += [plane.data, *(material for slot in plane.material_slots if (material := slot.material))]
        freed += [image for material in list(freed) for image in _images(material)]
        bpy.data.objects.remove(plane)
    for lens, picture in list(camera_pictures(scene)):
        user = picture.image_user
        if _meet(user.frame_start, user.frame_start + user.frame_duration - 1, first, last):
            freed.append(picture.image)
            picture.image = None  # Blender counts the picture as a user even when it is removed
            lens.background_images.remove(picture)
    if scene.sequence_editor is not None:
        strips = strips_of(scene)
        for strip in [each for each in strips if each.type == "IMAGE" and is_result(each)]:
            start, end = extent(strip)
            if _meet(start, end - 1, first, last):
                strips.remove(strip)
    _remove_unused(freed)


def _planes(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    return [each for each in scene.objects if is_result_plane(each) and each.is_editable]


def forget_image(job: str) -> None:
    """Remove the images of a job that nothing uses."""
    _remove_unused([image for image in bpy.data.images if image.get(MARK) == job])


def _images(block: bpy.types.ID | None) -> list[bpy.types.ID | None]:
    tree = block.node_tree if isinstance(block, bpy.types.Material) else None
    return [] if tree is None else [getattr(node, "image", None) for node in tree.nodes]


def _remove_unused(blocks: Iterable[bpy.types.ID | None]) -> None:
    """Remove data that nobody uses any more, what uses others first."""
    order = (bpy.types.Mesh, bpy.types.Material, bpy.types.Image)
    there = {block for block in blocks if block is not None and isinstance(block, order)}
    for kind in order:
        unused = [block for block in there if isinstance(block, kind) and block.users == 0 and block.library is None]
        there.difference_update(unused)
        bpy.data.batch_remove(unused)


def _meet(first: float, last: float, other_first: float, other_last: float) -> bool:
    return first <= other_last and other_first <= last
