# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of a rig that an animator can key, addressed as an F-Curve addresses them: an ID, a data path, an index.

So whatever can be measured can also be keyed. Which of them are controls of a face is a matter of `.kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import bpy

from ...backend_bridge.rig.basis import Control

# 'key_blocks["Smile"].value' -> parent 'key_blocks["Smile"]', attribute 'value'; '["smile"]' -> key 'smile'
_LAST_STEP = re.compile(r'^(?P<parent>.*?)(?:\.?(?P<attribute>\w+)|\["(?P<key>(?:[^"\\]|\\.)*)"\])$')


@dataclass(frozen=True)
class Address:
    """A data path taken apart: the path of what has the number ("" for the ID itself), and the number's own name.

    custom: whether it is a custom property and not one that Blender has defined.
    """

    parent: str
    name: str
    custom: bool

    @classmethod
    def of(cls, path: str) -> Address | None:
        """Take a data path apart; None for one that is no property's."""
        step = _LAST_STEP.match(path)
        if step is None:
            return None
        if step["key"] is None:
            return cls(step["parent"], step["attribute"], False)
        return cls(step["parent"], bpy.utils.unescape_identifier(step["key"]), True)


@dataclass(frozen=True)
class LiveChannel:
    """One number of an ID in this file; `index` is -1 where the property is no vector."""

    id: bpy.types.ID
    path: str
    index: int = -1

    def read(self) -> float:
        """Return the present value, before drivers and animation act on it again."""
        return float(self.raw)

    @property
    def raw(self) -> Any:
        """The present value as it is: decimal, whole or a truth value. Raises `ReferenceError` where it is gone."""
        value = self._resolved(self.path)
        return value if self.index < 0 else value[self.index]

    def write(self, value: float) -> None:
        """Set the value and tell the depsgraph."""
        if self.index >= 0:
            self._resolved(self.path)[self.index] = value
            return
        address = self._address
        if address.custom:
            self._parent[address.name] = value
            self.id.update_tag()  # unlike properties defined in C, custom ones don't tell by themselves
        else:
            setattr(self._parent, address.name, value)

    @property
    def exists(self) -> bool:
        """Whether the ID has such a number."""
        try:
            self.read()
        except (ReferenceError, ValueError, KeyError, IndexError, TypeError):
            return False
        return True

    @property
    def default(self) -> float:
        """The value that the property was defined with."""
        address = self._address
        if address.custom:
            return float(self.limits.get("default", 0.0))
        definition = self._parent.bl_rna.properties[address.name]
        return float(definition.default if self.index < 0 else definition.default_array[self.index])

    @property
    def custom(self) -> bool:
        """Whether it is a custom property."""
        return self.index < 0 and self._address.custom

    @property
    def limits(self) -> dict[str, Any]:
        """How a custom property is shown: "min", "max", "soft_min", "soft_max" and "default" among others."""
        return dict(self._parent.id_properties_ui(self._address.name).as_dict())

    def set_limits(self, low: float, high: float) -> None:
        """Set the hard limits of a custom property."""
        self._parent.id_properties_ui(self._address.name).update(min=low, max=high)

    @property
    def driven(self) -> bool:
        """Whether a driver sets this number, so that a written value would not last; a muted one doesn't."""
        animation = self.id.animation_data
        return animation is not None and any(
            driver.data_path == self.path and driver.array_index == max(self.index, 0) and not driver.mute
            for driver in animation.drivers
        )

    @property
    def _address(self) -> Address:
        address = Address.of(self.path)
        assert address is not None, self.path
        return address

    @property
    def _parent(self) -> bpy.types.bpy_struct:
        path = self._address.parent
        return self._resolved(path) if path else self.id

    def _resolved(self, path: str) -> Any:
        try:
            return self.id.path_resolve(path)
        except ValueError as error:  # a key or a bone that was deleted or renamed is gone as a deleted ID is
            raise ReferenceError(str(error)) from error


@dataclass(frozen=True)
class RigControl:
    """A control together with the numbers in this file that it moves, all of them alike.

    `step` is how far it is moved when its effect is measured.
    """

    control: Control
    channels: tuple[LiveChannel, ...]
    step: float

    @property
    def excursion(self) -> float:
        """How far from rest it is moved to be measured: by `step`, upwards where there is room."""
        up, down = self.control.high - self.control.rest, self.control.rest - self.control.low
        return min(self.step, up) if up >= self.step or up >= down else -min(self.step, down)

    def write(self, value: float) -> None:
        """Set all numbers of the control."""
        for channel in self.channels:
            channel.write(value)

    def renamed(self, name: str) -> RigControl:
        """Return the same control under another name."""
        return replace(self, control=replace(self.control, name=name))


@contextmanager
def restored(controls: Iterable[RigControl]) -> Iterator[None]:
    """Put every number back to exactly what it was, whatever happens inside.

    The depsgraph is tagged by that, and evaluated when somebody next asks for it: here it would be for nothing.
    """
    before = [(channel, channel.read()) for control in controls for channel in control.channels]
    try:
        yield
    finally:
        for channel, value in before:
            if channel.read() != value:
                channel.write(value)
