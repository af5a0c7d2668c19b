# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of operators, panels and settings, declared so that a type checker knows what reading one gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import bpy

Declaring = TypeVar("Declaring", bound=type)

# What a declaration stands for is what reading the property gives, not the definition that these return.
BoolProperty = cast(Callable[..., bool], bpy.props.BoolProperty)
CollectionProperty = cast(Callable[..., Any], bpy.props.CollectionProperty)
EnumProperty = cast(Callable[..., str], bpy.props.EnumProperty)
FloatProperty = cast(Callable[..., float], bpy.props.FloatProperty)
IntProperty = cast(Callable[..., int], bpy.props.IntProperty)
IntVectorProperty = cast(Callable[..., Any], bpy.props.IntVectorProperty)
PointerProperty = cast(Callable[..., Any], bpy.props.PointerProperty)
StringProperty = cast(Callable[..., str], bpy.props.StringProperty)


def with_properties(declaring: Declaring) -> Declaring:
    """Hand the properties of a class to Blender, which looks for their definitions where Python has types.

    @with_properties
    class MAGPLUS_OT_example(bpy.types.Operator):
        folder: str = StringProperty(name="Job Folder", subtype="DIR_PATH")
    """
    for name, value in list(vars(declaring).items()):
        if isinstance(value, bpy.props._PropertyDeferred):
            declaring.__annotations__[name] = value
            delattr(declaring, name)
    return declaring
