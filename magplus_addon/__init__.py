# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person sees: preferences, settings, the sidebar, dropped files and the command line."""

from __future__ import annotations

import bpy

from ..operators import (
    animate,
    backends,
    bake,
    driver_scene,
    environment,
    footage,
    import_frames,
    import_result,
    live_link,
    make_sample,
    match_face,
    measure_controls,
    show_result,
    st_map,
)
from ..operators.animation import bake_list, event_markers
from ..operators.avatar import capture
from ..operators.running import job_manager
from . import (
    commands,
    control_list,
    driver_panel,
    face_match,
    file_handler,
    footage_box,
    kept_paths,
    menu,
    panels,
    preferences,
    result_panel,
    settings,
    status_bar,
    translations,
)

# Classes first, as the properties and handlers of a module may name them; taken away in the mirrored order.
_MODULES = (
    translations,
    job_manager,
    settings,
    kept_paths,
    capture,
    measure_controls,
    match_face,
    import_frames,
    bake,
    import_result,
    live_link,
    make_sample,
    event_markers,
    bake_list,
    environment,
    backends,
    footage,
    driver_scene,
    animate,
    show_result,
    st_map,
    preferences,
    footage_box,
    panels,
    driver_panel,
    status_bar,
    menu,
    result_panel,
    control_list,
    face_match,
    file_handler,
    commands,
)


def register() -> None:
    """Switch the add-on on."""
    for module in _MODULES:
        for cls in getattr(module, "CLASSES", ()):
            bpy.utils.register_class(cls)
        if hasattr(module, "register"):
            module.register()


def unregister() -> None:
    """Switch it off and leave nothing behind."""
    for module in reversed(_MODULES):
        if hasattr(module, "unregister"):
            module.unregister()
        for cls in reversed(getattr(module, "CLASSES", ())):
            bpy.utils.unregister_class(cls)
