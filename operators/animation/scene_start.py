# SPDX-License-Identifier: GPL-3.0-or-later
"""A frame of the scene's settings that is the scene's first one for as long as nobody has set another."""

from __future__ import annotations

from typing import Any

import bpy

_NAME = "start_frame"
_TRANSFORMS = bpy.app.version >= (5, 0, 0)  # older series have only callbacks in place of the stored value


def following_scene(low: int, high: int) -> dict[str, Any]:
    """Return what a declaration of `start_frame` between `low` and `high` needs for that, in a scene's settings."""
    if _TRANSFORMS:
        return {"get_transform": lambda settings, value, is_set: value if is_set else settings.id_data.frame_start}

    def keep(settings: Any, value: int) -> None:
        settings[_NAME] = min(max(value, low), high)

    return {"get": lambda settings: settings.get(_NAME, settings.id_data.frame_start), "set": keep}


def is_set(settings: Any) -> bool:
    """Whether somebody has set the start frame, be it to the scene's first frame."""
    return bool(settings.is_property_set(_NAME) if _TRANSFORMS else _NAME in settings)


def follow_again(settings: Any) -> None:
    """Forget a start frame that was set."""
    if _TRANSFORMS:
        settings.property_unset(_NAME)
    elif _NAME in settings:
        del settings[_NAME]


def given_or_first(operator: bpy.types.Operator, scene: bpy.types.Scene) -> int:
    """Return an operator's `start_frame`; the scene's first frame where it was called without one, which it shows."""
    if not operator.properties.is_property_set(_NAME):
        setattr(operator, _NAME, scene.frame_start)
    return int(getattr(operator, _NAME))
