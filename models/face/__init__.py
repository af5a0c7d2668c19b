# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the face is, how its head moves, and which part of it is what."""

from .crop import SteadyCrop
from .depth import face_depth
from .far_skin import FarSkin
from .footage import comparable
from .gaze import eyes_part, gaze_reach
from .landmarker import FaceLandmarker, FaceLandmarks, select_face
from .lids import (
    LidModel,
    blinks,
    closures,
    closures_of_each,
    closures_of_seen,
    mesh_weight,
    nearly_shut,
    openings,
    usual_opening,
    widening,
)
from .moving_cover import MovingCover
from .passing_cover import COVER_SIDE, are_specks, cover_of, packed_cover, passing
from .pose import head_turn, turned_by
from .regions import face_mask, face_width, magnified_part, regions, rigid_mask
from .rigid import HeadMotion, RigidSplit, split_rigid
from .seen_edge import eased
from .similarity import Similarity
from .square import Square, roll
from .timing import (
    Reference,
    calmest,
    choose_reference,
    expressiveness,
    find_event,
    may_be_calmer,
    nearer_to_rest,
    settled,
    shows_more,
    some_calmer,
    timed,
    with_open_eyes,
)
from .track import FaceTrack, follow_face
from .turning import head_turning
from .visibility import Visibility, undisturbed
from .window import Window

__all__ = [
    "COVER_SIDE",
    "FaceLandmarker",
    "FaceLandmarks",
    "FaceTrack",
    "FarSkin",
    "HeadMotion",
    "LidModel",
    "MovingCover",
    "Reference",
    "RigidSplit",
    "Similarity",
    "Square",
    "SteadyCrop",
    "Visibility",
    "Window",
    "are_specks",
    "blinks",
    "calmest",
    "choose_reference",
    "closures",
    "closures_of_each",
    "closures_of_seen",
    "comparable",
    "cover_of",
    "eased",
    "expressiveness",
    "eyes_part",
    "face_depth",
    "face_mask",
    "face_width",
    "find_event",
    "follow_face",
    "gaze_reach",
    "head_turn",
    "head_turning",
    "magnified_part",
    "may_be_calmer",
    "mesh_weight",
    "nearer_to_rest",
    "nearly_shut",
    "openings",
    "packed_cover",
    "passing",
    "regions",
    "rigid_mask",
    "roll",
    "select_face",
    "settled",
    "shows_more",
    "some_calmer",
    "split_rigid",
    "timed",
    "turned_by",
    "undisturbed",
    "usual_opening",
    "widening",
    "with_open_eyes",
]
