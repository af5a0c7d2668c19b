# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of controls that a face may have. `docs/adding-a-control.md` says how to add one."""

from __future__ import annotations

from ....backend_bridge.rig.basis import Control
from ....backend_bridge.rig.face_parts import FacePart, is_of_the_face, part_of
from .bone import Bones
from .control_kind import ControlKind
from .property import CustomProperties
from .shape_key import ShapeKeys

# By the name that `Control.kind` has, in the order in which controls are found and listed.
KINDS: dict[str, ControlKind] = {
    ShapeKeys.name: ShapeKeys(),
    Bones.name: Bones(),
    CustomProperties.name: CustomProperties(),
}


def is_facial(control: Control) -> bool:
    """Whether a control is made for the face, or called after a part of it, and not after something else."""
    if KINDS[control.kind].made_for_the_face:
        return part_of(control.part) is not FacePart.OTHER
    return is_of_the_face(control.part)
