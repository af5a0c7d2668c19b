# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a motion is, and the two factors that follow from it: the magnification and the restoration."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...backend_bridge.files.typed_json import Format
from ...backend_bridge.job import artefacts
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.spec import JobSpec
from ...backend_bridge.job.stages import Stage
from ..device import frames_at_a_time
from .animated_avatar import AnimatedAvatar
from .driver import Driver, Observation
from .notes import Notes

PROBES = 12
WEAK_GAIN = 0.1
AUTO_ALPHA_RANGE = (1.0, 16.0)
WORKING_RANGE = 0.0225  # of the face's width: the peak motion that backends were trained on
LEAST_MOTION = 1e-3  # of the face's width; below it a clip shows nothing but noise


def peak_motion(flow: Tensor, region: Tensor) -> Tensor:
    """Return the 95th percentile of |flow| in a soft region, [N], in the flow's px.

    flow: [N, 2, H, W]; region: [1, 1, H, W] in [0, 1], membership counts from one half on. The percentile is of the
    pixels that move: of a brow alone most of the face would drown it, so it is taken over the most moving tenth.
    """
    inside = region[0, 0] > 0.5
    if not bool(inside.any()):
        return flow.new_zeros(flow.shape[0])
    length = flow.norm(dim=1)[:, inside]
    count = max(1, length.shape[1] // 10)
    return length.topk(count, dim=1).values.median(dim=1).values


def skin_motion(driver: Driver, observed: Observation) -> Tensor:
    """Return the peak motion of the driver's face, [N] px, without lids that blink: they would drown the rest."""
    return peak_motion(observed.local.flow * (1 - observed.told), driver.mask)


@dataclass(frozen=True)
class Factors:
    """What the probe frames decided; `peak_share` is the driver's peak motion as a share of its face's width."""

    alpha: float
    gain: float
    restoring: float
    peak_share: float


FACTORS = Format(Factors, artefacts.FACTORS, "a record of a run's factors", "run the job again")


def automatic_alpha(peak: float, face_width: float) -> float:
    """Return the factor that brings the clip's `peak` motion (px) to the backends' working range, within [1, 16]."""
    share = max(peak / face_width, LEAST_MOTION)
    low, high = AUTO_ALPHA_RANGE
    return min(max(WORKING_RANGE / share, low), high)


def measured_gain(generated_peaks: Tensor, shown_peaks: Tensor) -> float:
    """Return the backend's gain from face-relative peaks of the probe frames, both [P].

    The ratio of sums weights frames by their motion, so that still frames, where both are noise, have no say.
    """
    shown = float(shown_peaks.sum())
    return float(generated_peaks.sum()) / shown if shown > 0 else 1.0


def restoring_factor(alpha: float, gain: float, intensity: float) -> float:
    """Return what the generated motion is multiplied by, so that the result moves `intensity` times as the driver."""
    return intensity / (alpha * gain)


def factors_of(
    folder: JobFolder, spec: JobSpec, driver: Driver, avatar: AnimatedAvatar, notes: Notes, fingerprint: str
) -> Factors:
    """Return the factors of an earlier run with the same inputs, so that its frames fit ours, or choose them."""
    if folder.finished(artefacts.FACTORS, fingerprint):
        return FACTORS.decode((folder.path / artefacts.FACTORS).read_bytes())
    factors = choose_factors(spec, driver, avatar, notes)
    folder.commit(artefacts.FACTORS, FACTORS.encode(factors), fingerprint)
    return factors


def choose_factors(spec: JobSpec, driver: Driver, avatar: AnimatedAvatar, notes: Notes) -> Factors:
    """Measure the frames in which the face moves most; a clip is a few of them and many still ones."""
    probes = driver.clip.liveliest(PROBES)
    batches: list[tuple[Tensor, Observation]] = []
    done = 0
    for indices, seen in driver.clip.batches(frames_at_a_time(avatar.device), probes):
        seen = seen.to(avatar.device)
        batches.append((seen.frames, driver.observe(seen)))
        done += len(indices)
        notes.progress(Stage.MEASURE, done, len(probes))
    peaks = torch.cat([skin_motion(driver, observed) for _, observed in batches])
    peak = float(peaks.max())
    alpha = spec.magnification.alpha or automatic_alpha(peak, driver.face_width)

    shown, generated = [], []
    known = False
    for frames, observed in batches:
        notes.check_cancelled()
        driving = driver.magnified(frames, observed, alpha)
        animated, motion = avatar.animate(driving)
        known = animated.motion is not None
        if known:
            break  # it applies what it is shown: nothing to measure
        shown.append(peak_motion(driving.motion.flow, driver.mask) / driver.face_width)
        generated.append(peak_motion(motion.flow, avatar.mask) / avatar.face_width)
    gain = 1.0 if known else measured_gain(torch.cat(generated), torch.cat(shown))
    if gain < WEAK_GAIN:
        notes.warning(
            f"{avatar.backend.info.title} hardly answered the magnified motion (gain {gain:.3f}), so the result shows "
            "mostly noise; try a higher magnification or another backend."
        )
        gain = WEAK_GAIN
    return Factors(alpha, gain, restoring_factor(alpha, gain, spec.intensity), peak / driver.face_width)
