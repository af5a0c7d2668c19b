# SPDX-License-Identifier: GPL-3.0-or-later
"""What a job folder holds, by name: the one table of its files and of the kinds of files that every frame leaves."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

SPEC, REPORT, JOURNAL, LOG, LOCK = "job.json", "report.json", "journal.jsonl", "worker.log", ".lock"
AVATAR = "avatar"
AVATAR_IMAGE, AVATAR_BASIS, AVATAR_RECORD = "avatar/avatar.png", "avatar/rig_basis.npz", "avatar/avatar.json"
FACTORS = "factors.json"
WEIGHTS, WEIGHTS_CSV, CURVES, LIVE_LINK = "weights.npz", "weights.csv", "curves.png", "live_link_face.csv"
BAKE = "bake.json"
AVATAR_SURFACE = "avatar/surface.npz"  # the face's surface in the neutral picture
DRIVER_APEX = "driver_apex.png"  # the driver's face at its apex, small ...
KEYED_APEX = "keyed_apex.png"  # ... and the avatar's, as its keys show it
OF_CONTROLS = (WEIGHTS, WEIGHTS_CSV, CURVES, KEYED_APEX, LIVE_LINK)  # what a run that solves controls leaves


@dataclass(frozen=True)
class FrameKind:
    """A kind of file of which each frame of the clip has one.

    folder: its place in the job folder. suffix: of its files, whose names are the frames' numbers from 1.
    """

    folder: str
    suffix: str

    @property
    def pattern(self) -> str:
        """The files' path in the job folder, with `%06d` for the frame's number."""
        return f"{self.folder}/%06d{self.suffix}"

    def unit(self, index: int) -> str:
        """Return the path in the job folder of frame `index`, counted from 0."""
        return self.pattern % (index + 1)

    def index_of(self, unit: str) -> int | None:
        """Return the frame whose file of this kind a path in the job folder names, None for any other path."""
        number = unit.removeprefix(f"{self.folder}/").removesuffix(self.suffix)
        index = int(number) - 1 if number.isascii() and number.isdigit() and len(number) < 12 else -1
        return index if index >= 0 and self.unit(index) == unit else None


FRAMES = FrameKind("frames", ".png")  # the restored result
DRIVER = FrameKind("driver", ".png")  # the driver's steady crop ...
MAGNIFIED = FrameKind("magnified", ".png")  # ... and magnified, as the backend was shown it
OBSERVED = FrameKind("observed", ".json")  # the local motion of the driver's face, as a share of its width
EQUATIONS = FrameKind("equations", ".npy")  # the frame's motion equations at the rig's sites
COMPARE = FrameKind("compare", ".png")  # driver, magnified driver, result and stronger result side by side, to look at
# Of a moving shot. A file's number is that of the scene's frame, but for the motion, which the clip's frames have.
MOTION = FrameKind("motion", ".npy")  # the restored motion on the neutral picture
FRAME_KINDS = (FRAMES, DRIVER, MAGNIFIED, OBSERVED, EQUATIONS, COMPARE, MOTION)
SURFACES = FrameKind("surfaces", ".npz")  # where the face's surface is in the shot's picture
PLATES = FrameKind("plates", ".png")  # the shot without the expression, where Blender renders it
SHOT_PNG, SHOT_EXR = FrameKind("shot", ".png"), FrameKind("shot", ".exr")  # the shot with the expression
ST_MAPS = FrameKind("st_map", ".exr")  # where each of its pixels comes from, as a share of the picture ...
VECTORS = FrameKind("vectors", ".exr")  # ... and how far away that is, in px
SHOT_APEX = "shot_apex.png"  # the frame of an EXR shot at the apex, small, for what shows no EXR
SHOT_KINDS = (SHOT_PNG, SHOT_EXR, ST_MAPS, VECTORS)  # what the worker leaves for each frame of the scene
SCENE_KINDS = (SURFACES, PLATES, *SHOT_KINDS)  # all that each frame of the scene may have

FOLDERS = (AVATAR, *dict.fromkeys(kind.folder for kind in (*FRAME_KINDS, *SCENE_KINDS)))

_AT_RATE = re.compile(r"(frames|compare)_[0-9]+(-[0-9]+)?fps")

SET_ASIDE = "set_aside"  # what stood where a run had to write, and was not MagPlus's


def at_rate(rate: Fraction, kind: FrameKind = FRAMES) -> FrameKind:
    """Return the kind of frames, or of comparisons, at a scene's rate, in frames per second of the clip."""
    return FrameKind(f"{kind.folder}_{str(rate).replace('/', '-')}fps", kind.suffix)


def is_folder(name: str) -> bool:
    """Whether a folder at the top of a job folder has a name that MagPlus gives."""
    return name in FOLDERS or _AT_RATE.fullmatch(name) is not None
