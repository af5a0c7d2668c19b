# SPDX-License-Identifier: GPL-3.0-or-later
"""From the pictures of a job to the rig's controls: two ways of reading the rig, and what is made of either."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from ...backend_bridge.job.spec import JobSpec, Match
from ...backend_bridge.rig.action_units import BLINK, GAZE, UPPER_LID_RAISER, Side, recognise
from ...backend_bridge.rig.basis import RigBasis, amount_ranges
from ...backend_bridge.rig.curves import ControlCurves
from ..face import face_width, mesh_weight, regions
from ..face.correspondence import Correspondence
from ..rig.constraints import Constraints
from ..rig.evidence import SolverSettings
from ..rig.matching import Matched, RegionMotion, match
from ..rig.observer import RigObserver, on_crop, on_driver, read_field
from ..rig.solver import RigSolution, SolverState, solve
from .animated_avatar import AnimatedAvatar
from .batch import Batch
from .closing_lids import LEAST_SHOWN, with_lids
from .driver import Driver
from .driving_clip import DrivingClip
from .even_field import distinct
from .factors import Factors
from .known_motion import depth_error, turning_of, without_blinks, without_motion

HEAD = slice(7, 9)  # of what is read at a site: the head's motion
FEWEST_COVERED = 3  # frames
_EDGE = 0.05  # of the face's width: twice as far as what is before the face may move without being found to hide it
_AWAKE = 0.5  # of the frames: lids that close in more don't just blink
_OF_EYES = frozenset({BLINK, UPPER_LID_RAISER, *GAZE})
# Of the eye's width: by how much the mesh's irises seem to move in eyes that keep still, and by how much they are let
# move for the whole of a look; of true looks in two clips 0.15 to 0.19 are keyed as 0.4 of one.
_IRIS_JITTER, _LOOK = 0.04, 0.25
# The same of how far the mesh's eyes open: the whole of raised lids opens rendered people's by 0.08 to 0.1.
_LID_JITTER, _WIDE = 0.02, 0.1
_LEAST_ASKED = 0.0005  # of the face's width; twice the apparent motion of a still face's noise
_LEAST_SITES = 3  # sites; a region with fewer is not reported
_WELL_SEEN = 0.75  # quantile of the sites' precision that the mesh's equations of the lids get
_LIMIT = 0.98  # of a control's range: its end
_NEVER = 0.8  # of the frames: a control that is hidden in more is not solved at all
_MOMENT = 0.1  # s: what is hidden for less goes on, as from a drop or a flake that falls past
_LITTLE_SHOWN = 0.5  # unexplained share of the motion, from which on head and face are not separable by the rig


@dataclass(frozen=True)
class ClipEquations:
    """What was read of a whole clip, and what is known of it when its controls are solved.

    equations: [N, S, 10], see `RigReader`. seconds: [N]. closed: [N, 2], how far each eye has (`face.closures`). moves:
    whether the face shows an event; where it shows none, there is no peak but that of noise. compressed: whether a
    codec has left out much of the face; sparse: whether so much of it for certain that the peak is partly the codec's.
    turns: whether all of the motion may be what is left of a turning head's (`RigReader.turning`). scores: [N], by how
    much the mesh's score of each ARKit shape lies above the reference's (`DrivingClip.score_rises`).
    """

    equations: NDArray[np.floating]
    seconds: Sequence[float]
    closed: NDArray[np.float64]
    moves: bool = True
    compressed: bool = False
    sparse: bool = False
    turns: bool = False
    scores: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def peak_known(self) -> bool:
        """Whether the peak of the motion is the driver's, so that it can be matched."""
        return self.moves and not self.sparse


@dataclass(frozen=True)
class Fitted:
    """How controls explain a clip's motion, before it is brought to the driver's strength.

    shown: [N, K], how much of what each control moves is seen (`shown_share`). locked: numbers of the controls that
    were held. closed: [N, 2], how far each eye has (`face.closures`).
    """

    solution: RigSolution
    shown: NDArray[np.float64]
    locked: frozenset[int]
    closed: NDArray[np.float64]


@dataclass(frozen=True)
class Solved:
    """Curves, and the share of the whole clip's motion that no control explains: everywhere, and by region.

    regions: peak motion asked and shown where the face moves, as shares of the face's width. state: the solver's.
    fitted: what they were made from. at_limit: names of the controls that show the driver's motion at the end of their
    range.
    """

    curves: ControlCurves
    residual: float
    region_residual: dict[str, float]
    regions: dict[str, RegionMotion]
    state: SolverState
    fitted: Fitted
    at_limit: tuple[str, ...] = ()


class RigReader(ABC):
    """Reads motion equations at the rig's sites, frame by frame, and solves the controls from all of them.

    What is read of a frame is [S, 10]: the equations, how far each site is seen, in [0, 1], the head's own motion
    there, px, estimated from the whole face, and whether something moves before the face there.

    basis: the rig as it was measured. observer: the rig laid over a picture. regions: [S] membership of the sites in
    each region of the face. gains: [K], what the solved excursions from rest are multiplied by. unit: px of the picture
    per face width of the driver's own motion. matching: whether the peak of the motion or its shape is the driver's.
    """

    read_from: ClassVar[str]
    has_head: ClassVar[bool]

    def __init__(
        self,
        basis: RigBasis,
        observer: RigObserver,
        regions: dict[str, NDArray[np.floating]],
        constraints: Constraints,
        gains: NDArray[np.float64],
        unit: float,
        matching: Match,
    ) -> None:
        self.basis = basis
        self._observer = observer
        self._regions = regions
        self._constraints = constraints
        self._gains = gains
        self._unit = unit
        self._matching = matching

    @abstractmethod
    def read(self, batch: Batch) -> NDArray[np.float32]:
        """Return [N, S, 10] of a batch."""

    def solve(self, clip: ClipEquations) -> Solved:
        """Return the controls' curves from what was read of the whole clip, as strong as was asked.

        A control rests in frames that don't show what it moves. Where the peak of the motion isn't known to be the
        driver's, it isn't matched, whatever was asked.
        """
        return self._as_asked(self._fitted(clip), clip.peak_known)

    def unmatched(self, solved: Solved) -> Solved:
        """Return the same controls without their peak matched, as `solve` does where the face shows no event."""
        return self._as_asked(solved.fitted, adjusted=False)

    def _fitted(self, clip: ClipEquations) -> Fitted:
        """Return how the controls explain what was read of the whole clip: what takes long of `solve`."""
        sites, seconds = self._observer.sites, clip.seconds
        equations = without_cover(clip.equations, sites.position, _EDGE * self._unit)
        shown = shown_share(sites.columns, equations[..., 6])
        never = frozenset(np.flatnonzero((shown < LEAST_SHOWN).mean(0) > _NEVER).tolist())
        constraints = dataclasses.replace(self._constraints, locked=self._constraints.locked | never)
        everywhere = np.ones(len(sites.position))
        settings, scores = SolverSettings(), clip.scores
        solution = solve(self.basis, sites, equations[..., :6], seconds, settings, constraints, self._regions, scores)
        little_shown = solution.residual_of_clip(everywhere) > _LITTLE_SHOWN and not solution.state.noisy
        if little_shown and self.has_head and not clip.turns:
            # What such a rig has no control for would pass for the head's motion, and be missing from the rest.
            still = without_motion(equations[..., :6], equations[..., HEAD])
            headless = SolverSettings(head_motion=False)
            other = solve(self.basis, sites, still, seconds, headless, constraints, self._regions, scores)
            solution = better(solution, other)
        return Fitted(solution, shown, constraints.locked, clip.closed)

    def _as_asked(self, fitted: Fitted, adjusted: bool) -> Solved:
        """Return the curves of controls that were `fitted`, as strong as was asked; `adjusted`: with their peak."""
        solution, shown, controls = fitted.solution, fitted.shown, self.basis.controls
        rest = np.array([control.rest for control in controls])
        solved = _hidden_at_rest(solution.curves.values, shown < LEAST_SHOWN, rest, solution.curves.seconds)
        matched = self._matched(fitted, solved - rest, adjusted)
        excursions = (solved - rest) * matched.gains
        low, high = amount_ranges(controls)
        ends = ((excursions >= _LIMIT * high) & (high > 0)) | ((excursions <= _LIMIT * low) & (low < 0))
        at_limit = tuple(control.name for control, end in zip(controls, ends.any(0), strict=True) if end)
        # Not cut off at the controls' ranges: who asks for a stronger expression gets it, and the bake widens them.
        values = with_lids(
            rest + excursions * self._gains,
            self._gains,
            controls,
            fitted.closed,
            fitted.locked,
            shown,
            self._observer.sites.columns,
        )
        large = {name: membership for name, membership in self._regions.items() if membership.sum() >= _LEAST_SITES}
        unseen = np.full(len(values), np.nan, np.float32)
        residuals = [solution.residual_in(large[name]) if name in large else unseen for name in self._regions]
        curves = dataclasses.replace(
            solution.curves,
            values=self.basis.posed(values).astype(np.float32),
            regions=tuple(self._regions),
            region_residual=np.stack(residuals, 1),
        )
        return Solved(
            curves,
            residual=solution.residual_of_clip(np.ones(len(solution.positions))),
            region_residual={name: solution.residual_of_clip(membership) for name, membership in large.items()},
            regions={name: each.in_units_of(self._unit) for name, each in matched.regions.items()},
            state=solution.state,
            fitted=fitted,
            at_limit=at_limit,
        )

    def without(
        self, equations: NDArray[np.floating], doubtful: Mapping[str, NDArray[np.bool_]]
    ) -> NDArray[np.floating]:
        """Return what was read [N, S, 10] without the regions that something passes before, in those frames [N].

        Sites of no region have no equations while something passes before any of them.
        """
        if not doubtful:
            return equations
        names = list(self._regions)
        memberships = np.stack([self._regions[name] for name in names])
        of = np.where(memberships.max(0) > 0.5, memberships.argmax(0), len(names))
        none = np.zeros(len(equations), np.bool_)
        frames = [doubtful.get(name, none) for name in names]
        hidden = np.stack([*frames, np.any(frames, axis=0)])[of].T
        return _unseen_where(equations, hidden)

    def without_blinks(self, equations: NDArray[np.floating], closed: NDArray[np.float64]) -> NDArray[np.floating]:
        """Return what was read [N, S, 10] without what lids do that close: [N, 2], `face.closures`."""
        lids = self._regions.get("lids", np.zeros(equations.shape[1]))
        return without_blinks(equations, self.basis.controls, closed, self.columns, lids)

    def turning(self, equations: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far the head has turned in what was read [N, S, 10], as the sine of an angle, [N]."""
        return np.asarray(np.linalg.norm(turning_of(equations[..., HEAD], self._observer.sites), axis=1))

    def without_depth_error(self, equations: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return what was read [N, S, 10] without what the head's turning leaves, as its depth is known roughly."""
        result, head, sites = equations.copy(), equations[..., HEAD], self._observer.sites
        local = without_motion(equations[..., :6], head)
        error = depth_error(local, turning_of(head, sites), sites, self._unit)
        result[..., :6] = without_motion(equations[..., :6], error)
        return result

    @property
    def columns(self) -> NDArray[np.floating]:
        """What each control moves at the sites of the equations, [K, S, 2] px per unit."""
        return self._observer.sites.columns

    def course(self, equations: NDArray[np.floating], excursions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return how far an expression goes in each frame, [N], as the largest motion in shares of the face's width.

        The expression is what the controls show where they show most; least squares give its amount in each frame. A
        codec's own motion, which lasts when it is over, has another pattern, and hardly any part in that.

        equations: [N, S, 10] of the whole clip. excursions: [N, K], of the controls from rest.
        """
        columns = self.columns.astype(np.float64)
        sizes = [np.linalg.norm(np.tensordot(each, columns, 1), axis=1).max() for each in excursions]
        pattern = np.tensordot(excursions[int(np.argmax(sizes))], columns, 1)
        x, y = pattern.T
        xx, xy, yy, *target = np.moveaxis(without_motion(equations[..., :6], equations[..., HEAD]), -1, 0)
        information = (xx * x * x + 2 * xy * x * y + yy * y * y).sum(1)
        amounts = (target[0] * x + target[1] * y).sum(1) / np.maximum(information, 1e-12)
        return np.asarray(np.maximum(amounts, 0.0) * max(sizes) / self._unit)

    def shown(self, excursions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the same as the controls show it, [N], where other motion would have a part in the amounts."""
        motion = np.tensordot(excursions, self.columns, 1)
        sizes = np.linalg.norm(motion, axis=2).max(1)
        pattern = motion[int(sizes.argmax())]
        amounts = (motion * pattern).sum((1, 2)) / max((pattern**2).sum(), 1e-12)
        return np.asarray(np.maximum(amounts, 0.0) * sizes.max() / self._unit)

    def explained(
        self, equations: NDArray[np.floating], seconds: Sequence[float], backward: bool = False
    ) -> RigSolution:
        """Return how the controls explain the motion in some frames [N, S, 10] or, `backward`, the opposite motion.

        Controls go one way from rest. Against an expression as reference, rest is the opposite of it, which they
        explain badly.
        """
        motion = equations[..., :6].copy()
        if backward:
            motion[..., 3:5] *= -1
        return solve(self.basis, self._observer.sites, motion, seconds, constraints=self._constraints)

    def _matched(self, fitted: Fitted, excursions: NDArray[np.floating], adjusted: bool) -> Matched:
        """Return the gains that bring the shown motion to the driver's, or those of 1 that leave the shape as it is.

        While lids close they draw the skin around along; the other frames tell how large the expression is. Where the
        eyes stay shut, so that most frames would be left out, all do.
        """
        solution = fitted.solution
        low, high = self._constraints.ranges(self.basis.controls)
        told = mesh_weight(fitted.closed).max(1) == 0
        told = told if told.mean() >= _AWAKE else np.ones_like(told)
        most = np.minimum(np.maximum(np.abs(low), np.abs(high)), solution.most)
        farthest = [np.abs(frames).max(0, initial=0.0) for frames in (excursions[told], excursions)]
        return match(
            excursions[told],
            np.ascontiguousarray(self._observer.sites.columns.swapaxes(1, 2)),
            solution.motion[told],
            self._regions,
            pairs=self._constraints.pairs,
            most=most * farthest[0] / np.maximum(farthest[1], 1e-12),  # so that none goes too far in the others
            adjusted=adjusted and self._matching == "motion",
            least=_LEAST_ASKED * self._unit,
            noisy=solution.state.noisy,
            lids=_sides(self.basis, (UPPER_LID_RAISER,)),
        )


class DriverReader(RigReader):
    """Reads the driver's own picture.

    For backends that carry the driver's motion: they add nothing to it, and it shows most clearly where it was filmed.
    """

    read_from = "the driver's picture"
    has_head = True

    @classmethod
    def laid(
        cls, basis: RigBasis, driver: Driver, avatar: AnimatedAvatar, correspondence: Correspondence, spec: JobSpec
    ) -> DriverReader:
        """Lay the rig over the driver's reference frame. Raises `InputError` as `driver_reader` does."""
        window, size = avatar.window, avatar.window.crop_size
        shown = on_crop(basis, window.to_crop_affine(), size)
        observer = RigObserver(on_driver(shown, correspondence, driver.mask), driver.reference.image, driver.clip.depth)
        constraints = constraints_of(basis, driver.clip, spec)
        gains = spec.intensity * _region_gains(observer, driver.region, constraints)
        shown_in = _memberships(observer, driver.regions)
        return cls(basis, observer, shown_in, constraints, gains, driver.face_width, spec.rig.match)

    def read(self, batch: Batch) -> NDArray[np.float32]:
        """Return equations of the driver's frames, and what else is known at the sites: [N, S, 10]."""
        if batch.equations is not None:
            return batch.equations
        weight, copied, observed = batch.weight, batch.seen.copied, batch.observed
        total = observed.total
        # A closing lid has no brightness constancy, nor has skin that goes far: their equations are those of the mesh's
        # motion, on a lid's skin.
        by_mesh = distinct(observed.from_mesh) + distinct(observed.far)
        equations = self._observer.observe(batch.frames, total, weight * (1 - by_mesh), copied)
        from_mesh, skin, far, flow, seen, head, before = (
            self._observer.read(field)
            for field in (
                *(observed.from_mesh, observed.skin, observed.far),
                *(total, weight, observed.rigid, observed.before),
            )
        )
        known = np.minimum(from_mesh, skin) + far
        if known.any():
            equations += _of_known_motion(equations, known, flow)
        return np.concatenate([equations, seen, head, before], -1).astype(np.float32)


class GeneratedReader(RigReader):
    """Reads the generated frames.

    For backends that generate motion of their own: it is seen there, magnified.
    """

    read_from = "the generated frames"
    has_head = False

    @classmethod
    def laid(
        cls, basis: RigBasis, driver: Driver, avatar: AnimatedAvatar, factors: Factors, spec: JobSpec
    ) -> GeneratedReader:
        """Lay the rig over the generated neutral frame. Raises `InputError` as `driver_reader` does."""
        window, size = avatar.window, avatar.window.crop_size
        shown = on_crop(basis, window.to_crop_affine(), size, gain=factors.alpha * factors.gain)
        within = dataclasses.replace(shown, visible=shown.visible & _inside(shown, avatar.mask))
        observer = RigObserver(within, avatar.neutral)
        # The regions' gains are in the generated frames already.
        gains = np.full(len(basis.controls), spec.intensity)
        constraints = constraints_of(basis, driver.clip, spec)
        unit = face_width(avatar.landmarks) * factors.alpha * factors.gain
        shown_in = _memberships(observer, regions(avatar.landmarks, (size, size)))
        return cls(basis, observer, shown_in, constraints, gains, unit, spec.rig.match)

    def read(self, batch: Batch) -> NDArray[np.float32]:
        """Return the same of the generated frames, in which all is visible and nothing else is known (0)."""
        equations = self._observer.observe(batch.generated.frames, batch.generated.total.flow)
        return np.concatenate([equations, np.ones_like(equations[..., :1]), np.zeros_like(equations[..., :3])], -1)


def better(free: RigSolution, known: RigSolution) -> RigSolution:
    """Return the solution with the head's motion `free` where it is the better one by both measures, else `known`.

    Of the motion it leaves less, and a smaller share of what isn't the head's: a free head may take what no control
    shows, so that little is left, or be wrong, so that there is more to explain. One in which nothing moves is no
    solution.
    """
    if not np.ptp(known.curves.values, axis=0).any():
        return free
    less = float(free.unexplained.sum()) < float(known.unexplained.sum())
    everywhere = np.ones(free.unexplained.shape[1])
    return free if less and free.residual_of_clip(everywhere) < known.residual_of_clip(everywhere) else known


def driver_reader(basis: RigBasis, driver: Driver, avatar: AnimatedAvatar, spec: JobSpec) -> DriverReader:
    """Return what reads the driver's own picture, also for backends whose generated frames are read later.

    Raises `InputError` when none of the rig is visible there, or `spec.rig` names controls that it has not.
    """
    side = avatar.window.crop_size
    laid = avatar.correspondence or Correspondence(avatar.landmarks, driver.reference.landmarks, (side, side))
    return DriverReader.laid(basis, driver, avatar, laid, spec)


def constraints_of(basis: RigBasis, clip: DrivingClip, spec: JobSpec) -> Constraints:
    """Return what a person fixed, and what the mesh knows of the eyes.

    They look together unless both are clearly seen not to, and turn no farther than about twice as far as the irises
    do, nor open any wider than the mesh's do, but for what it can't tell. Lids and gaze rest where the reference's eyes
    are shut.
    """
    fixed = Constraints.named(basis, spec.rig.locked, spec.rig.mirrored)
    meanings = [recognise(control.name) for control in basis.controls]
    if clip.eyes_shut:
        of_eyes = (index for index, meaning in enumerate(meanings) if meaning and meaning.is_of(_OF_EYES))
        fixed = dataclasses.replace(fixed, locked=fixed.locked.union(of_eyes))
    looks, wide = (clip.gaze_reach + _IRIS_JITTER) / _LOOK, (clip.widening + _LID_JITTER) / _WIDE
    reach = np.clip([*looks, wide], 0, 1)
    shares = {
        index: float(share)
        for unit, share in zip((*GAZE, UPPER_LID_RAISER), reach, strict=True)
        for index, meaning in enumerate(meanings)
        if meaning and meaning.is_of({unit})
    }
    fixed = dataclasses.replace(fixed, shares=shares)
    if clip.eyes_part:
        return fixed
    taken = fixed.locked | {index for pair in fixed.pairs for index in pair}
    return dataclasses.replace(fixed, pairs=(*fixed.pairs, *_sides(basis, GAZE, taken)))


def _sides(basis: RigBasis, units: Sequence[int], taken: Collection[int] = ()) -> list[tuple[int, int]]:
    """Return the left and the right control of each of these units, of those that are not `taken`."""
    pairs = []
    for unit in units:
        sides: dict[Side, list[int]] = {Side.LEFT: [], Side.RIGHT: []}
        for index, control in enumerate(basis.controls):
            meaning = recognise(control.name)
            if meaning and index not in taken and meaning.side in sides and meaning.is_of({unit}):
                sides[meaning.side].append(index)
        if all(len(found) == 1 for found in sides.values()):
            pairs.append((sides[Side.LEFT][0], sides[Side.RIGHT][0]))
    return pairs


def _of_known_motion(
    equations: NDArray[np.floating], weight: NDArray[np.floating], flow: NDArray[np.floating]
) -> NDArray[np.float64]:
    """Return equations [N, S, 6] of a known motion [N, S, 2] px, with `weight` [N, S, 1] of the others' precision."""
    seen = equations[..., 0] + equations[..., 2]
    usual = [float(np.quantile(frame[frame > 0], _WELL_SEEN)) if (frame > 0).any() else 0.0 for frame in seen]
    precision = 0.5 * np.array(usual)[:, None, None] * weight
    none = np.zeros_like(precision)
    return np.concatenate([precision, none, precision, precision * flow, weight], -1)


def without_cover(equations: NDArray[np.floating], position: NDArray[np.floating], edge: float) -> NDArray[np.floating]:
    """Return what was read [N, S, 10] with sites unseen in all frames before which something moves in a few of them.

    It is in the reference there, and moves less in the others than what it can be told by. So are sites within `edge`
    px of those: it moves over them. position: [S, 2] px.
    """
    covered = (equations[..., 9] > 0.5).sum(0) >= FEWEST_COVERED
    if covered.any():
        covered = cKDTree(position[covered]).query(position)[0] <= edge
    return _unseen_where(equations, covered[None])


def _unseen_where(equations: NDArray[np.floating], hidden: NDArray[np.bool_]) -> NDArray[np.floating]:
    """Return what was read [N, S, 10] as if the face weren't seen at some sites, [N or 1, S]."""
    measured = [*range(7), 9]
    result = equations.copy()
    result[..., measured] = np.where(hidden[..., None], 0.0, equations[..., measured])
    return result


def shown_share(columns: NDArray[np.floating], seen: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return [N, K], how much of what each control moves ([K, S, 2]) is seen ([N, S] in [0, 1])."""
    energy = (columns**2).sum(2)
    whole = energy.sum(1)
    return np.where(whole > 0, seen @ energy.T / np.maximum(whole, 1e-12), 1.0)


def _hidden_at_rest(
    values: NDArray[np.floating],
    hidden: NDArray[np.bool_],
    rest: NDArray[np.float64],
    seconds: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return controls' values [N, K] at `rest` [K] where what they move is hidden, but for less than `_MOMENT`.

    Then they go on from where they were seen before to where they are seen after: a twitch to rest would be a motion
    that nobody saw. seconds: [N].

    >>> held, seen = np.array([[0.2], [0.0], [0.4], [0.0], [0.0]]), np.array([[1], [0], [1], [0], [0]])
    >>> _hidden_at_rest(held, seen == 0, np.zeros(1), np.arange(5) / 30)[:, 0].round(2).tolist()
    [0.2, 0.3, 0.4, 0.0, 0.0]
    """
    result = np.where(hidden, rest, values)
    for control in np.flatnonzero(hidden.any(0)):
        seen = np.flatnonzero(~hidden[:, control])
        for before, after in pairwise(seen):
            if after > before + 1 and seconds[after] - seconds[before] <= _MOMENT:
                ends = seconds[[before, after]], values[[before, after], control]
                result[before + 1 : after, control] = np.interp(seconds[before + 1 : after], *ends)
    return result


def _memberships(observer: RigObserver, masks: Mapping[str, Tensor]) -> dict[str, NDArray[np.floating]]:
    """Return how far each site belongs to each region of a face, [S], by the regions' masks [1, 1, h, w]."""
    return {name: observer.read(mask)[0, :, 0] for name, mask in masks.items()}


def _region_gains(observer: RigObserver, region: Tensor, constraints: Constraints) -> NDArray[np.float64]:
    """Return [K], how much of each control a map of the face [1, 1, S, S] lets through, weighted by its effect."""
    energy = (observer.sites.columns**2).sum(2)
    gains = energy @ observer.read(region)[0, :, 0] / np.maximum(energy.sum(1), 1e-12)
    for pair in constraints.pairs:
        gains[list(pair)] = gains[list(pair)].mean()
    return gains


def _inside(basis: RigBasis, mask: Tensor) -> NDArray[np.bool_]:
    """Return [V], vertices on a crop that lie where its mask [1, 1, S, S] is at least one half."""
    return read_field(mask, basis.positions)[0, :, 0] >= 0.5
