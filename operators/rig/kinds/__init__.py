# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of controls that a face may have. `docs/adding-a-control.md` says how to add one."""

from __future__ import annotations

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
