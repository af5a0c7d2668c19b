# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the result frame by frame, each one finished in the job folder before the next is begun."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from backend_bridge.job import Outputs
from backend_bridge.job_folder import JobFolder
from backend_bridge.rig_basis import RigBasis
from models.magnification.motion import Motion
from models.measure import Factors, peak_motion
from models.report import Notes
from models.rig.sampling import sample_motion
from models.stages import AnimatedAvatar, Driver
from models.video import encode_png

BATCH = 4


@dataclass(frozen=True)
class Observation:
    """What one finished frame showed.

    peak: local motion of the driver as a share of its face's width. displacement [V, 2] px of the avatar's picture
    and confidence [V] at the rig's vertices, empty without a rig.
    """

    peak: float
    displacement: NDArray[np.float32]
    confidence: NDArray[np.float32]

    def encode(self) -> bytes:
        """Return the bytes of an .npz."""
        data = io.BytesIO()
        np.savez(data, peak=self.peak, displacement=self.displacement, confidence=self.confidence)
        return data.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Observation:
        """Read what `encode` wrote."""
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return cls(float(arrays["peak"]), arrays["displacement"], arrays["confidence"])


class FrameMaker:
    """Makes the result frame by frame, and leaves each one finished in the folder."""

    def __init__(
        self,
        folder: JobFolder,
        outputs: Outputs,
        driver: Driver,
        avatar: AnimatedAvatar,
        factors: Factors,
        basis: RigBasis | None,
        notes: Notes,
        fingerprint: str,
    ) -> None:
        self.folder = folder
        self.outputs = outputs
        self.driver = driver
        self.avatar = avatar
        self.factors = factors
        self.basis = basis
        self.notes = notes
        self.fingerprint = fingerprint

    def run(self) -> int:
        """Make what is not finished yet; return how many frames an earlier run had finished."""
        clip, together = self.driver.clip, self.avatar.backend.info.clip_length
        groups = [clip.present[first : first + together] for first in range(0, len(clip.present), together)]
        wanted = [index for group in groups if not all(map(self._finished, group)) for index in group]
        resumed = done = len(clip.present) - len(wanted)
        for indices, frames in clip.batches(BATCH if together == 1 else together, wanted):
            self._make(indices, frames.to(self.avatar.device))
            done += len(indices)
            self.notes.progress("animate", done, len(clip.present))
        for index in clip.missing:
            self._hold(index)
        names = {f"{index + 1:06d}" for index in range(clip.count)}
        for directory, suffix in (("frames", ".png"), ("observed", ".npz")):
            self.folder.keep_only(directory, {name + suffix for name in names})
        return resumed

    def observation(self, index: int) -> Observation:
        """Return what frame `index` showed."""
        return Observation.decode((self.folder.path / unit_path("observed", index)).read_bytes())

    def _units(self, index: int) -> list[str]:
        """Return the files that make frame `index` a finished one."""
        units = [unit_path("observed", index)]
        if self.outputs.frames:
            units.append(unit_path("frames", index))
        if self.outputs.magnified:
            units += [unit_path("driver", index), unit_path("magnified", index)]
        return units

    def _finished(self, index: int) -> bool:
        return all(self.folder.finished(unit, self.fingerprint) for unit in self._units(index))

    def _make(self, indices: list[int], frames: Tensor) -> None:
        local, rigid = self.driver.observe(frames)
        driving = self.driver.magnified(frames, local, rigid, self.factors.alpha)
        animated, motion = self.avatar.animate(driving)
        restored, pictures = self.avatar.restore(animated, motion, self.factors.restoring)
        peaks = peak_motion(local.flow, self.driver.mask) / self.driver.face_width
        displacement, confidence = self._at_vertices(restored)
        for number, index in enumerate(indices):
            self.notes.check_cancelled()
            if self.outputs.magnified:
                self._commit(unit_path("driver", index), _png(frames[number]))
                self._commit(unit_path("magnified", index), _png(driving.frames[number]))
            if self.outputs.frames:
                self._commit(unit_path("frames", index), self.avatar.picture.encode(pictures[number]))
            observation = Observation(float(peaks[number]), displacement[number], confidence[number])
            self._commit(unit_path("observed", index), observation.encode())

    def _at_vertices(self, restored: Motion) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        count = restored.flow.shape[0]
        if self.basis is None:
            return np.empty((count, 0, 2), np.float32), np.empty((count, 0), np.float32)
        return sample_motion(restored, self.basis.positions, self.avatar.window.to_crop_affine())

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
    """Return where frame `index` has its "frames", "driver", "magnified" or "observed" file in the job folder."""
    suffix = "npz" if kind == "observed" else "png"
    return f"{kind}/{index + 1:06d}.{suffix}"


def _png(image: Tensor) -> bytes:
    """Return an RGB picture [3, H, W] in [0, 1] as a PNG of 8 bits."""
    return encode_png(image.permute(1, 2, 0).cpu().numpy())
