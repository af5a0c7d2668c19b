# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb in a menu called MagPlus, so that it is found by that name (F3) in each editor, and keys for the first."""

from __future__ import annotations

from typing import Any, cast

import bpy

from ..operators.animate import MAGPLUS_OT_animate, MAGPLUS_OT_cancel
from ..operators.animation.event_markers import MAGPLUS_OT_trim_from_markers
from ..operators.driver_scene import MAGPLUS_OT_close_driver, MAGPLUS_OT_open_driver, MAGPLUS_OT_use_markers
from ..operators.environment import MAGPLUS_OT_show_preferences
from ..operators.import_result import MAGPLUS_OT_import_result
from ..operators.live_link import MAGPLUS_OT_import_live_link
from ..operators.match_face import (
    MAGPLUS_OT_export_anchors,
    MAGPLUS_OT_import_anchors,
    MAGPLUS_OT_remove_anchors,
    MAGPLUS_OT_show_anchors,
)
from ..operators.measure_controls import MAGPLUS_OT_measure_controls
from ..operators.show_result import (
    MAGPLUS_OT_add_markers,
    MAGPLUS_OT_compare,
    MAGPLUS_OT_fit_range,
    MAGPLUS_OT_restore_view,
    MAGPLUS_OT_show_as,
    MAGPLUS_OT_show_curves,
)

# Groups of verbs in the order in which one comes to them.
VERBS = (
    (MAGPLUS_OT_animate, MAGPLUS_OT_cancel),
    (MAGPLUS_OT_open_driver, MAGPLUS_OT_use_markers, MAGPLUS_OT_close_driver, MAGPLUS_OT_trim_from_markers),
    (MAGPLUS_OT_measure_controls,),
    (MAGPLUS_OT_show_anchors, MAGPLUS_OT_import_anchors, MAGPLUS_OT_export_anchors, MAGPLUS_OT_remove_anchors),
    (MAGPLUS_OT_compare, MAGPLUS_OT_show_curves, MAGPLUS_OT_restore_view, MAGPLUS_OT_fit_range, MAGPLUS_OT_add_markers),
    (MAGPLUS_OT_import_result, MAGPLUS_OT_import_live_link),
    (MAGPLUS_OT_show_preferences,),
)
# Menus of editors in which an animator works; names that a version of Blender lacks are left out.
PLACES = (
    "VIEW3D_MT_object_animation",
    "VIEW3D_MT_pose",
    "DOPESHEET_MT_editor_menus",
    "GRAPH_MT_editor_menus",
    "CLIP_MT_tracking_editor_menus",
)
KEYS = ((MAGPLUS_OT_animate, "M"), (MAGPLUS_OT_compare, "C"))  # with Ctrl, Shift and Alt


class MAGPLUS_MT_verbs(bpy.types.Menu):
    """All that MagPlus does."""

    bl_label = "MagPlus"

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the menu."""
        layout = self.layout
        assert layout is not None
        for number, group in enumerate(VERBS):
            if number:
                layout.separator()
            for verb in group:
                layout.operator(verb.bl_idname)
            if MAGPLUS_OT_compare in group:
                layout.operator_menu_enum(MAGPLUS_OT_show_as.bl_idname, "where", text="Show Frames As")


class Keymap:
    """The keys, switched off until somebody wants them."""

    def __init__(self) -> None:
        self.items: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []

    def add(self) -> None:
        """Add them."""
        ours = bpy.context.window_manager.keyconfigs.addon
        if ours is None:  # without a window
            return
        keymap = ours.keymaps.new(name="3D View", space_type="VIEW_3D")
        for verb, key in KEYS:
            item = keymap.keymap_items.new(verb.bl_idname, cast(Any, key), "PRESS", ctrl=True, shift=True, alt=True)
            item.active = False
            self.items.append((keymap, item))

    def remove(self) -> None:
        """Take them away."""
        while self.items:
            keymap, item = self.items.pop()
            keymap.keymap_items.remove(item)


keymap = Keymap()


def _draw_menu(menu: Any, _context: bpy.types.Context) -> None:
    menu.layout.menu(MAGPLUS_MT_verbs.__name__)


CLASSES = (MAGPLUS_MT_verbs,)


def _places() -> list[Any]:
    return [found for name in PLACES if (found := getattr(bpy.types, name, None)) is not None]


def register() -> None:
    """Add the menu and the keys."""
    for place in _places():
        place.append(_draw_menu)
    keymap.add()


def unregister() -> None:
    """Take them away."""
    keymap.remove()
    for place in _places():
        place.remove(_draw_menu)
