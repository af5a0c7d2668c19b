# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the face is, how its head moves, and which part of it is what."""

from .crop import SteadyCrop
from .depth import face_depth
from .landmarker import FaceLandmarker, FaceLandmarks, select_face
from .regions import face_mask, face_width, magnified_part, regions, rigid_mask
from .rigid import split_rigid
from .similarity import Similarity
from .timing import Reference, choose_reference, find_event
from .track import FaceTrack, follow_face
from .visibility import Visibility
from .window import Window

__all__ = [
    "FaceLandmarker",
    "FaceLandmarks",
    "FaceTrack",
    "Reference",
    "Similarity",
    "SteadyCrop",
    "Visibility",
    "Window",
    "choose_reference",
    "face_depth",
    "face_mask",
    "face_width",
    "find_event",
    "follow_face",
    "magnified_part",
    "regions",
    "rigid_mask",
    "select_face",
    "split_rigid",
]
