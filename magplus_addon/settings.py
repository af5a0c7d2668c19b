# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person chooses for a scene. Settings only: what is running lives in `operators.running.job_manager`."""

from __future__ import annotations

from typing import cast

import bpy

from ..backend_bridge.backends import BACKENDS, BackendOption
from ..backend_bridge.job.spec import MAX_ALPHA, MAX_REGION_GAIN, MAX_SMOOTHING
from ..backend_bridge.rig.regions import REGIONS
from ..operators.animation.destination import ANIMATION, FRONT, SHOW_AS
from ..operators.animation.ends import RELEASE
from ..operators.animation.scene_start import following_scene
from ..operators.animation.scene_time import LAST_FRAME
from ..operators.animation.strength import set_strength
from ..operators.backends import option_property
from ..operators.blender.properties import (
    RELATIVE_PATH,
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    IntVectorProperty,
    PointerProperty,
    StringProperty,
    with_properties,
)
from ..operators.frames.shown import frames_shown, show_frames
from ..operators.rig.avatar import face_has_shape_keys


def _is_mesh(_settings: MagPlusSettings, candidate: bpy.types.Object) -> bool:
    return candidate.type == "MESH"


def _avatar_chosen(settings: MagPlusSettings, context: bpy.types.Context) -> None:
    """A new avatar: ask for what its face can do."""
    settings.shape_keys = settings.avatar is not None and face_has_shape_keys(context, settings.avatar)
    settings.vertex_group = ""
    settings.controls.clear()
    settings.last_job = ""


def _gain(region: str) -> float:
    return FloatProperty(
        name=region.capitalize(),
        description=f"How much of the magnification reaches the {region}. 0 keeps them still, 1 is the full factor",
        default=1.0,
        min=0.0,
        soft_max=2.0,
        max=MAX_REGION_GAIN,
    )


class MagPlusRegions(bpy.types.PropertyGroup):
    """One gain per face region."""

    __annotations__ = {region: _gain(region) for region in REGIONS}


def _option(option: BackendOption) -> str | bool | int | float:
    """Return the property for an option of a backend."""
    common = {"name": option.title, "description": option.description}
    if option.choices:
        items = [(str(value), title, description) for value, title, description in option.choices]
        return EnumProperty(items=items, default=str(option.default), **common)
    if option.default is None:
        return StringProperty(subtype="FILE_PATH", options=RELATIVE_PATH, **common)
    if isinstance(option.default, tuple):
        return StringProperty(**common)
    if isinstance(option.default, bool):
        return BoolProperty(default=option.default, **common)
    if isinstance(option.default, int):
        return IntProperty(default=option.default, min=int(option.low), max=int(option.high), **common)
    return FloatProperty(default=float(option.default), min=option.low, max=option.high, **common)


class MagPlusBackendOptions(bpy.types.PropertyGroup):
    """What can be set of each backend."""

    __annotations__ = {
        option_property(entry.name, option.name): _option(option) for entry in BACKENDS for option in entry.options
    }


def _strength_set(bake: MagPlusBake, _context: bpy.types.Context) -> None:
    set_strength(bake.name, bake.strength)


@with_properties
class MagPlusPlaced(bpy.types.PropertyGroup):
    """Where a result lies in the scene's time, and in the video's. A rate of 0: there is none."""

    first_frame: float = FloatProperty(name="First Frame", description="Frame of the scene at the clip's first frame")
    last_frame: float = FloatProperty(name="Last Frame", description="Frame of the scene at the clip's last frame")
    frames_per_second: float = FloatProperty(name="Rate", description="Frames of the scene per second of the clip")
    video_start: float = FloatProperty(name="Video Start", description="Time of the video at the clip's first frame")
    video: str = StringProperty(name="Driving Video", description="The video that it is of")


@with_properties
class MagPlusBake(bpy.types.PropertyGroup):
    """An expression that was keyed in this scene, and how strongly it plays."""

    strength: float = FloatProperty(
        name="Strength",
        description="How strongly the baked expression plays. 1 is as it was solved; the keys stay as they are",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        max=100.0,
        update=_strength_set,
    )


@with_properties
class MagPlusLine(bpy.types.PropertyGroup):
    """A line of what is said of a result; its text is its name."""

    kind: str = EnumProperty(name="Kind", items=(("DETAIL", "Detail", ""), ("WARNING", "Warning", "")))


def _frames_shown(result: MagPlusResult) -> bool:
    return bool(frames_shown(cast(bpy.types.Scene, result.id_data)))


def _frames_shown_set(result: MagPlusResult, on: bool) -> None:
    show_frames(cast(bpy.types.Scene, result.id_data), on)


@with_properties
class MagPlusResult(bpy.types.PropertyGroup):
    """The scene's last result, and the view before it was presented; written by `operators.result_record`."""

    folder: str = StringProperty(name="Folder", description="The job folder that it is of")
    sentence: str = StringProperty(name="Result", description="What was done. Empty: there is no result")
    verdict: str = StringProperty(name="Quality", description="good, check or failed. Empty: nobody has judged it")
    has_frames: bool = BoolProperty(name="Has Frames", description="The result has an image sequence", default=True)
    lines: bpy.types.bpy_prop_collection_idprop[MagPlusLine] = CollectionProperty(type=MagPlusLine)
    first_frame: int = IntProperty(name="First Frame", description="First frame of the scene that the result fills")
    last_frame: int = IntProperty(name="Last Frame", description="Last frame of the scene that the result fills")
    has_apex: bool = BoolProperty(name="Has Apex", description="Something moves")
    apex_frame: int = IntProperty(name="Apex", description="Frame of the scene at which the expression is strongest")
    has_onset: bool = BoolProperty(name="Has Onset", description="The expression begins within the clip")
    has_offset: bool = BoolProperty(name="Has Offset", description="The expression ends within the clip")
    frames_shown: bool = BoolProperty(
        name="Show Frames",
        description="Show the frames over what the camera sees. Without them the avatar itself is seen, with its keys. "
        "Renders stay as they are",
        get=_frames_shown,
        set=_frames_shown_set,
    )
    driving: str = StringProperty(name="Driving Video", description="The video that it is of")
    has_better: bool = BoolProperty(name="Has Better", description="A better reference is known")
    better: float = FloatProperty(
        name="Better Reference", description="Time in the video at which the face is nearer to rest"
    )
    start_frame: int = IntProperty(name="Start Frame", description="Frame of the scene where the clip starts")
    keep_apex: bool = BoolProperty(name="Keep the Apex", description="The clip was shifted to show its apex")
    stretch: float = FloatProperty(name="Time Stretch", description="How many times longer the clip plays", default=1.0)
    view_kept: bool = BoolProperty(name="View Kept", description="The preview range before the result is kept")
    before: tuple[int, int, int] = IntVectorProperty(
        name="Preview Range Before", description="Whether it was used (0, 1), its first frame, its last", size=3
    )
    preview: tuple[int, int, int] = IntVectorProperty(
        name="Preview Range", description="As it was set for the result", size=3
    )
    frame_before: int = IntProperty(name="Frame Before", description="The present frame before the result")
    loop_before: str = StringProperty(name="Playback Before", description="How playback looped before the result")


def _mirror_set(control: MagPlusControl, context: bpy.types.Context) -> None:
    """What is mirrored, is mirrored from both sides."""
    other = context.scene.magplus.controls.get(control.partner)
    if other is not None and other.mirror != control.mirror:
        other.mirror = control.mirror


@with_properties
class MagPlusControl(bpy.types.PropertyGroup):
    """A control that was found on the avatar's rig, and whether it is used."""

    kind: str = StringProperty(name="Kind")
    units: str = StringProperty(name="Action Units", description="The facial action units that its name stands for")
    left: bool = BoolProperty(name="Left", description="It is on the character's left side")
    partner: str = StringProperty(name="Partner", description="The same control on the other side of the face")
    note: str = StringProperty(name="Note", description="Why it is better not solved")
    pixels: float = FloatProperty(
        name="Pixels", description="How far it moves the visible part of the face, over its range"
    )
    visibility: float = FloatProperty(
        name="Visibility", description="Seen from the camera, of the most visible control's"
    )
    usual: bool = BoolProperty(name="Usual", description="It is solved as long as nobody chooses")
    solve: bool = BoolProperty(name="Solve", description="Find this control's curve")
    lock: bool = BoolProperty(name="Lock", description="Keep this control at its present value")
    mirror: bool = BoolProperty(
        name="Mirror", description="Let this control and that of the other side move alike", update=_mirror_set
    )


@with_properties
class MagPlusSettings(bpy.types.PropertyGroup):
    """The settings of one scene."""

    avatar: bpy.types.Object | None = PointerProperty(
        name="Avatar",
        description="The mesh object whose face is to move",
        type=bpy.types.Object,
        poll=_is_mesh,
        update=_avatar_chosen,
    )
    vertex_group: str = StringProperty(
        name="Face",
        description="Vertex group that marks the face. Left empty, the whole mesh is taken for the face",
    )
    look_through: str = EnumProperty(
        name="Seen From",
        description="From where the avatar's picture is taken",
        items=(
            ("CAMERA", "Camera", "The scene's camera"),
            ("VIEW", "Viewport", "This 3D viewport as it is when the run starts"),
        ),
    )
    driving: str = StringProperty(
        name="Driving Video",
        description="Video of a real face, or the folder or first picture of an image sequence",
        subtype="FILE_PATH",
        options=RELATIVE_PATH,
    )
    sequence_rate: float = FloatProperty(
        name="Frame Rate",
        description="Frame rate of the image sequence, which its files do not tell",
        default=0.0,
        min=0.0,
        max=10000.0,
        precision=3,
    )
    scrub: float = FloatProperty(
        name="Moment",
        description="Moment of the video, from its first frame (0) to its last (1), that the picture above shows",
        default=0.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
    )
    trims: bpy.types.Scene | None = PointerProperty(
        name="Trims",
        description="In a scene that plays a driving video: the scene that it is for",
        type=bpy.types.Scene,
    )
    trims_clip: bpy.types.MovieClip | None = PointerProperty(
        name="Trims Clip", description="The driving video that the scene plays", type=bpy.types.MovieClip
    )
    use_trim: bool = BoolProperty(name="Trim", description="Use only a part of the video")
    trim_start: float = FloatProperty(
        name="From", description="Start in the video", min=0.0, unit="TIME_ABSOLUTE", precision=3
    )
    trim_end: float = FloatProperty(
        name="To", description="End in the video", min=0.0, default=1.0, unit="TIME_ABSOLUTE", precision=3
    )
    reference_mode: str = EnumProperty(
        name="Reference",
        description="The moment at which the driver's face is at rest. All motion is measured against it",
        items=(
            ("AUTO", "Automatic", "Find a frame at rest; the report says which"),
            ("GIVEN", "Given", "Use the frame at this time of the video"),
        ),
    )
    reference: float = FloatProperty(
        name="Reference Time", description="Time in the video", min=0.0, unit="TIME_ABSOLUTE", precision=3
    )
    face_mode: str = EnumProperty(
        name="Driver's Face",
        description="Which face drives, where the video shows several",
        items=(
            ("LARGEST", "Largest", "The largest face"),
            ("INDEX", "By Number", "The faces are counted from left to right, from 0"),
        ),
    )
    face_index: int = IntProperty(name="Face", description="Counted from left to right, from 0", min=0)
    backend: str = EnumProperty(
        name="Backend",
        description="The method that moves the avatar's picture with the driver's face",
        items=[(entry.name, entry.title, entry.description) for entry in BACKENDS],
    )
    backend_options: MagPlusBackendOptions = PointerProperty(type=MagPlusBackendOptions)
    alpha_mode: str = EnumProperty(
        name="Magnification",
        description="How much the driver's motion is magnified for the backend to see it. It is undone afterwards",
        items=(
            ("AUTO", "Automatic", "The factor that brings the clip's motion to the backend's working range"),
            ("GIVEN", "Given", "Use this factor"),
        ),
    )
    alpha: float = FloatProperty(name="Factor", description="Magnification factor", default=8.0, min=1.0, max=MAX_ALPHA)
    intensity: float = FloatProperty(
        name="Intensity",
        description="Strength of the expression on the avatar. 1 is the driver's own",
        default=1.0,
        min=0.0,
        soft_max=4.0,
        max=100.0,
    )
    regions: MagPlusRegions = PointerProperty(type=MagPlusRegions)
    frames: bool = BoolProperty(name="Image Sequence", description="Make the avatar's moving picture", default=True)
    frames_to: str = EnumProperty(
        name="Show As", description="Where the image sequence goes", items=SHOW_AS, default=FRONT
    )
    moving: bool = BoolProperty(
        name="Moving Shot",
        description="Follow the avatar through frames in which it or the camera moves; otherwise it is a still",
    )
    shot_first: int = IntProperty(name="First", description="The shot's first frame", default=1, min=1, max=LAST_FRAME)
    shot_last: int = IntProperty(name="Last", description="The shot's last frame", default=48, min=1, max=LAST_FRAME)
    plates: str = StringProperty(
        name="Plates",
        description="Your own rendered sequence of the shot, as in shot.####.exr (PNG or EXR); by default it is "
        "rendered here",
        subtype="FILE_PATH",
        options=RELATIVE_PATH,
    )
    st_map: bool = BoolProperty(
        name="ST-Map", description="Leave the motion itself, too: an EXR for each frame, for the compositor"
    )
    vectors: bool = BoolProperty(name="Vectors", description="Leave the motion as vectors in pixels, too")
    shape_keys: bool = BoolProperty(
        name="Rig Controls", description="Key the avatar's shape keys, or what is chosen under Controls"
    )
    compare: bool = BoolProperty(
        name="Comparison",
        description="Also make small pictures of driver, magnified driver, result and result at four times the "
        "strength, side by side. The command line leaves them out; Compare makes them where they are missing",
        default=True,
    )
    animation: str = EnumProperty(
        name="Animation",
        description="What happens to animation that the controls have already",
        items=ANIMATION,
    )
    keep_apex: bool = BoolProperty(
        name="Keep the Apex",
        description="Shift the keys by half a frame at most, so that the apex falls on a frame of the scene, and never "
        "leave the picture of the apex out",
        default=True,
    )
    start_frame: int = IntProperty(
        name="Start Frame",
        description="Frame of the scene where the clip starts",
        default=1,
        min=-LAST_FRAME,
        max=LAST_FRAME,
        **following_scene(-LAST_FRAME, LAST_FRAME),
    )
    use_capture_frame: bool = BoolProperty(
        name="Capture At", description="Take the avatar as it is at another frame than the one where the clip starts"
    )
    capture_frame: int = IntProperty(
        name="Frame",
        description="Frame of the scene at which the avatar is at rest",
        min=-LAST_FRAME,
        max=LAST_FRAME,
    )
    capture_size: int = IntProperty(
        name="Picture",
        description="Longer side of the avatar's picture in pixels. 0 takes the scene's size where an image sequence "
        "is made, and for keys alone as much as they need",
        default=0,
        min=0,
        soft_max=4096,
        max=65536,
    )
    capture_samples: int = IntProperty(
        name="Samples",
        description="Samples of the avatar's render at most. 0 takes the scene's where an image sequence is made, and "
        "for keys alone a few",
        default=0,
        min=0,
        soft_max=256,
    )
    stretch: float = FloatProperty(
        name="Time Stretch",
        description="How many times longer than it was the expression plays: 1 is real time, 4 is slow motion",
        default=1.0,
        min=0.01,
        soft_min=0.25,
        soft_max=8.0,
        max=100.0,
        precision=3,
    )
    hold: bool = BoolProperty(
        name="Hold the End",
        description="Where the clip ends in the middle of an expression, let it stay instead of easing it back",
    )
    release: float = FloatProperty(
        name="Release",
        description="Seconds of the clip's time in which the face goes back, where the clip ends in the middle of an "
        "expression",
        default=RELEASE,
        min=0.0,
        soft_max=2.0,
        max=100.0,
        precision=3,
        unit="TIME_ABSOLUTE",
    )
    match: str = EnumProperty(
        name="Match",
        description="What of the driver's motion the rig is to have where its shapes differ from the driver's",
        items=(
            ("MOTION", "Motion", "Each part of the face moves as far as the driver's"),
            ("SHAPE", "Shape", "The nearest shape; it moves less far the more the rig's shapes differ"),
        ),
    )
    smoothing: float = FloatProperty(
        name="Smoothing",
        description="Seconds over which solved curves are smoothed. 0 leaves every frame as it was solved; anything "
        "else takes something off the apex, and the report says how much",
        default=0.0,
        min=0.0,
        soft_max=0.2,
        max=MAX_SMOOTHING,
        precision=3,
        unit="TIME_ABSOLUTE",
    )
    controls: bpy.types.bpy_prop_collection_idprop[MagPlusControl] = CollectionProperty(type=MagPlusControl)
    active_control: int = IntProperty(name="Control", options={"HIDDEN"})
    bakes: bpy.types.bpy_prop_collection_idprop[MagPlusBake] = CollectionProperty(type=MagPlusBake)
    placed: MagPlusPlaced = PointerProperty(type=MagPlusPlaced)
    result: MagPlusResult = PointerProperty(type=MagPlusResult)
    windows: bpy.types.bpy_prop_collection_idprop[MagPlusPlaced] = CollectionProperty(type=MagPlusPlaced)
    last_job: str = StringProperty(name="Last Job", description="Folder of the last finished job", options={"HIDDEN"})
    job_folder: str = StringProperty(
        name="Job Folder",
        description="Where results are kept, a folder of its own for every run",
        default="//",
        subtype="DIR_PATH",
        options=RELATIVE_PATH,
    )


CLASSES = (
    MagPlusRegions,
    MagPlusBackendOptions,
    MagPlusControl,
    MagPlusPlaced,
    MagPlusLine,
    MagPlusResult,
    MagPlusBake,
    MagPlusSettings,
)


def register() -> None:
    """Put the settings on the scene."""
    bpy.types.Scene.magplus = PointerProperty(type=MagPlusSettings)


def unregister() -> None:
    """Take them off again."""
    del bpy.types.Scene.magplus
