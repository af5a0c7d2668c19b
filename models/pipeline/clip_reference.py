# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference frame of a driving clip: whether it can be compared with others, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ...backend_bridge.files.errors import InputError
from ..face import FaceTrack, Reference, SteadyCrop, Visibility
from ..video import VideoReader
from .clip_request import SMALLEST_CROP
from .outside import Outside

HIDDEN = 0.5  # of a region, from which on it isn't seen


def with_outside(track: FaceTrack, chosen: Reference, outside: Outside | None) -> FaceTrack:
    """Return the track with a reference outside the trim as one frame more, after the clip's own."""
    if outside is None:
        return track
    return replace(
        track,
        seconds=(*track.seconds, chosen.seconds),
        points=np.concatenate([track.points, outside.face.points[None]]),
        blendshapes=np.concatenate(
            [track.blendshapes, np.array([list(outside.face.blendshapes.values())], track.blendshapes.dtype)]
        ),
        present=np.append(track.present, True),
    )


def check_reference(asked: float, track: FaceTrack, reader: VideoReader) -> None:
    """Raise `InputError` for a reference time, in seconds of the clip, that is more than a frame outside of it."""
    frame = 1 / float(reader.info.average_rate)
    start, last = float(reader.info.start), float(track.seconds[-1])
    if not -frame <= asked <= last + frame:
        raise InputError(
            f"The reference frame at {start + asked:.3f} s lies outside the clip, which goes from {start:.3f} to "
            f"{start + last:.3f} s of the video; choose a time within it, or leave the choice to MagPlus."
        )


def shows_the_same(reader: VideoReader, track: FaceTrack, reference: int, other: int) -> bool:
    """Return whether all regions of the face that frame `reference` shows are seen in frame `other`, too.

    The mesh's scores change with what hides a part of the face: under sunglasses brows seem to be at rest.
    """
    crop = SteadyCrop.follow(track, reference)
    images = {frame.index: frame.image for frame in reader if frame.index in (reference, other)}
    one, another = (crop.crop(images[index], SMALLEST_CROP, index) for index in (reference, other))
    points, everywhere = crop.landmarks(track.points, SMALLEST_CROP), torch.ones_like(one[:, :1])
    visibility = Visibility(one, points[reference], everywhere, crop.tilt)
    _, seen = visibility(another, points[[other]], everywhere)
    return max(float(share[0]) for share in visibility.unseen_regions(seen).values()) <= HIDDEN


def shows_expression(reference: float, better: float) -> str:
    """Return a sentence that says so of the reference, and names a better one; both in seconds of the video."""
    return (
        f"The reference frame at {reference:.3f} s shows an expression, so that its fading looks like the opposite; "
        f"at {better:.3f} s the face is nearer to rest: choose that as reference (--reference {better:.3f})."
    )


def with_eyes_shut(reference: float) -> str:
    """Return a sentence that says so of a reference frame, in seconds of the video."""
    return (
        f"The eyes are shut in the reference frame at {reference:.3f} s, so lids and gaze can't be measured and stay "
        "at rest; choose a frame with open eyes as reference (--reference), or a trim that has one."
    )


def begins_in_expression(reference: float) -> str:
    """Return a sentence that says so of a clip whose reference, in s of the video, is where the face is at rest."""
    return (
        f"The clip begins in an expression, so motion is measured against the frame at {reference:.3f} s, where the "
        "face is nearer to rest; give another reference if that isn't its rest."
    )
