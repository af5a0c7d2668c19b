# SPDX-License-Identifier: GPL-3.0-or-later
"""The image sequence of a moving shot: each of the scene's frames, moved by what the driver's face does at its time.

ST-maps have the convention of Nuke's STMap node: red is u, green is v, from 0 at the left and bottom edge of the
picture to 1 at the right and top edge, so that the middle of pixel x of W is (x + 0.5) / W. Blue is 1 wherever there is
something to show, which is everywhere. Vectors are in px, from a pixel to the one that it shows, x right, y up.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ....backend_bridge.files.errors import InputError
from ....backend_bridge.files.hashing import fingerprint_of
from ....backend_bridge.files.plain import hash_plain
from ....backend_bridge.job import artefacts
from ....backend_bridge.job.artefacts import (
    MOTION,
    PLATES,
    SHOT_EXR,
    SHOT_KINDS,
    SHOT_PNG,
    ST_MAPS,
    SURFACES,
    VECTORS,
    FrameKind,
)
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.report import Report, ShotReport
from ....backend_bridge.job.scene_time import Placement, SourceTime, nearest, place_in_shot
from ....backend_bridge.job.shot import Shot, plate_of
from ....backend_bridge.job.spec import Outputs, resolve
from ....backend_bridge.job.stages import Stage
from ....backend_bridge.rig.easing import smooth_step
from ....backend_bridge.rig.surface import Surface
from ...video import encode_png
from ...video.exr_passes import Exr, encode_floats
from ...video.marks import SourceType
from ...warp import backward_displacement, resize_flow, sample
from ..animated_avatar import AnimatedAvatar
from ..batch import Batch
from ..carrying import Carrier, carrier
from ..exr_look import look_of
from ..factors import Factors
from ..notes import Notes
from ..plates import Plate, Shift, read_plate
from ..provenance import Provenance
from . import Made

LARGEST_MOTION = 256  # px of a side of the motion as it is kept; it is smooth
HARDLY_SEEN = 0.1  # of the face's surface
_MADE = 2  # how the shot's frames are made; a new number when that changes


@dataclass(frozen=True)
class Moment:
    """What a frame of the scene shows of the clip: between frames `before` and `after`, times `strength`."""

    before: int
    after: int
    share: Fraction
    strength: float


def moment_of(source: SourceTime, placement: Placement, number: int, release: float | None) -> Moment:
    """Return what a frame of the scene shows: nothing before the clip; after it, the last frame goes back to none.

    Motion is interpolated in time between the two clip frames around it, exactly; the apex falls on a whole frame where
    the placement keeps it.
    """
    seconds, at = source.seconds, placement.seconds(number)
    last = len(seconds) - 1
    if at < seconds[0]:
        return Moment(0, 0, Fraction(0), 0.0)
    if at >= seconds[last]:
        late = float(at - seconds[last])
        share = 0.0 if release is None or late == 0 else 1.0 if release == 0 else min(late / release, 1.0)
        return Moment(last, last, Fraction(0), 1.0 - smooth_step(share))
    close = nearest(seconds, at)
    before = close if seconds[close] <= at else close - 1
    return Moment(before, before + 1, (at - seconds[before]) / (seconds[before + 1] - seconds[before]), 1.0)


class MovingShot:
    """The shot's frames with the driver's expression; the clip's frames leave their motion, restored."""

    kinds = (MOTION,)

    def __init__(
        self,
        folder: JobFolder,
        shot: Shot,
        outputs: Outputs,
        avatar: AnimatedAvatar,
        factors: Factors,
        notes: Notes,
        provenance: Provenance,
    ) -> None:
        self._folder = folder
        self._shot = shot
        self._outputs = outputs
        self._avatar = avatar
        self._factors = factors
        self._notes = notes
        self._provenance = provenance
        suffix = Path(shot.plates).suffix.lower() if shot.plates else SHOT_PNG.suffix
        self._pictures = SHOT_EXR if suffix == SHOT_EXR.suffix else SHOT_PNG
        self._neutral = Surface.load(resolve(folder.path, artefacts.AVATAR_SURFACE))
        if self._neutral.image_size != avatar.picture.size:
            raise InputError("The shot's surface and the avatar's picture are of different captures; capture it again.")

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return the restored motion on the neutral picture, [2, S, S] float16 px of the crop."""
        flow = self._avatar.restored(batch.generated, self._factors.restoring).flow.cpu()
        if (side := flow.shape[-1]) > LARGEST_MOTION:
            flow = resize_flow(flow, LARGEST_MOTION, LARGEST_MOTION) * (side / LARGEST_MOTION)
        return [[_encoded(each) for each in flow.numpy()]]

    def finish(self, report: Report, made: Made) -> Report:
        """Move the shot's frames that are not finished yet."""
        source = SourceTime.from_report(report)
        placement = place_in_shot(source, self._shot)
        numbers = self._shot.numbers
        neutral_sha = hash_plain(self._folder.path / artefacts.AVATAR_SURFACE)
        hidden, resumed, size = [], 0, (1, 1)
        for done, number in enumerate(numbers):
            self._notes.check_cancelled()
            self._notes.progress(Stage.SHOT, done, len(numbers))
            moment = moment_of(source, placement, number, self._shot.release)
            surface = Surface.load(resolve(self._folder.path, SURFACES.unit(number - 1)))
            size = surface.image_size
            carried = carrier(self._neutral, surface)
            if carried is None or carried.shown < HARDLY_SEEN:
                hidden.append(number)
            made_from = self._fingerprint(number, moment, neutral_sha)
            if all(self._folder.finished(kind.unit(number - 1), made_from) for kind in self._made):
                resumed += 1
                continue
            self._make_frame(number, moment, size, carried, made_from)
        self._notes.progress(Stage.SHOT, len(numbers), len(numbers))
        self._clear(numbers)
        self._tell(hidden, source, placement)
        apex = None if source.apex is None else round(placement.frame(source.seconds[source.apex]))
        shot = ShotReport(
            pattern=self._pictures.pattern,
            first=numbers[0],
            count=len(numbers),
            size=size,
            resumed=resumed,
            st_map=self._outputs.st_map,
            vectors=self._outputs.vectors,
            start_frame=placement.start_frame,
            rate=placement.fps,
            stretch=placement.stretch,
            shift=placement.shift,
            apex_frame=apex,
            hidden=tuple(hidden),
        )
        if self._pictures is SHOT_EXR and shot.nearest_to_apex is not None:
            self._show(shot.nearest_to_apex)
        return replace(report, shot=shot)

    @property
    def _made(self) -> Sequence[FrameKind]:
        """The kinds of files that each frame of the scene gets."""
        maps = (ST_MAPS,) if self._outputs.st_map else ()
        return (self._pictures, *maps, *((VECTORS,) if self._outputs.vectors else ()))

    def _plate(self, number: int) -> Path:
        if self._shot.plates:
            return plate_of(self._shot.plates, number)
        return resolve(self._folder.path, PLATES.unit(number - 1))

    def _fingerprint(self, number: int, moment: Moment, neutral_sha: str) -> str:
        plate = self._plate(number)
        try:
            plate_sha = hash_plain(plate)
        except OSError as error:
            raise InputError(f"The plate {plate} is missing; render it, or capture the shot again.") from error
        return fingerprint_of(
            _MADE,
            self._provenance.made_from,
            neutral_sha,
            hash_plain(resolve(self._folder.path, SURFACES.unit(number - 1))),
            plate_sha,
            [moment.before, moment.after, str(moment.share), moment.strength],
        )

    def _make_frame(
        self, number: int, moment: Moment, size: tuple[int, int], carried: Carrier | None, made_from: str
    ) -> None:
        plate = read_plate(self._plate(number))
        if plate.size != size:
            raise InputError(
                f"{self._plate(number).name} is {plate.size[0]} x {plate.size[1]} px large, but the scene renders "
                f"{size[0]} x {size[1]} px; set the scene's resolution to the plates', and capture the shot again."
            )
        shift = None
        if carried is not None and moment.strength > 0:
            window = self._avatar.window
            shift = shift_of(carried, carried.carry(motion_at(self._folder, moment, window.crop_size), window))
        for kind in self._made:
            self._folder.commit(kind.unit(number - 1), self._file(kind, plate, shift, size), made_from)

    def _file(self, kind: FrameKind, plate: Plate, shift: Shift | None, size: tuple[int, int]) -> bytes:
        mark = self._provenance.mark(SourceType.COMPOSITE)
        entries = {"software": mark.tool, "magplusJob": mark.identity}
        if kind is ST_MAPS:
            return st_map(shift, size, **entries)
        if kind is VECTORS:
            return vectors(shift, size, **entries)
        picture = plate.moved(shift, digitalSourceType=mark.source.value, **entries)
        return self._provenance.stamped(picture, mark.source) if kind is SHOT_PNG else picture

    def _show(self, number: int) -> None:
        """Leave a picture of a finished frame for what shows no EXR."""
        frame = resolve(self._folder.path, self._pictures.unit(number - 1))
        made_from = hash_plain(frame)
        if not self._folder.finished(artefacts.SHOT_APEX, made_from):
            look = look_of(Exr.read(frame))
            if look is not None:
                picture = self._provenance.stamped(encode_png(look), SourceType.COMPOSITE)
                self._folder.commit(artefacts.SHOT_APEX, picture, made_from)

    def _clear(self, numbers: range) -> None:
        """Delete what an earlier run has left of another interval or of other outputs."""
        for kind in SHOT_KINDS:
            self._folder.keep_only(kind, len(numbers) if kind in self._made else 0, numbers[0] - 1)

    def _tell(self, hidden: Sequence[int], source: SourceTime, placement: Placement) -> None:
        numbers = self._shot.numbers
        if len(hidden) == len(numbers):
            self._notes.warning("The shot hardly shows the part of the face that the neutral picture shows.")
        elif hidden:
            self._notes.warning(
                f"{len(hidden)} of {len(numbers)} frames of the shot, {hidden[0]} first, hardly show the part of the "
                "face that the neutral picture shows; they stay as they were rendered."
            )
        first, last = placement.frame(source.seconds[0]), placement.frame(source.seconds[-1])
        if last < numbers[0] or first > numbers[-1]:
            self._notes.warning(
                f"The clip plays from frame {float(first):.0f} to {float(last):.0f}, outside the shot; change the "
                "start frame."
            )
        elif source.apex is not None and not numbers[0] <= placement.frame(source.seconds[source.apex]) <= numbers[-1]:
            self._notes.warning("The apex of the expression lies outside the shot; change the start frame.")
        if not self._avatar.gives_motion:
            self._notes.warning(
                "Of what the backend generated, the moving shot has the motion alone; wrinkles and teeth that it added "
                "are left out."
            )


def motion_at(folder: JobFolder, moment: Moment, side: int) -> Tensor:
    """Return the motion at a moment from what the clip's frames have left, [1, 2, side, side] px of the crop."""
    share = float(moment.share)
    flow = (1 - share) * _flow(folder, moment.before, side)
    if share:
        flow = flow + share * _flow(folder, moment.after, side)
    return flow * moment.strength


def _flow(folder: JobFolder, index: int, side: int) -> Tensor:
    flow = np.load(io.BytesIO(folder.read(MOTION.unit(index))), allow_pickle=False)
    whole, kept = torch.from_numpy(flow.astype(np.float32))[None], flow.shape[-1]
    return whole if kept == side else resize_flow(whole, side, side) * (kept / side)


def shift_of(carried: Carrier, flow: Tensor) -> Shift:
    """Return how far the pixels of the moved picture have come, from motion on the carrier's grid."""
    grid = carried.grid
    # Inverted on the grid and only then brought to the picture's resolution: it is smooth.
    come = carried.beside_occluders(backward_displacement(flow / grid.step).displacement * grid.step)
    width, height = grid.right - grid.left, grid.bottom - grid.top
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return Shift(grid.left, grid.top, sample(come, torch.stack([x, y])[None].float() / grid.step))


def st_map(shift: Shift | None, size: tuple[int, int], **entries: str) -> bytes:
    """Return the ST-map of a picture of (width, height) px, see the module."""
    x, y = _sources(shift, size)
    width, height = size
    u, v = (x + 0.5) / width, 1 - (y + 0.5) / height
    return encode_floats(
        {"R": u.astype(np.float32), "G": v.astype(np.float32), "B": np.ones_like(u, np.float32)}, **entries
    )


def vectors(shift: Shift | None, size: tuple[int, int], **entries: str) -> bytes:
    """Return the vectors of a picture of (width, height) px, see the module."""
    width, height = size
    x, y = _sources(shift, size)
    right, up = x - np.arange(width), np.arange(height)[:, None] - y
    return encode_floats(
        {"R": right.astype(np.float32), "G": up.astype(np.float32), "B": np.zeros_like(right, np.float32)}, **entries
    )


def _sources(shift: Shift | None, size: tuple[int, int]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the x and y px, [H, W] each, of what every pixel shows."""
    width, height = size
    x, y = (np.array(each, np.float64) for each in np.broadcast_arrays(np.arange(width), np.arange(height)[:, None]))
    if shift is not None:
        come = shift.come[0].numpy()
        where = slice(shift.top, shift.top + come.shape[1]), slice(shift.left, shift.left + come.shape[2])
        come = np.where(shift.moved, come, 0)
        x[where] -= come[0]
        y[where] -= come[1]
    return x, y


def _encoded(flow: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    np.save(data, flow.astype(np.float16), allow_pickle=False)
    return data.getvalue()
