# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties of operators, panels and settings, declared so that a type checker knows what reading one gives."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import bpy

from .wording import CONTEXT

Declaring = TypeVar("Declaring", bound=type)
# '//' in a path property: 4.5 and later need to have it declared, 4.2 refuses the declaration.
RELATIVE_PATH = {"PATH_SUPPORTS_BLEND_RELATIVE"} if bpy.app.version >= (4, 5, 0) else set[str]()

# What a declaration stands for is what reading the property gives, not the definition that these return.
BoolProperty = cast(Callable[..., bool], partial(bpy.props.BoolProperty, translation_context=CONTEXT))
CollectionProperty = cast(Callable[..., Any], partial(bpy.props.CollectionProperty, translation_context=CONTEXT))
EnumProperty = cast(Callable[..., str], partial(bpy.props.EnumProperty, translation_context=CONTEXT))
FloatProperty = cast(Callable[..., float], partial(bpy.props.FloatProperty, translation_context=CONTEXT))
IntProperty = cast(Callable[..., int], partial(bpy.props.IntProperty, translation_context=CONTEXT))
IntVectorProperty = cast(Callable[..., Any], partial(bpy.props.IntVectorProperty, translation_context=CONTEXT))
PointerProperty = cast(Callable[..., Any], partial(bpy.props.PointerProperty, translation_context=CONTEXT))
StringProperty = cast(Callable[..., str], partial(bpy.props.StringProperty, translation_context=CONTEXT))


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
