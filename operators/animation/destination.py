# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a result goes: in time, among the animation that is there, and where its pictures are shown."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import bpy

from ...backend_bridge.files.errors import InputError
from .ends import RELEASE, Window
from .scene_time import LAST_FRAME, Placement, SourceTime, exact, place, remapped_problem, scene_rate

NEW_ACTION, LAYER, REPLACE = "NEW_ACTION", "LAYER", "REPLACE"
FRONT, PLANE, BACKGROUND, STRIP, IMAGE = "FRONT", "PLANE", "BACKGROUND", "STRIP", "IMAGE"
# As enum properties want them: identifier, name, description.
ANIMATION = (
    (NEW_ACTION, "New Action", "A new action; the present one stays in the file, unused"),
    (LAYER, "Layer on Top", "Add to the present animation, in an NLA track of its own"),
    (REPLACE, "Into the Action", "Replace the keys in the clip's interval of the present action"),
)
SHOW_AS = (
    (FRONT, "Over the View", "In front of everything that the scene's camera sees. Renders don't show it"),
    (PLANE, "Image Plane", "A plane that fills the camera's view. Renders show it"),
    (BACKGROUND, "Camera Background", "Behind what the scene's camera sees, for an avatar that is hidden"),
    (STRIP, "Sequencer Strip", "A strip in the video sequencer"),
    (IMAGE, "Image Only", "An image for you to use as you like"),
)


@dataclass(frozen=True)
class Destination:
    """Where a result goes in the scene.

    start_frame: scene frame of the clip's first frame.
    animation: `NEW_ACTION` leaves existing actions alone and puts new ones in their place; `LAYER` adds to the existing
        animation in an NLA track on top of it; `REPLACE` writes into the existing action, over the keys between the
        clip's first and last frame.
    show_as: `FRONT`, over what the camera sees, in the viewport alone; `PLANE`, a plane that fills the camera's view
        and is seen by the camera alone; `BACKGROUND`, the camera's background image; `STRIP`, a strip in the video
        sequencer; `IMAGE`, the image alone.
    keep_apex: shift keys by at most half a frame so that the apex falls on a whole frame; where pictures have to be
        left out, choose them so that the apex is shown.
    stretch: how many times longer than it was the clip plays.
    release: seconds of the clip's time in which controls go back to what is there without the clip, where it ends in
        the middle of an expression; None lets them stay where they are.
    """

    start_frame: int = 1
    animation: str = NEW_ACTION
    show_as: str = FRONT
    keep_apex: bool = True
    stretch: Fraction = Fraction(1)
    release: float | None = RELEASE

    @classmethod
    def from_settings(cls, settings: Any) -> Destination:
        """Read the scene's settings (`magplus_addon.settings.MagPlusSettings`)."""
        return cls(
            start_frame=settings.start_frame,
            animation=settings.animation,
            show_as=settings.frames_to,
            keep_apex=settings.keep_apex,
            stretch=exact(settings.stretch),
            release=None if settings.hold else float(exact(settings.release)),
        )

    def place(self, source: SourceTime, scene: bpy.types.Scene) -> Placement:
        """Return where a clip lies in the scene's time. Raises `InputError` beyond Blender's last frame.

        It raises that, too, where the scene itself stretches time.
        """
        if problem := remapped_problem(scene):
            raise InputError(problem)
        placement = place(source, self.start_frame, scene_rate(scene), self.keep_apex, self.stretch)
        if placement.frame(source.end) > LAST_FRAME:
            raise InputError(
                f"The clip would end after frame {LAST_FRAME}, which is Blender's last; lower the start frame or the "
                "time stretch."
            )
        return placement

    def frames_of(self, seconds: Fraction, scene: bpy.types.Scene) -> tuple[float, float]:
        """Return the first frame of a clip that lasts so long, and the one at its end."""
        return self.start_frame, float(self.start_frame + seconds * scene_rate(scene) * self.stretch)

    def window(self, source: SourceTime, placement: Placement) -> Window:
        """Return the part of the scene's time that the keys of a clip fill."""
        return Window.of_clip(source, placement, self.release)
