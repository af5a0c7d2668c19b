# SPDX-License-Identifier: GPL-3.0-or-later
"""Landmarks of a face that is an oval."""

import numpy as np

from magplus.models.face.mesh import FACE_OVAL, LEFT_LIDS, RIGHT_LIDS

SIDE, WIDTH = 256, 150


def face():
    """Landmarks of an oval face with two eyes, and all over it."""
    landmarks = np.random.default_rng(0).uniform([68, 48, -20], [188, 208, 20], (478, 3))
    turn = np.linspace(0, 2 * np.pi, len(FACE_OVAL), endpoint=False)
    landmarks[list(FACE_OVAL), :2] = 128 + np.c_[0.5 * WIDTH * np.sin(turn), -0.65 * WIDTH * np.cos(turn)]
    for lids, middle in ((RIGHT_LIDS, 95), (LEFT_LIDS, 161)):
        turn = np.linspace(0, 2 * np.pi, len(lids), endpoint=False)
        landmarks[list(lids), :2] = [middle, 105] + np.c_[15 * np.cos(turn), 9 * np.sin(turn)]
    return landmarks
