# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig's controls over time, solved from the frames' motion equations."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ....backend_bridge.job import artefacts
from ....backend_bridge.job.artefacts import EQUATIONS
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.judgement import is_little, shown_in_part
from ....backend_bridge.job.report import RegionReport, Report, SmoothingReport, WeightsReport
from ....backend_bridge.job.spec import Rig
from ....backend_bridge.job.stages import Stage
from ....backend_bridge.rig.action_units import recognise
from ....backend_bridge.rig.basis import Control
from ....backend_bridge.rig.curves import ControlCurves
from ....backend_bridge.rig.events import MotionEvent
from ....backend_bridge.rig.face_parts import FacePart, part_of
from ....backend_bridge.rig.live_link import as_shapes, stands_for_arkit, to_live_link
from ....backend_bridge.rig.part_units import readings
from ...rig.codec_floor import above_codec, at_rest_after, of_eyes, shows_anything
from ...rig.expression import CERTAIN, COMPRESSED_SHARE, LEAST_PEAK, LEAST_SHARE, action_units, excursions
from ...rig.selection import MICRO_UNITS
from ...rig.smoothing import apex_kept, smoothed
from ...video.timecode import start_timecode
from ..batch import Batch
from ..clip_reference import shows_expression
from ..driving_clip import DrivingClip
from ..neutral_reference import CLEARLY, WHOLE_FACE, opposite_share
from ..notes import Notes
from ..rig_reader import ClipEquations, RigReader, Solved
from . import Made
from .observed import Observed

_EXPRESSIVE = (FacePart.BROW, FacePart.LID, FacePart.CHEEK, FacePart.NOSE, FacePart.MOUTH)
_SHOWN = 0.3  # of a control's peak, from which on it shows the expression at an event's apex
_LASTING = 3  # frames; a block that a codec codes in one frame and again soon after looks like less
_NAMED = 6  # controls in one sentence
_MOST = 0.9  # of the frames: an expression that is held is explained better than its opposite in all that were tried
# Residual of the region that the controls of a whole face follow best, from which on they follow none. True expressions
# have 0.17 at most (rendered people) and 0.5 (real ones, a rig of another face), a watermark and moire more than 0.8.
_NOT_FOLLOWED = 0.7
# The same where all of the motion may be what is left of a turning head's: still faces have 0.48 and more, expressions
# beside a turn 0.32 at most.
_CLOSELY = 0.4
_NO_CONTROL_FOLLOWS = (
    "What moves most in the driver's picture is followed by no control, so that it isn't taken for an expression: "
    "cloth or hair before the face, or a rig that lies elsewhere on it. Check the face match."
)
_OTHERWISE = 0.6  # residual of a region: its motion and the rig's then differ by 50 degrees or more


@dataclass(frozen=True)
class Solution:
    """What was solved, the curves as they are handed over, and these as shares of the controls' ranges, [N, K]."""

    solved: Solved
    curves: ControlCurves
    shares: NDArray[np.float64]


class Curves:
    """Solved control curves: for Blender (.npz), for people (.csv) and for other tools (Live Link Face)."""

    kinds = (EQUATIONS,)

    def __init__(
        self,
        folder: JobFolder,
        clip: DrivingClip,
        reader: RigReader,
        rig: Rig,
        intensity: float,
        observed: Observed,
        notes: Notes,
    ) -> None:
        self._folder = folder
        self._clip = clip
        self._observed = observed
        self._reader = reader
        self._rig = rig
        self._intensity = intensity
        self._notes = notes
        self.solution: Solution | None = None

    def make(self, batch: Batch) -> Iterable[list[bytes]]:
        """Return each frame's equations at the rig's sites, [S, 10] (`rig_reader.RigReader.read`)."""
        return [[_npy(each) for each in self._reader.read(batch)]]

    def finish(self, report: Report, made: Made) -> Report:
        """Solve the controls from the equations of all frames, and leave them in the folder."""
        self._notes.progress(Stage.SOLVE, 0, 1)
        files = (self._folder.file_of(EQUATIONS, index) for index in self._observed.held)
        equations = np.stack([np.load(file, allow_pickle=False) for file in files])
        equations = self._reader.without(equations, self._observed.doubtful)
        equations = self._reader.without_blinks(equations, self._observed.closures[self._observed.held])
        compressed = self._observed.compression.strong
        many = len(self._reader.basis.controls) >= WHOLE_FACE
        plain = report.events is not None and self._observed.plain(report.events)
        turns = many and not plain and self._observed.left_by(self._reader.turning(equations))
        if turns:
            equations = self._reader.without_depth_error(equations)
        solved, event = self._solved_with(report.events, equations, turns, plain)
        whole = _is_whole(solved)
        if compressed:
            solved = self._above_codec(solved, event is not None)
        timed = self._timed(solved, equations, event) if whole and event is not None else None
        if compressed and timed is not None and timed.offset is not None:
            still = at_rest_after(solved.curves, self._reader.basis.controls, timed.offset)
            solved = replace(solved, curves=still)
        curves = smoothed(solved.curves, self._rig.smoothing)
        self.solution = found = Solution(solved, curves, excursions(curves, self._reader.basis.controls))
        exchanged = self._write(found)
        self._notes.progress(Stage.SOLVE, 1, 1)
        if turned := [self._clip.times[index] for index, shown in enumerate(self._observed.held) if shown != index]:
            self._notes.warning(
                f"The head turns fast from {float(turned[0]):.3f} to {float(turned[-1]):.3f} s, by more than the face "
                "itself moves; the controls keep their values there."
            )
        report = self._with_reference(replace(report, events=timed or event), equations, whole)
        # Noise is no motion that a rig could show, nor is what a codec adds.
        short = shortfalls(solved) if report.events is not None and not compressed else []
        for sentence in (*short, *out_of_sight(curves, self._reader.basis.controls)):
            self._notes.warning(sentence)
        return replace(report, weights=self._report(found, exchanged, report.events is not None))

    def _solved_with(
        self, event: MotionEvent | None, equations: NDArray[np.floating], turns: bool, plain: bool
    ) -> tuple[Solved, MotionEvent | None]:
        """Return the controls, and the event if those of a whole face show that it is the face's.

        turns: whether all of the motion may be what is left of a turning head's. plain: whether the event is the
        face's, whatever the rig shows of it.
        """
        speckled = self._observed.speckled
        solved = self._solved(equations, moves=(event is not None or turns) and not speckled, turns=turns)
        if plain or not _is_whole(solved):
            return solved, event
        if speckled:  # what moves most may be a drop: the event is what the controls show, and its peak isn't known
            explained = self._timed(solved, equations, None)
        elif turns:  # or what is left of the turning, of which the controls show hardly anything
            explained = self._observed.event_of(self._reader.shown(self._moved(solved)))
        else:
            explained = None if event is None else self._explained(event, solved)
        if explained is not None and (speckled or turns or self._observed.compression.strong):
            lasts = self._lasts(self._timed(solved, equations, explained) or explained)
            if not shows_anything(solved.curves, self._reader.basis.controls, lasts):
                explained = None
        if explained is not None:
            followed = self._follow(solved, explained, _CLOSELY if turns else _NOT_FOLLOWED)
            if followed or (not turns and self._observed.comes_once(explained)):
                return solved, explained
            if not turns:
                self._notes.warning(_NO_CONTROL_FOLLOWS)
            return self._reader.unmatched(solved), None
        solved = self._reader.unmatched(solved)
        shows = not (speckled or turns) and shows_anything(solved.curves, self._reader.basis.controls)
        course = self._course(solved, equations) if shows else None
        return solved, None if course is None else self._observed.shown_event(course)

    def _solved(self, equations: NDArray[np.floating], moves: bool, turns: bool) -> Solved:
        """Return the controls, brought to the peak of the motion where that is the driver's.

        It is noise's where the face shows no event, and partly the codec's where that has left little of the face.
        """
        observed = self._observed
        clip = ClipEquations(
            equations,
            seconds=[float(second) for second in self._clip.track.seconds],
            closed=observed.closures[observed.held],
            moves=moves,
            compressed=observed.compression.strong,
            sparse=observed.sparse,
            turns=turns,
            scores={name: rise[observed.held] for name, rise in self._clip.score_rises.items()},
        )
        return self._reader.solve(clip)

    def _follow(self, solved: Solved, event: MotionEvent, most: float = _NOT_FOLLOWED) -> bool:
        """Return whether the controls follow any region's motion, at the event's apex or where they show most.

        most: residual of a region from which on they don't.
        """
        curves, controls = solved.curves, self._reader.basis.controls
        shown = np.where(of_eyes(controls), 0.0, np.abs(excursions(curves, controls))).max(1)
        apex = int(np.abs(curves.seconds - event.apex).argmin())
        left = curves.region_residual[[apex, int(shown.argmax())]]
        return not bool(np.isfinite(left).any()) or bool(np.nanmin(left) < most)

    def _lasts(self, event: MotionEvent) -> bool:
        """Return whether an event lasts for `_LASTING` frames or more."""
        if event.onset is None or event.offset is None:
            return True
        return event.offset - event.onset >= _LASTING / float(self._clip.reader.info.average_rate)

    def _timed(self, solved: Solved, equations: NDArray[np.floating], event: MotionEvent | None) -> MotionEvent | None:
        """Return the event of the expression that the controls show, where the face's whole motion may be another's.

        It is where a codec has copied parts of the face, and where no control shows anything at that motion's apex:
        flakes, drops and dust that pass before the face move more than it does.
        """
        course = self._course(solved, equations)
        if course is None:
            return None
        shares = excursions(solved.curves, self._reader.basis.controls)
        shown = event is not None and shows_at(shares, self._clip.track.seconds, event.apex)
        return self._observed.timed_by(course, anyway=not shown)

    def _course(self, solved: Solved, equations: NDArray[np.floating]) -> NDArray[np.float64] | None:
        """Return the course of the expression that the controls show, [T] (`RigReader.course`); None if they rest."""
        moved = self._moved(solved)
        return self._reader.course(equations, moved) if moved.any() else None

    def _moved(self, solved: Solved) -> NDArray[np.float64]:
        """Return the controls' excursions without the eyes', [T, K]."""
        moved = excursions(solved.curves, self._reader.basis.controls)
        moved[:, of_eyes(self._reader.basis.controls)] = 0.0
        return np.asarray(moved)

    def _above_codec(self, solved: Solved, moves: bool) -> Solved:
        """Return curves without what the video's codec may have moved by itself, and say what is left out."""
        curves, resting = above_codec(solved.curves, self._reader.basis.controls, moves)
        if resting:
            named = ", ".join(resting[:_NAMED]) + (" …" if len(resting) > _NAMED else "")
            self._notes.warning(
                f"In a video compressed so strongly these controls' small motion may be the codec's own, and they stay "
                f"at rest: {named}; film at a higher bit rate, or take the camera's own file."
            )
        return replace(solved, curves=curves)

    def _explained(self, event: MotionEvent, solved: Solved) -> MotionEvent | None:
        """Return the event without what the controls of a whole face don't follow, and say so where that changes it."""
        shows = shows_anything(solved.curves, self._reader.basis.controls)
        explained = self._observed.explained_event(solved.region_residual, shows)
        if explained != event:
            self._notes.warning(_NO_CONTROL_FOLLOWS)
        return explained

    def _with_reference(self, report: Report, equations: NDArray[np.floating], whole: bool) -> Report:
        """Return the report with the doubt about the reference that is left when the event is known.

        Where the state in which the face settles is an expression of the reference's face, and hardly the other way
        round, the controls of a whole face leave none; where it is the other way round, the reference shows an
        expression.
        """
        if report.reference is None:
            return report
        reference, first = self._observed.concluded(report.reference, report.events), self._observed.settled
        if whole and first is not None and reference.better == self._observed.rested:
            forward, backward = self._left(equations[first:], first)
            if forward < CLEARLY * backward:
                reference = replace(reference, not_neutral="", better=None)
            elif backward < CLEARLY * forward and reference.better is not None:
                here = float(self._clip.times[self._clip.chosen.index])
                reference = replace(reference, not_neutral=shows_expression(here, reference.better))
        return replace(report, reference=reference)

    def _left(self, equations: NDArray[np.floating], first: int) -> tuple[float, float]:
        """Return what the controls leave of the motion from a frame on, and of its opposite, as shares.

        Where least squares explain the motion better in nearly all of the frames, nothing of it is taken to be left.
        """
        if (opposite_share(self._reader, equations) < 1).mean() > _MOST:
            return 0.0, 1.0
        everywhere = np.ones(equations.shape[1])
        seconds = [float(second) for second in self._clip.track.seconds[first:]]
        forward, backward = (self._reader.explained(equations, seconds, backward=way) for way in (False, True))
        return forward.residual_of_clip(everywhere), backward.residual_of_clip(everywhere)

    def _write(self, found: Solution) -> list[str]:
        """Write the files; return the names of the controls that are in the Live Link Face CSV."""
        curves, controls, folder = found.curves, self._reader.basis.controls, self._folder
        folder.commit(artefacts.WEIGHTS, curves.encode())
        folder.commit(artefacts.WEIGHTS_CSV, curves.to_csv().encode())
        exchanged = [control.name for control in controls if stands_for_arkit(control.name)]
        if exchanged:
            began = start_timecode(self._clip.request.path)
            start = Fraction(0) if began is None else began + self._clip.reader.info.start
            folder.commit(artefacts.LIVE_LINK, to_live_link(as_shapes(curves, controls), start=start).encode())
        return exchanged

    def _report(self, found: Solution, exchanged: list[str], moves: bool) -> WeightsReport:
        controls, curves = self._reader.basis.controls, found.curves
        peaks = np.abs(curves.values - [control.rest for control in controls]).max(0)
        kept = apex_kept(excursions(found.solved.curves, controls), found.shares)
        return WeightsReport(
            controls=len(controls),
            read_from=self._reader.read_from,
            unseen=tuple(name for name, seen in zip(curves.names, curves.visibility, strict=True) if seen == 0),
            locked=self._rig.locked,
            peaks={name: float(peak) for name, peak in zip(curves.names, peaks, strict=True) if peak > 0},
            residual=found.solved.residual,
            residual_by_region=dict(found.solved.region_residual),
            smoothing=SmoothingReport(self._rig.smoothing, kept),
            action_units=tuple(
                action_units(
                    curves,
                    controls,
                    readings(self._reader.basis),
                    0.0 if moves else CERTAIN,
                    COMPRESSED_SHARE if self._observed.compression.strong else LEAST_SHARE,
                )
            ),
            live_link_face=tuple(exchanged),
            regions=_regions(found.solved, self._intensity),
            match="shape" if self._observed.sparse else self._rig.match,
            at_limit=found.solved.at_limit,
        )


def shows_at(shares: NDArray[np.floating], seconds: Sequence[Fraction | float], apex: float) -> bool:
    """Return whether any control that shows something does so near a time, in its frame or beside it; or none does.

    shares: [N, K] of the controls' ranges. seconds: of the frames; apex: in the same.

    >>> shares = np.array([[0.0], [0.0], [0.0], [0.0], [0.05], [0.1]])
    >>> shows_at(shares, np.arange(6), 1.0), shows_at(shares, np.arange(6), 4.0)
    (False, True)
    """
    frame = int(np.abs(np.array([float(each) for each in seconds]) - apex).argmin())
    size = np.abs(shares)
    near, peak = size[max(0, frame - 1) : frame + 2].max(0), size.max(0)
    telling = peak >= LEAST_PEAK
    return bool(not telling.any() or (near >= _SHOWN * peak)[telling].any())


def _is_whole(solved: Solved) -> bool:
    """Return whether the rig has controls for a whole face in sight."""
    return bool(sum(solved.curves.visibility > 0) >= WHOLE_FACE)


def _regions(solved: Solved, intensity: float = 1.0) -> dict[str, RegionReport]:
    """Return the regions' peak motion, asked and shown, times the intensity."""
    return {
        name: RegionReport(intensity * each.asked, intensity * each.shown, each.gain)
        for name, each in solved.regions.items()
    }


def shortfalls(solved: Solved) -> list[str]:
    """Return a sentence for what the rig can't show of the driver's motion, and for curves that didn't settle."""
    found = []
    regions = _regions(solved)
    if little := shown_in_part(regions):
        found.append(little)
    shown = [name for name, each in regions.items() if not is_little(each)]
    far = [name for name in shown if solved.region_residual.get(name, 0.0) > _OTHERWISE]
    if far:
        found.append(
            f"The rig's shapes move in other ways here than the driver's face: {', '.join(far)}. What is keyed is the "
            "nearest that the rig can do. Compare it with the driver, or choose other controls."
        )
    if not solved.state.converged:
        found.append(
            f"The values of the controls still changed by {solved.state.change:.0%} of the largest in the last of "
            f"{solved.state.iterations} iterations; look the curves over."
        )
    return found


def out_of_sight(curves: ControlCurves, controls: Sequence[Control]) -> list[str]:
    """Return a sentence for controls of an expression that move nothing in sight, so that they were not solved."""
    seen = dict(zip(curves.names, curves.visibility, strict=True))
    hidden = [control.name for control in controls if seen.get(control.name) == 0 and _expresses(control)]
    if not hidden:
        return []
    named = ", ".join(hidden[:_NAMED]) + (" …" if len(hidden) > _NAMED else "")
    return [
        f"What these controls move isn't seen where the motion was read, and they stay at rest: {named}. Turn the "
        "character to the camera, or mirror them from the other side."
    ]


def _expresses(control: Control) -> bool:
    meaning = recognise(control.name)
    if meaning is not None and meaning.units:
        return any(unit.number in MICRO_UNITS for unit in meaning.units)
    return part_of(control.part) in _EXPRESSIVE


def _npy(array: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    np.save(data, array, allow_pickle=False)
    return data.getvalue()
