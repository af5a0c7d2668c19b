# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender knows of the backends without loading one: enough to choose, and to see whether a checkpoint is there.

The registry in `models.backends` is what counts; a test holds this list to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BackendOption:
    """Something that can be set of a backend in the sidebar; the command line and `job.json` can set more.

    `choices` are (value, title, description). Without them it is a switch, or a file where `default` is None.
    """

    name: str
    title: str
    description: str
    default: bool | int | str | None
    choices: tuple[tuple[int | str, str, str], ...] = ()


@dataclass(frozen=True)
class BackendEntry:
    """One backend to choose.

    `parts` are the networks that must have been added before it works, kept as `<folder>/<part>.safetensors` in the
    checkpoint folder; none for a backend that needs no checkpoint.
    """

    name: str
    title: str
    description: str
    weights_licence: str = "none needed"
    commercial_use: bool = True
    folder: str = ""
    parts: tuple[str, ...] = ()
    options: tuple[BackendOption, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether all the parts it needs have been added. Only looks at the disk."""
        places = (checkpoint_folder() / self.folder / f"{part}.safetensors" for part in self.parts)
        return all(place.is_file() for place in places)

    @property
    def caution(self) -> str:
        """What a person must know before using it for a living, or an empty string."""
        return "" if self.commercial_use else f"Not for commercial use (weights: {self.weights_licence})."


PRECISION = BackendOption(
    "precision",
    "Precision",
    "Of the networks that paint. Half precision is faster where the machine has it, and not quite the same",
    "float32",
    (
        ("float32", "Single", "As published"),
        ("bfloat16", "Half (bfloat16)", "For recent CPUs and GPUs"),
        ("float16", "Half (float16)", "For GPUs"),
    ),
)
RELATIVE = BackendOption(
    "relative", "Relative Motion", "Transfer how the driver changes, not how the driver's face is", True
)
KEYPOINTS = (
    RELATIVE,
    BackendOption(
        "adapt_movement_scale", "Adapt Scale", "Scale relative motion to the size of the avatar's face", True
    ),
    BackendOption(
        "best_frame",
        "Best Frame",
        "Take the driving frame for reference that is posed most like the avatar, instead of one at rest",
        False,
    ),
)
LANDMARKS = (
    BackendOption(
        "landmarks",
        "Landmarks",
        "A .npy file of the avatar's 669 landmarks in the published format. Left empty, they are approximated",
        None,
    ),
    BackendOption(
        "identity",
        "Identity",
        "A .npy file of the avatar's identity vector in the published format. Left empty, a neutral one is taken",
        None,
    ),
)

BACKENDS = (
    BackendEntry(
        "flow_transfer",
        "Flow Transfer",
        "Carries the measured motion of the driver's face straight to the avatar's. Needs no checkpoint",
    ),
    BackendEntry(
        "fomm",
        "FOMM",
        "First Order Motion Model, 256 px",
        "not stated separately (code: MIT)",
        folder="fomm",
        parts=("generator", "kp_detector"),
        options=(*KEYPOINTS, PRECISION),
    ),
    BackendEntry(
        "fsrt",
        "FSRT",
        "Facial Scene Representation Transformer, 256 px. Not for commercial use",
        "none stated: ask the authors before any use beyond trying it",
        commercial_use=False,
        folder="fsrt",
        parts=("decoder", "encoder", "expression_encoder", "kp_detector"),
        options=(
            BackendOption(
                "draft",
                "Draft",
                "Render one pixel of every square and fill in the rest: much faster, and soft",
                1,
                (
                    (1, "Off", "Every pixel"),
                    (2, "2 × 2", "A quarter of the pixels"),
                    (4, "4 × 4", "A sixteenth of the pixels"),
                    (8, "8 × 8", "A sixty-fourth of the pixels"),
                ),
            ),
            *KEYPOINTS,
            PRECISION,
        ),
    ),
    BackendEntry(
        "metaportrait",
        "MetaPortrait",
        "Driven by dense landmarks, 256 px",
        "not stated separately (code: MIT)",
        folder="metaportrait",
        parts=("generator",),
        options=(*LANDMARKS, PRECISION),
    ),
    BackendEntry(
        "metaportrait_sr",
        "MetaPortrait, super-resolution",
        "MetaPortrait followed by its temporal super-resolution, 512 px",
        "not stated separately (code: MIT); fine-tuned from GFPGAN (Apache-2.0)",
        folder="metaportrait",
        parts=("generator", "params"),
        options=(*LANDMARKS, PRECISION),
    ),
    BackendEntry(
        "emoportraits",
        "EMOPortraits",
        "Volumetric head avatar with strong expressions, 512 px. Not for commercial use",
        "CC BY-NC-SA 4.0",
        commercial_use=False,
        folder="emoportraits",
        parts=("head_pose_regressor", "model"),
        options=(RELATIVE,),
    ),
    BackendEntry(
        "liveportrait",
        "LivePortrait",
        "Implicit keypoints in three dimensions, with stitching, 512 px",
        "MIT",
        folder="liveportrait",
        parts=(
            "appearance_feature_extractor",
            "eye",
            "lip",
            "motion_extractor",
            "spade_generator",
            "stitching",
            "warping_module",
        ),
        options=(
            RELATIVE,
            BackendOption("stitching", "Stitching", "Keep the shoulders in place, as published", True),
            PRECISION,
        ),
    ),
)


def checkpoint_folder() -> Path:
    """Return where checkpoints are kept: the user's own folder, which outlives the extension."""
    return Path.home() / ".magplus" / "checkpoints"


def find_backend(name: str) -> BackendEntry:
    """Return the backend of that name. Raises `KeyError` when there is none."""
    return {entry.name: entry for entry in BACKENDS}[name]
