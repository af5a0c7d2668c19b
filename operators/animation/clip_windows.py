# SPDX-License-Identifier: GPL-3.0-or-later
"""What a clip fills of a character's animation, beside the clip that comes next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import bpy

from .clearing import next_after
from .destination import NEW_ACTION, Destination
from .ends import RELEASE, Window
from .scene_time import Placement, SourceTime


@dataclass(frozen=True)
class ClipWindows:
    """What a clip fills, so that the next one stays whole.

    asked: as the destination has it. keyed: of what gets keys. beside: of what gets none, and is cleared there. ease:
    frames over which goes what shows until the clip begins. over: whether the clip fades away over the next one.
    """

    asked: Window
    keyed: Window
    beside: Window
    ease: float
    over: bool = False

    @classmethod
    def of(
        cls, destination: Destination, source: SourceTime, placement: Placement, id_blocks: Iterable[bpy.types.ID]
    ) -> ClipWindows:
        """Return the windows of a clip on the data-blocks of a character."""
        asked = destination.window(source, placement)
        eased = replace(destination, release=RELEASE) if asked.holds else destination
        fading = eased.window(source, placement)
        following, ease = next_after(id_blocks, asked.last), fading.end - fading.last
        begins = None if following is None else following.at_rest
        beside = fading.ended_by(begins)
        if destination.animation == NEW_ACTION:  # which plays alone
            return cls(asked, asked, beside, ease)
        if following is not None and following.covered and beside != fading:
            # The next one can't stay by itself: this clip covers its quiet beginning, and lasts until it moves.
            return cls(asked, fading, beside, ease, over=True)
        return cls(asked, asked.until(begins, ease) if asked.endless else beside, beside, ease)

    @property
    def shortened(self) -> Window | None:
        """The window of what gets keys, where it is another than the one that was asked for."""
        return None if self.keyed == self.asked else self.keyed

    @property
    def given_way(self) -> Window:
        """The window at whose end the clip gives way to the next one."""
        return self.beside if self.over else self.keyed
