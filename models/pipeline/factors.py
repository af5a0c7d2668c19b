# SPDX-License-Identifier: GPL-3.0-or-later
"""How large a motion is, and the two factors that follow from it: the magnification and the restoration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...backend_bridge.files.typed_json import Format
from ...backend_bridge.job import artefacts
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.report import OwnChanges
from ...backend_bridge.job.spec import JobSpec
from ...backend_bridge.job.stages import Stage
from ..magnification.filters import kth_smallest
from .animated_avatar import AnimatedAvatar
from .driver import Driver, DriverMotion
from .even_field import distinct
from .generated import Generated
from .notes import Notes
from .probes import Probed, Probes

AT_REST = 0.25  # of the liveliest probe's motion: what a frame shows at most in which the driver is at rest
LEAST_GAIN = 0.1  # below it a backend does not answer
WEAK_GAIN = 0.3  # below it the restored motion is mostly the backend's error
SEEN_SHAKE = 2e-3  # of the face's width: head motion from which on there is a warning
SEEN_FLICKER = 0.01  # of white
OWN_SHARE = 0.3  # of the expression: motion of the backend's own from which on there is a warning
OWN_CHANGE = 0.004  # of white: a change of the finished face, one grey level of 255, from which on it is
AUTO_ALPHA_RANGE = (1.0, 16.0)  # never reduces motion; the upper end bounds the magnified noise
WORKING_RANGE = 0.0225  # of the face's width: the peak motion that backends were trained on
LEAST_MOTION = 1e-3  # of the face's width; below it a clip shows nothing but noise


def peak_motion(flow: Tensor, region: Tensor) -> Tensor:
    """Return the 95th percentile of |flow| in a soft region, [N], in the flow's px.

    flow: [N, 2, H, W]; region: [1, 1, H, W] in [0, 1], membership counts from one half on. The percentile is of the
    most moving tenth of the pixels, as a brow alone is a small part of the face.

    >>> flow = torch.zeros(1, 2, 20, 20)
    >>> flow[:, 0, :4, :10] = 2.0  # a tenth of the pixels moves by 2 px
    >>> peak_motion(flow, torch.ones(1, 1, 20, 20)).item()
    2.0
    """
    return peak_within(squared_size(flow), places_of(region))


def squared_size(flow: Tensor) -> Tensor:
    """Return the square of a flow's size, [N, H W]; `norm` over two channels takes ten times as long."""
    x, y = flow.flatten(2).unbind(1)
    return x * x + y * y


def places_of(region: Tensor) -> Tensor:
    """Return which pixels a soft region [1, 1, H, W] has, by their number."""
    return (region.flatten() > 0.5).nonzero()[:, 0]


def peak_within(squared: Tensor, places: Tensor) -> Tensor:
    """Return what `peak_motion` does of a `squared_size` within the `places_of` a region."""
    if not len(places):
        return squared.new_zeros(len(squared))
    count = max(1, len(places) // 10)
    return kth_smallest(squared.index_select(1, places), len(places) - count // 2).sqrt()


def skin_motion(driver: Driver, observed: DriverMotion) -> Tensor:
    """Return the peak motion of the driver's face, [N] px, without blinking lids, whose motion is the largest."""
    return peak_within(skin_size(observed), places_of(driver.mask))


def skin_size(observed: DriverMotion, part: tuple[slice, slice] = (slice(None), slice(None))) -> Tensor:
    """Return the square of the size of the face's own motion, [N, P] px^2, less what is taken from blinking lids.

    part: the rows and columns whose P pixels are asked for.
    """
    kept = 1 - distinct(observed.from_mesh[..., *part])
    return squared_size(observed.local.flow[..., *part]) * kept.flatten(1).square()


@dataclass(frozen=True)
class Factors:
    """What the probe frames decided; `peak_share` is the driver's peak motion as a share of its face's width.

    own: what the backend added to them.
    """

    alpha: float
    gain: float
    restoring: float
    peak_share: float
    own: OwnChanges = field(default_factory=OwnChanges)


FACTORS = Format(Factors, artefacts.FACTORS, "a record of a run's factors", "run the job again")


def automatic_alpha(peak: float, face_width: float) -> float:
    """Return the factor that brings the clip's `peak` motion (px) to the backends' working range, within [1, 16].

    >>> automatic_alpha(peak=0.5, face_width=180.0), automatic_alpha(peak=20.0, face_width=180.0)
    (8.1, 1.0)
    """
    share = max(peak / face_width, LEAST_MOTION)
    low, high = AUTO_ALPHA_RANGE
    return min(max(WORKING_RANGE / share, low), high)


def measured_gain(generated_peaks: Tensor, shown_peaks: Tensor) -> float:
    """Return the backend's gain from face-relative peaks of the probe frames, both [P].

    The ratio of sums weights frames by their motion, so that still frames, where both are noise, don't count.

    >>> round(measured_gain(torch.tensor([0.010, 0.001]), torch.tensor([0.020, 0.000])), 2)
    0.55
    """
    shown = float(shown_peaks.sum())
    return float(generated_peaks.sum()) / shown if shown > 0 else 1.0


def restoring_factor(alpha: float, gain: float, intensity: float) -> float:
    """Return what the generated motion is multiplied by, so that the result moves `intensity` times as the driver.

    >>> restoring_factor(alpha=8.0, gain=0.5, intensity=1.0)
    0.25
    """
    return intensity / (alpha * gain)


def factors_of(
    folder: JobFolder, spec: JobSpec, probes: Probes, notes: Notes, fingerprint: str
) -> tuple[Factors, list[Probed]]:
    """Return the factors of an earlier run with the same inputs, so that its frames fit ours, or choose them.

    With them comes what was computed to choose them, as far as it is what the result is made from.
    """
    avatar = probes.avatar
    if folder.finished(artefacts.FACTORS, fingerprint):
        factors, probed = FACTORS.decode(folder.read(artefacts.FACTORS)), probes.let_go()
    else:
        factors, probed = choose_factors(spec, probes, notes)
        folder.commit(artefacts.FACTORS, FACTORS.encode(factors), fingerprint)
    if not avatar.gives_motion:
        for sentence in backend_warnings(factors, spec.intensity, avatar.backend.info.title):
            notes.warning(sentence)
    alone = avatar.backend.info.clip_length == 1  # else a frame depends on those it is generated with
    return factors, probed if alone else []


def choose_factors(spec: JobSpec, probes: Probes, notes: Notes) -> tuple[Factors, list[Probed]]:
    """Measure the frames in which the face moves most, and some in which it rests; a clip is mostly still ones."""
    driver, avatar = probes.driver, probes.avatar
    done = 0
    for each in probes:
        done += len(each.indices)
        notes.progress(Stage.MEASURE, done, len(probes.indices))
    probed = probes.let_go()
    peaks = torch.cat([skin_motion(driver, each.observed) for each in probed])
    peak = float(peaks.max())
    alpha = spec.magnification.alpha or automatic_alpha(peak, driver.face_width)
    share = peak / driver.face_width
    if avatar.gives_motion:  # it applies what it is shown: nothing to measure
        return Factors(alpha, 1.0, restoring_factor(alpha, 1.0, spec.intensity), share), probed

    shown: list[Tensor] = []
    made: list[Generated] = []
    for each in probed:
        notes.check_cancelled()
        driving = driver.magnified(each.seen, each.observed, alpha)
        made.append(avatar.animate(driving))
        shown.append(peak_motion(driving.motion.flow, driver.mask) / driver.face_width)
    asked = torch.cat(shown)
    moved = torch.cat([peak_motion(each.motion.flow, avatar.mask) for each in made]) / avatar.face_width
    gain = max(measured_gain(moved, asked), LEAST_GAIN)
    own = own_changes([each.one(n) for each in made for n in range(len(each.light))], asked, moved, gain, avatar)
    factors = Factors(alpha, gain, restoring_factor(alpha, gain, spec.intensity), share, own)
    return factors, [replace(each, generated=new) for each, new in zip(probed, made, strict=True)]


def own_changes(
    made: Sequence[Generated], shown: Tensor, moved: Tensor, gain: float, avatar: AnimatedAvatar
) -> OwnChanges:
    """Return what the backend adds of its own, from the probe frames.

    shown, moved: [P], the motion that it was shown and that its frames show, as shares of the faces' widths. At rest
    `gain` times what was shown is what it should show.
    """
    heads = torch.cat([peak_motion(each.rigid, avatar.mask) for each in made])
    flicker = torch.cat([each.light for each in made])
    at_rest = (shown <= AT_REST * shown.max()).nonzero().flatten().tolist() if float(shown.max()) > 0 else []
    motion = change = None
    if at_rest:
        excess = (moved[at_rest] ** 2 - (gain * shown[at_rest]) ** 2).clamp_min(0).sqrt()
        motion = float(excess.mean())
        change = float(torch.cat([avatar.change_at_rest(made[index]) for index in at_rest]).max())
    return OwnChanges(float(heads.max()) / avatar.face_width, float(flicker.max()), motion, change)


def backend_warnings(factors: Factors, intensity: float, title: str) -> list[str]:
    """Return a warning, one sentence, for each way in which a backend's motion departs from what it was given."""
    found = []
    errors = factors.restoring / intensity if intensity else 0.0
    if factors.gain <= LEAST_GAIN:
        found.append(
            f"{title} hardly answered the magnified motion (gain {factors.gain:.3f} or less), so the result shows "
            "mostly noise; try a higher magnification or another backend."
        )
    elif factors.gain < WEAK_GAIN or errors > 1:
        found.append(
            f"{title} answered the magnified motion weakly (gain {factors.gain:.3f}), so bringing it back multiplies "
            f"what it generated, its errors too, by {factors.restoring:.1f}; try a higher magnification or another "
            "backend."
        )
    own = factors.own
    if own.shake > SEEN_SHAKE:
        found.append(
            f"{title} moved the avatar's head by up to {own.shake:.1%} of the face's width although the driver's was "
            "still; that was taken out."
        )
    if own.flicker > SEEN_FLICKER:
        found.append(f"{title} changed the brightness by up to {own.flicker:.1%} of white; that was taken out.")
    if own.motion is not None and own.motion > OWN_SHARE * factors.alpha * factors.gain * factors.peak_share:
        share = own.motion / max(factors.alpha * factors.gain * factors.peak_share, 1e-9)
        found.append(
            f"{title} moves the avatar's face while the driver's is at rest, by {share:.0%} of the expression; that is "
            "in the result. Try a higher magnification or another backend."
        )
    if own.change is not None and own.change * factors.restoring > OWN_CHANGE:
        found.append(
            f"{title} changes the avatar's face while the driver's is at rest (by {own.change:.1%} of white where "
            f"magnified, {own.change * factors.restoring:.1%} in the result), so it may not stay the same person."
        )
    return found
