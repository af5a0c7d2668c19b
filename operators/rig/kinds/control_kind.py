# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of control has to answer, and what holds for most kinds."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence, Set
from typing import ClassVar, TypeAlias

import bpy

from ....backend_bridge.rig.basis import Control
from ..controls import LiveChannel, RigControl
from ..face_rig import FaceRig

DRIVEN = "is driven"
LINKED = "belongs to a linked file; make a library override of the object and of its mesh"
# What was found: controls, and why others can't be used, by name. A reason goes on where the name ends: "is driven".
Found: TypeAlias = tuple[list[RigControl], dict[str, str]]
_ELEMENT = re.compile(r"^(?P<vector>.*)\[(?P<index>\d+)\]$")


class ControlKind(ABC):
    """A kind of control: how it is found, named, measured, keyed and shown. Only `find` has no answer that fits most.

    An instance has no state. All that a kind knows of one control is in its `Control`, as the rig basis keeps it.
    """

    name: ClassVar[str]
    """What `Control.kind` says; it is in files, so it never changes."""
    label: ClassVar[str]
    """What a person reads."""
    icon: ClassVar[str] = "NONE"
    """Blender's icon for it in the list."""
    proportional: ClassVar[bool] = False
    """Whether its effect grows in proportion to it, as long as nothing is driven by it and no modifier interferes."""
    made_for_the_face: ClassVar[bool] = False
    """Whether all of this kind is about the face: used before anybody has chosen, listed where nothing of it is seen,
    never taken for a pose of the head."""
    last_resort: ClassVar[bool] = False
    """Whether it is chosen only where the rig has nothing of another kind to choose."""
    guesses_range: ClassVar[bool] = False
    """Whether its ranges are our guess, and not a rigger's; then they end where an eye would leave its socket."""
    limits: ClassVar[tuple[float, float]] = (-math.inf, math.inf)
    """Where Blender cuts its values off, whatever its range."""

    @abstractmethod
    def find(self, rig: FaceRig) -> Found:
        """Return the controls of this kind that may move a face, under names that are unique among them."""

    # --- in the list

    def chosen(self, seen: Sequence[tuple[Control, float]], turning: Set[tuple[str, str]] = frozenset()) -> set[str]:
        """Return the names of the controls to solve as long as nobody chooses.

        `seen` are those that the camera sees and that are about the face, with the px that they move it by; `turning`
        are owner and part of what is made to turn about a place outside of it.
        """
        return {control.name for control, _ in seen}

    def counterpart(self, control: Control) -> tuple[str, str, str] | None:
        """Return part, motion and axis of the control of the other side that moves alike, None if there can't be one.

        Sides are read from the part's name as Blender reads them: "lip.L", "LeftBrow", "smile_r".
        """
        other = bpy.utils.flip_name(control.part)
        return (other, control.motion, control.axis) if other != control.part else None

    # --- when it is keyed

    def find_channel(self, owner: bpy.types.Object, data_path: str) -> LiveChannel | None:
        """Return the number that a control recorded on `owner`, None when the rig has it no longer."""
        return channel_at(owner, data_path)

    def key_problem(self, channel: LiveChannel) -> str:
        """Return why keys would have no effect ("is driven"), or an empty string."""
        if not channel.id.is_editable:
            return LINKED
        return DRIVEN if channel.driven else ""

    def neutral(self, channel: LiveChannel) -> float:
        """Return the value that the NLA starts from where nothing below a track animates this number."""
        return channel.default

    def owner_name(self, channel: LiveChannel) -> str:
        """Return the name under which a person knows what is animated."""
        return str(channel.id.name)

    # --- what is stronger than its range allows

    def range_of(self, channel: LiveChannel) -> tuple[float, float]:
        """Return the range at which Blender cuts values off; boundless where it doesn't."""
        return -math.inf, math.inf

    def widen(self, channel: LiveChannel, low: float, high: float) -> tuple[float, float] | None:
        """Make the range hold [low, high], as far as `limits` allow, where Blender cuts values off at a range.

        Returns the new range if it had to be widened.
        """
        return None

    def keeps_range(self, channel: LiveChannel) -> bool:
        """Whether a range that was widened is saved with the file."""
        return True

    def ids_with_ranges(self) -> Iterable[bpy.types.ID]:
        """Give the IDs of the file on which `widen` may have something to do."""
        return ()


def channel_at(id_block: bpy.types.ID, data_path: str) -> LiveChannel | None:
    """Return the number at a data path, whose last step may be an index, or None if there is none."""
    element = _ELEMENT.match(data_path)
    channel = LiveChannel(id_block, element["vector"], int(element["index"])) if element else None
    channel = channel or LiveChannel(id_block, data_path)
    return channel if channel.exists else None
