# SPDX-License-Identifier: GPL-3.0-or-later
"""MagPlus and DeMagPlus: one class, two roles.

`Magnifier.motion` estimates motion in passes, `Magnifier.apply` changes it:

    1. weigh            what a video codec copied                                       `copied_blocks`
    2. estimate         pyramidal Gauss-Newton                                          `solver`
    3. pool             frames of a clip, as modes in time (MagPlus)                    `temporal_modes`
    4. refine           learned fields, MAP motion, correction                          `refinement`
    5. repeat           Gauss-Newton at the corrected motion, refine (`PASSES`)
    6. arbitrate        between solver and network, in the last pass                    `arbitration`
    7. magnify          alpha x motion, and the picture that has it                     `synthesis`
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ...backend_bridge.files.hashing import hash_file
from ..device import choose_device
from ..warp import resize_flow
from .arbitration import SENSOR_NOISE
from .camera_state import camera_state
from .copied_blocks import coded, copied_share, weight_of
from .filters import resize, shrink
from .motion import Motion
from .refinement import Refinement
from .solver import FlowSettings, Observation, estimate, estimate_near, levels_for, to_motion
from .synthesis import compressed, magnify
from .temporal_modes import TemporalModes, fine_change, with_sensor_noise, without_codec

Role = Literal["magplus", "demagplus"]
ROLES: tuple[Role, ...] = get_args(Role)
SMALLEST_SIDE = 64  # px, the least picture: three levels of the pyramid
LEARNED_SIDE = 256  # px, pictures of the training; larger ones are reduced to it
LARGEST_SIDE = 320  # px along the shorter side, the largest picture with a codec's errors that is not reduced
PASSES: dict[Role, int] = {"magplus": 1, "demagplus": 5}  # chosen on people 8000 to 8015, see docs/model-card.md
WEIGHTS = Path(__file__).resolve().parent.parent / "weights"


class Magnifier:
    """Measures motion against a reference frame and makes it `alpha` times as large.

    settings: of the solver. refinement: the network; None is the solver alone. precision: of the network's
    convolutions, float32 or bfloat16; everything else is float32. passes: linearisations with a refinement each; large
    motion needs more than one. weights_sha256: of the weights' file, empty without one.

    >>> solver = Magnifier(torch.device("cpu"))
    >>> picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    >>> moved = picture.roll(1, 3)
    >>> bool((solver.apply(picture, moved, 1.0) == moved).all()), solver.motion(picture, moved).flow.shape
    (True, torch.Size([1, 2, 64, 64]))
    """

    def __init__(
        self,
        device: torch.device,
        settings: FlowSettings | None = None,
        refinement: Refinement | None = None,
        precision: torch.dtype = torch.float32,
        passes: int = 1,
        weights_sha256: str = "",
    ) -> None:
        if precision not in (torch.float32, torch.bfloat16):
            raise ValueError(f"precision must be torch.float32 or torch.bfloat16, not {precision}")
        self.device = device
        self.precision = precision
        self.passes = passes
        self.weights_sha256 = weights_sha256
        self.settings = settings or FlowSettings()
        self.refinement = None if refinement is None else refinement.to(device).eval()

    @property
    def trained(self) -> bool:
        """Whether learned weights are in use."""
        return self.refinement is not None

    @classmethod
    def load(
        cls, role: Role, device: str = "auto", folder: Path = WEIGHTS, precision: torch.dtype = torch.float32
    ) -> Magnifier:
        """Return the magnifier for a role on "cpu", "cuda", "mps" or the best device there is ("auto").

        Without `<role>.safetensors` in `folder` it is the solver alone (`trained` is False).

        Raises:
            ValueError: no such role.
            MachineError: this machine doesn't have the device.
        """
        if role not in ("magplus", "demagplus"):
            raise ValueError(f"role must be 'magplus' or 'demagplus', not {role!r}")
        weights = folder / f"{role}.safetensors"
        if not weights.is_file():
            return cls(choose_device(device), precision=precision, passes=PASSES[role])
        return cls(
            choose_device(device),
            refinement=Refinement.load(weights),
            precision=precision,
            passes=PASSES[role],
            weights_sha256=hash_file(weights),
        )

    @torch.inference_mode()
    def motion(self, reference: Tensor, frames: Tensor, clip: bool = False, copied: Tensor | None = None) -> Motion:
        """Return how N frames moved against the reference.

        reference: [1, 3, H, W] float32 RGB in [0, 1]; frames: [N, 3, H, W]; H, W >= 64. clip: the frames are of one
        clip, in any order, and MagPlus averages a sensor's noise over them (`temporal_modes`); otherwise each is
        measured as if it were alone, as a single frame always is. copied: [N, 1, H, W] in [0, 1], what a codec copied
        (`copied_share`), where the pictures are resampled from decoded ones; otherwise it is found in them. Raises
        `ValueError` for other shapes. With a network,
        pictures of more than `LARGEST_SIDE` px in which a codec has left its errors are reduced to `LEARNED_SIDE`, the
        size of its training, which averages those; others have their finest motion in their finest detail. The motion
        is in px of the picture given.
        """
        reference, frames = self._checked(reference, frames)
        height, width = frames.shape[2:]
        shorter = min(height, width)
        copied = copied_share(reference, frames) if copied is None else copied.to(frames)
        if self.refinement is None or shorter <= LARGEST_SIDE or self._is_uncoded(reference, frames, copied):
            return self._motion(reference, frames, clip, copied)
        size = (round(height * LEARNED_SIDE / shorter), round(width * LEARNED_SIDE / shorter))
        reference, frames, copied = (shrink(images, size) for images in (reference, frames, copied))
        motion = self._motion(reference, frames, clip, copied)
        return Motion(resize_flow(motion.flow, height, width), resize(motion.confidence, (height, width)))

    def _is_uncoded(self, reference: Tensor, frames: Tensor, copied: Tensor) -> bool:
        """Whether no codec has left its errors in any of the frames, as far as MagPlus can tell.

        All of them are measured at one size: what is found of a motion depends on it, and a curve must not. So one
        frame with such errors tells, first of all one with copied blocks.
        """
        camera = None if self.refinement is None else self.refinement.camera
        if camera is None or bool((coded(copied) > 0).any()):
            return False

        def is_uncoded(frame: Tensor, copied: Tensor) -> bool:
            state = camera_state(reference, frame)
            return bool(without_codec(state, camera.inflation(state), copied).all())

        return all(is_uncoded(*each) for each in zip(frames.split(1), copied.split(1), strict=True))

    def _motion(self, reference: Tensor, frames: Tensor, clip: bool, copied: Tensor) -> Motion:
        """Return the motion at the picture's own size; pictures are padded to whole cells of the coarsest level."""
        height, width = frames.shape[2:]
        step = 2 ** levels_for(height, width, len(self.settings.iterations))
        padding = (0, -width % step, 0, -height % step)
        if any(padding):
            reference, frames, copied = (F.pad(each, padding, mode="replicate") for each in (reference, frames, copied))
        weight = weight_of(copied, (frames.shape[2] // 2, frames.shape[3] // 2))
        observed = estimate(reference, frames, self.settings, weight)
        if self.refinement is not None and self.refinement.covers(observed):
            observed = self._refined(self.refinement, observed, reference, frames, copied, weight, clip)
        padded = (height + padding[3], width + padding[1])
        motion = to_motion(observed, padded, self.settings.tolerance)
        return Motion(
            motion.flow[..., :height, :width].contiguous(), motion.confidence[..., :height, :width].contiguous()
        )

    def _refined(
        self,
        network: Refinement,
        observed: Observation,
        reference: Tensor,
        frames: Tensor,
        copied: Tensor,
        weight: Tensor | None,
        clip: bool,
    ) -> Observation:
        """Return the solver's observation with the network's motion.

        copied: [N, 1, H, W], what a codec copied; weight: the equations', which follows from it.
        """
        brightness = resize(reference.mean(1, keepdim=True), (observed.motion.shape[2], observed.motion.shape[3]))
        state = camera_state(reference, frames)
        seen, modes, inflation = observed, None, None
        from_codec: Tensor | float = 0.0
        if network.camera is not None:
            inflation = network.camera.inflation(state)
            members = with_sensor_noise(state, inflation, copied)
            from_codec = coded(copied)
            inflation = inflation.index_fill(0, members, SENSOR_NOISE)
            if clip and len(members) > 1:
                modes = TemporalModes.of(observed, fine_change(reference, frames), members, self.settings)
                seen, state = modes.observation, modes.mean(state)
        for number in range(self.passes):
            if number:
                seen = estimate_near(reference, frames, seen.motion, self.settings, weight)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == torch.bfloat16):
                seen = network(seen, brightness, state, number + 1 == self.passes, inflation, from_codec)
        return seen if modes is None else replace(observed, motion=modes.in_frames(seen.motion))

    @torch.inference_mode()
    def apply(
        self,
        reference: Tensor,
        frames: Tensor,
        alpha: float,
        region: Tensor | None = None,
        motion: Motion | None = None,
        rigid: Tensor | None = None,
        limit: float | None = None,
    ) -> Tensor:
        """Return [N, 3, H, W] frames whose motion against the reference is `alpha` times as large.

        alpha > 0: above 1 magnifies, 1 returns the frames themselves, towards 0 the result becomes the reference.
        region: [1 or N, 1, H, W] > 0 multiplies alpha in space, given on the reference's pixels.
        motion: what `motion` returned for these frames, where it has been estimated already.
        rigid: [1 or N, 2, H, W] px, motion of the head as a whole; it is removed, so that the result stays in the
            reference's head pose.
        limit: px, largest magnified motion; alpha is lowered beyond (`compressed`: blinks, speech).
        """
        reference, frames = self._checked(reference, frames)
        if not alpha > 0:
            raise ValueError(f"alpha must be above 0, not {alpha}")
        if alpha == 1 and region is None and rigid is None:
            return frames.clone()
        if motion is None:
            motion = self.motion(reference, frames)
        motion = Motion(motion.flow.to(self.device), motion.confidence.to(self.device))
        rigid = None if rigid is None else rigid.to(self.device)
        factor = frames.new_full((1, 1, 1, 1), alpha)
        if region is not None:
            factor = factor * region.to(self.device)
        if limit is not None:
            factor = compressed(factor, motion.flow if rigid is None else motion.flow - rigid, limit)
        return magnify(reference, frames, motion, factor, rigid)

    def _checked(self, reference: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return both on the device as float32. Raises `ValueError` for shapes that don't fit."""
        if frames.ndim != 4 or frames.shape[1] != 3 or reference.shape != (1, *frames.shape[1:]):
            raise ValueError(
                f"expected reference [1, 3, H, W] and frames [N, 3, H, W], not {list(reference.shape)} and "
                f"{list(frames.shape)}"
            )
        if min(frames.shape[2:]) < SMALLEST_SIDE:
            raise ValueError(f"images must be at least {SMALLEST_SIDE} px wide and high, not {list(frames.shape[2:])}")
        return (images.to(self.device, torch.float32) for images in (reference, frames))  # type: ignore[return-value]
