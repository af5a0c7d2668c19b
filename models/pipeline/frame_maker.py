# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the result frame by frame, each one finished in the job folder before the next is begun."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import Outputs
from ..device import frames_at_a_time
from ..video import encode_png
from .animated_avatar import AnimatedAvatar
from .driver import Driver
from .factors import Factors, peak_motion
from .notes import Notes
from .rig_reader import RigReader


class FrameMaker:
    """Makes the result frame by frame, and leaves each one finished in the folder.

    Beside the pictures that are asked for, a frame leaves the local motion of the driver's face ("observed") and, where
    a rig is to be solved, what it says about the rig ("equations").
    """

    def __init__(
        self,
        folder: JobFolder,
        outputs: Outputs,
        driver: Driver,
        avatar: AnimatedAvatar,
        factors: Factors,
        reader: RigReader | None,
        notes: Notes,
        fingerprint: str,
    ) -> None:
        self.folder = folder
        self.outputs = outputs
        self.driver = driver
        self.avatar = avatar
        self.factors = factors
        self.reader = reader
        self.notes = notes
        self.fingerprint = fingerprint

    def run(self) -> int:
        """Make what is not finished yet; return how many frames an earlier run had finished."""
        clip, together = self.driver.clip, self.avatar.backend.info.clip_length
        groups = [clip.present[first : first + together] for first in range(0, len(clip.present), together)]
        wanted = [index for group in groups if not all(map(self._finished, group)) for index in group]
        resumed = done = len(clip.present) - len(wanted)
        size = frames_at_a_time(self.avatar.device) if together == 1 else together
        for indices, frames in clip.batches(size, wanted):
            self._make(indices, frames.to(self.avatar.device))
            done += len(indices)
            self.notes.progress("animate", done, len(clip.present))
        for index in clip.missing:
            self._hold(index)
        names = {f"{index + 1:06d}" for index in range(clip.count)}
        for kind in ("frames", "observed", "equations"):
            self.folder.keep_only(kind, {name + _suffix(kind) for name in names})
        return resumed

    def peak(self, index: int) -> float:
        """Return the local motion of the driver in frame `index`, as a share of its face's width."""
        return float(json.loads((self.folder.path / unit_path("observed", index)).read_bytes()))

    def equations(self, index: int) -> NDArray[np.float32]:
        """Return the motion equations [S, 5] of frame `index` at the rig's sites (`models.rig.sites`)."""
        found: NDArray[np.float32] = np.load(self.folder.path / unit_path("equations", index), allow_pickle=False)
        return found

    def _units(self, index: int) -> list[str]:
        """Return the files that make frame `index` a finished one."""
        units = [unit_path("observed", index)]
        if self.reader is not None:
            units.append(unit_path("equations", index))
        if self.outputs.frames:
            units.append(unit_path("frames", index))
        if self.outputs.magnified:
            units += [unit_path("driver", index), unit_path("magnified", index)]
        return units

    def _finished(self, index: int) -> bool:
        return all(self.folder.finished(unit, self.fingerprint) for unit in self._units(index))

    def _make(self, indices: list[int], frames: Tensor) -> None:
        """Make frames of the driver, [N, 3, S, S], as far as they are asked for."""
        local, rigid = self.driver.observe(frames)
        made: dict[str, list[bytes]] = {}
        animated, motion = None, None
        generating = self.outputs.frames or not (self.reader is None or self.reader.off_driver)
        if generating or self.outputs.magnified:
            driving = self.driver.magnified(frames, local, rigid, self.factors.alpha)
            if self.outputs.magnified:
                made["driver"] = self._encoded(frames, _png)
                made["magnified"] = self._encoded(driving.frames, _png)
            if generating:
                animated, motion = self.avatar.animate(driving)
                if self.outputs.frames:
                    pictures = self.avatar.restore(animated, motion, self.factors.restoring)
                    made["frames"] = self._encoded(pictures, self.avatar.picture.encode)
        peaks = peak_motion(local.flow, self.driver.mask) / self.driver.face_width
        made["observed"] = [json.dumps(float(peak)).encode() for peak in peaks]
        if self.reader is not None:
            made["equations"] = [_npy(each) for each in self.reader.read(frames, local.flow + rigid, animated, motion)]
        for kind, files in made.items():
            for index, data in zip(indices, files, strict=True):
                self._commit(unit_path(kind, index), data)

    def _encoded(self, images: Iterable[Tensor], encode: Callable[[Tensor], bytes]) -> list[bytes]:
        """Return the pictures' files; large ones take a while, so each is a chance to cancel."""
        files = []
        for image in images:
            self.notes.check_cancelled()
            files.append(encode(image))
        return files

    def _hold(self, index: int) -> None:
        """Give a frame without a face what the frame before it has: it holds, it never shifts."""
        before = [each for each in self.driver.clip.present if each < index]
        after = [each for each in self.driver.clip.present if each > index]
        source = before[-1] if before else after[0]
        for unit, held in zip(self._units(index), self._units(source), strict=True):
            self._commit(unit, (self.folder.path / held).read_bytes())

    def _commit(self, unit: str, data: bytes) -> None:
        self.folder.commit(unit, data, self.fingerprint)


def unit_path(kind: str, index: int) -> str:
    """Return where frame `index` has its file of a kind in the job folder.

    Kinds: "frames", "driver" and "magnified" (pictures), "observed", "equations".
    """
    return f"{kind}/{index + 1:06d}{_suffix(kind)}"


def _suffix(kind: str) -> str:
    return {"observed": ".json", "equations": ".npy"}.get(kind, ".png")


def _png(image: Tensor) -> bytes:
    """Return an RGB picture [3, H, W] in [0, 1] as a PNG of 8 bits."""
    return encode_png(image.permute(1, 2, 0).cpu().numpy())


def _npy(array: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return data.getvalue()
