# SPDX-License-Identifier: GPL-3.0-or-later
"""The face as a capture finds it, in one go."""

from typing import Any

from bl_ext.user_default.magplus.operators.rig.face import Face, face_steps
from bl_ext.user_default.magplus.operators.running.steps import run_to_end


def find_face(*arguments: Any, **named: Any) -> Face:
    """Do all of `face_steps`, which takes the arguments."""
    return run_to_end(face_steps(*arguments, **named))
