# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of backends, in the order in which they are offered. `docs/adding-a-backend.md` says how to add one."""

from __future__ import annotations

from dataclasses import replace

from .info import BackendInfo, BackendOption, CheckpointFile

PRECISION = BackendOption(
    "precision",
    "Precision",
    "How exactly the networks compute that make the picture. Half precision is faster where the machine has it; the "
    "result differs slightly",
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
CROP = BackendOption(
    "crop", "Published Crop", "Show the network the crops that its authors cut, instead of MagPlus's own", True
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

FOMM_HOME = "github.com/graphemecluster/first-order-model-demo, release checkpoints, which the authors' notebook uses"
LIVEPORTRAIT_HOME = "huggingface.co/KwaiVGI/LivePortrait, linked from github.com/KwaiVGI/LivePortrait"
EMOPORTRAITS_HOME = "the folders linked from github.com/neeek2303/EMOPortraits"
METAPORTRAIT_LINES = CheckpointFile(
    "dense_669_connectivity.tsv",
    published_at="github.com/Meta-Portrait/MetaPortrait, in base_model/utils",
    parts=("connectivity",),
    optional=True,
)
METAPORTRAIT_NEEDS = (
    "Needs files that its authors' unreleased tracker makes of the avatar (options Landmarks and Identity); without "
    "them its lines have colours and places that the network was not trained on."
)
METAPORTRAIT_FILES = (
    CheckpointFile(
        "ckpt_base.pth.tar",
        published_at="the Google Drive folder linked from github.com/Meta-Portrait/MetaPortrait",
        parts=("generator",),
    ),
    METAPORTRAIT_LINES,
)

LIVEPORTRAIT_FILES = (
    CheckpointFile(
        "appearance_feature_extractor.pth",
        published_at=LIVEPORTRAIT_HOME,
        parts=("appearance_feature_extractor",),
        size=3_387_959,
        sha256="5279bb8654293dbdf327030b397f107237dd9212fb11dd75b83dfb635211ceb5",
    ),
    CheckpointFile(
        "motion_extractor.pth",
        published_at=LIVEPORTRAIT_HOME,
        parts=("motion_extractor",),
        size=112_545_506,
        sha256="251e6a94ad667a1d0c69526d292677165110ef7f0cf0f6d199f0e414e8aa0ca5",
    ),
    CheckpointFile(
        "warping_module.pth",
        published_at=LIVEPORTRAIT_HOME,
        parts=("warping_module",),
        size=182_180_086,
        sha256="2f61a6f265fe344f14132364859a78bdbbc2068577170693da57fb96d636e282",
    ),
    CheckpointFile(
        "spade_generator.pth",
        published_at=LIVEPORTRAIT_HOME,
        parts=("spade_generator",),
        size=221_813_590,
        sha256="4780afc7909a9f84e24c01d73b31a555ef651521a1fe3b2429bd04534d992aee",
    ),
    CheckpointFile(
        "stitching_retargeting_module.pth",
        published_at=LIVEPORTRAIT_HOME,
        parts=("stitching", "lip", "eye"),
        optional=True,
        size=2_393_098,
        sha256="3652d5a3f95099141a56986aaddec92fadf0a73c87a20fac9a2c07c32b28b611",
    ),
)
LIVEPORTRAIT_ANIMAL_FILES = tuple(
    replace(
        file,
        published_at=f"{LIVEPORTRAIT_HOME}, in liveportrait_animals",
        size=None,
        sha256=None,
    )
    for file in LIVEPORTRAIT_FILES
)
LIVEPORTRAIT_OPTIONS = (
    RELATIVE,
    BackendOption(
        "region",
        "Region",
        "What moves",
        "exp",
        (
            ("exp", "Face", "The face, but not the head"),
            ("all", "Face and Head", "As published. The driver's head motion has been taken out, so little is added"),
            ("pose", "Head", "The head alone"),
            ("lip", "Lips", "The lips alone"),
            ("eyes", "Eyes", "The eyes alone"),
            ("brows", "Brows", "The eyebrows alone"),
        ),
    ),
    BackendOption(
        "driving_multiplier",
        "Multiplier",
        "How many times as far the keypoints move; set the magnification to 1 to use it instead of magnified pixels",
        1.0,
        low=0.1,
        high=32.0,
    ),
    BackendOption(
        "stitching",
        "Stitching",
        "Keep the shoulders in place by a network of its own, as published; less steady",
        False,
    ),
    CROP,
    PRECISION,
)

BACKENDS = (
    BackendInfo(
        name="flow_transfer",
        title="Flow Transfer",
        description="Carries the measured motion of the driver's face straight to the avatar's. Needs no checkpoint",
        frame_size=None,
        code_licence="GPL-3.0-or-later",
        weights_licence="none needed",
        commercial_use=True,
    ),
    BackendInfo(
        name="fomm",
        title="FOMM",
        description="First Order Motion Model, 256 px",
        frame_size=256,
        code_licence="MIT",
        weights_licence="not stated separately (code: MIT)",
        commercial_use=True,
        checkpoints=(
            CheckpointFile(
                "vox-adv-cpk.pth.tar",
                published_at=FOMM_HOME,
                parts=("generator", "kp_detector"),
                md5="8a45a24037871c045fbb8a6a8aa95ebc",
            ),
            CheckpointFile(
                "vox-cpk.pth.tar",
                published_at=FOMM_HOME,
                parts=("generator", "kp_detector"),
                size=728_766_691,
                sha256="abb41ab1f279f26326c0d6e4d20702de6658364665aa1313daa7a63e89ea2b23",
            ),
        ),
        options=(*KEYPOINTS, PRECISION),
    ),
    BackendInfo(
        name="fsrt",
        title="FSRT",
        description="Facial Scene Representation Transformer, 256 px. Not for commercial use",
        frame_size=256,
        code_licence="GPL-3.0-or-later here; the authors' own code has no licence",
        weights_licence="none stated: ask the authors before any use beyond trying it",
        commercial_use=False,
        checkpoints=(
            CheckpointFile(
                "vox256.pt (or vox256_2Source.pt)",
                published_at="the Google Drive folder linked from github.com/andrerochow/fsrt",
                parts=("encoder", "decoder", "expression_encoder"),
            ),
            CheckpointFile(
                "kp_detector.pt",
                published_at="the Google Drive folder linked from github.com/andrerochow/fsrt",
                parts=("kp_detector",),
            ),
        ),
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
                    (16, "16 × 16", "A 256th of the pixels"),
                ),
            ),
            BackendOption(
                "more_sources",
                "More Pictures",
                "Further pictures of the avatar, with ; between them: what one does not show another may",
                (),
            ),
            BackendOption(
                "chunk", "Chunk", "Pixels at a time. Fewer take less memory; the result is the same", 8192, high=65536
            ),
            *KEYPOINTS,
            PRECISION,
        ),
    ),
    BackendInfo(
        name="metaportrait",
        title="MetaPortrait",
        description="Driven by dense landmarks, 256 px. Needs files of the avatar",
        frame_size=256,
        code_licence="MIT",
        weights_licence="not stated separately (code: MIT)",
        commercial_use=True,
        checkpoints=METAPORTRAIT_FILES,
        options=(*LANDMARKS, PRECISION),
        needs_files=METAPORTRAIT_NEEDS,
    ),
    BackendInfo(
        name="metaportrait_sr",
        title="MetaPortrait, super-resolution",
        description="MetaPortrait followed by its temporal super-resolution, 512 px. Needs files of the avatar",
        frame_size=512,
        code_licence="MIT",
        weights_licence="not stated separately (code: MIT); fine-tuned from GFPGAN (Apache-2.0)",
        commercial_use=True,
        checkpoints=(
            *METAPORTRAIT_FILES,
            CheckpointFile(
                "temporal_gfpgan.pth",
                published_at="github.com/Meta-Portrait/MetaPortrait, release v0.0.1",
                parts=("params",),
            ),
        ),
        shares_files_of="metaportrait",
        clip_length=16,
        options=(*LANDMARKS, PRECISION),
        needs_files=METAPORTRAIT_NEEDS,
    ),
    BackendInfo(
        name="emoportraits",
        title="EMOPortraits",
        description="Volumetric head avatar with strong expressions, 512 px. Not for commercial use",
        frame_size=512,
        code_licence="GPL-3.0-or-later here; the authors' own code is CC BY-NC-SA 4.0",
        weights_licence="CC BY-NC-SA 4.0",
        commercial_use=False,
        checkpoints=(
            CheckpointFile(
                "NNN_model.pth (in logs.zip, the first stage's checkpoints; NNN is the epoch)",
                published_at=EMOPORTRAITS_HOME,
                parts=("model",),
            ),
            CheckpointFile(
                "head_pose_regressor.pth (in repos.zip)",
                published_at=EMOPORTRAITS_HOME,
                parts=("head_pose_regressor",),
            ),
            CheckpointFile(
                "79999_iter.pth (in repos.zip)",
                published_at=f"{EMOPORTRAITS_HOME}, and by its authors at github.com/zllrunning/face-parsing.PyTorch",
                parts=("face_parsing",),
                optional=True,
            ),
        ),
        options=(
            RELATIVE,
            BackendOption(
                "pose",
                "Head Pose",
                "Whose pose the avatar's head is drawn in",
                "source",
                (
                    ("source", "Avatar's", "The head keeps still"),
                    ("driver", "Driver's", "The head turns as the driver's does"),
                ),
            ),
            CROP,
        ),
    ),
    BackendInfo(
        name="liveportrait",
        title="LivePortrait",
        description="Implicit keypoints in three dimensions, with stitching, 512 px",
        frame_size=512,
        code_licence="MIT",
        weights_licence="MIT",
        commercial_use=True,
        checkpoints=LIVEPORTRAIT_FILES,
        options=LIVEPORTRAIT_OPTIONS,
    ),
    BackendInfo(
        name="liveportrait_animals",
        title="LivePortrait, animals",
        description="LivePortrait with the weights trained on animals, for creatures, 512 px",
        frame_size=512,
        code_licence="MIT",
        weights_licence="MIT",
        commercial_use=True,
        checkpoints=LIVEPORTRAIT_ANIMAL_FILES,
        options=LIVEPORTRAIT_OPTIONS,
        path_words=("animal",),
    ),
)


def find_backend(name: str) -> BackendInfo:
    """Return the backend of that name. Raises `KeyError` when there is none."""
    return {entry.name: entry for entry in BACKENDS}[name]
