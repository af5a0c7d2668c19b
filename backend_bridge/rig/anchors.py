# SPDX-License-Identifier: GPL-3.0-or-later
"""The points of the face that a person can place by eye: where the driver's face is pinned to the avatar's.

"Right" is the character's own right, on the left of the picture.
"""

from __future__ import annotations

from types import MappingProxyType

MESH_POINTS = 468  # of MediaPipe's face mesh; the ten iris points behind them follow the gaze, not the face's shape

# Name -> point of the face mesh.
FACE_ANCHORS = MappingProxyType(
    {
        "right brow, outer end": 70,
        "right brow, inner end": 107,
        "left brow, inner end": 336,
        "left brow, outer end": 300,
        "right eye, outer corner": 33,
        "right eye, inner corner": 133,
        "left eye, inner corner": 362,
        "left eye, outer corner": 263,
        "nose, tip": 4,
        "nose, right wing": 129,
        "nose, left wing": 358,
        "mouth, right corner": 61,
        "mouth, left corner": 291,
        "upper lip, middle of its upper edge": 0,
        "lower lip, middle of its lower edge": 17,
        "chin, lowest point": 152,
    }
)
