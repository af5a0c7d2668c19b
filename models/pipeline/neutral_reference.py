# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the reference shows an expression, as the controls of a whole face tell.

The mesh's scores hardly respond to some faces' expressions. But controls go one way from rest: against a reference in
which the face smiles, a face at rest moves in the opposite way of a smile, which they explain badly, and the opposite
of that motion well.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from ...backend_bridge.rig.basis import amount_ranges
from ..face import with_open_eyes
from ..rig.box_least_squares import solve_boxed
from .batch import Batch
from .factors import skin_motion
from .known_motion import without_motion
from .probes import Probes
from .rig_reader import HEAD, DriverReader, RigReader

WHOLE_FACE = 20  # controls in sight, by which a rig can follow any part of a face; those of FACS or ARKit have more
# Of the residual: expressions of 2 % of the face's width, with a rig of another face, leave 0.08 to 0.6 of what their
# opposites leave, those of half a per cent 0.2 to 1.2 (six expressions, forwards and backwards).
CLEARLY = 0.6
_EXPLAINED = 0.5  # most of a residual that explains a motion
_ABOVE_NOISE = 2e-3  # of the face's width; the noise of a still face is below 1.5e-3
_LEAST = 3  # frames that agree
_RIDGE = 1e-3  # of the median control's information: determines what the equations leave open
_AS_FAR = 0.9  # of the largest motion: frames that are as near to rest


def frame_at_rest(lay: Callable[[], DriverReader], probes: Probes) -> int | None:
    """Return a frame in which the face is at rest if it clearly shows an expression in the reference, else None.

    Only the frames are looked at in which the face lies farthest from the reference: those that the factors are chosen
    from, without blinks. lay: returns what reads a whole face's controls, `WHOLE_FACE` or more; called while the frames
    are measured.
    """
    driver, avatar = probes.driver, probes.avatar
    if len(probes.indices) < _LEAST:
        return None
    reader = lay()
    equations, sizes = [], []
    for each in probes:
        equations.append(reader.read(Batch(each.seen, driver, avatar, 1.0, each.observed)))
        sizes.append(skin_motion(driver, each.observed).cpu().numpy() / driver.face_width)
    probes.keep_equations(equations)
    track, frames = driver.clip.track, np.array(probes.indices)
    kept = np.isin(frames, with_open_eyes(track))
    of_kept = np.concatenate(equations)[kept], np.concatenate(sizes)[kept]
    return opposed(reader, *of_kept, frames[kept].tolist(), track.seconds)


def opposed(
    reader: RigReader,
    equations: NDArray[np.floating],
    sizes: NDArray[np.floating],
    frames: list[int],
    seconds: Sequence[float | Fraction],
) -> int | None:
    """Return which of some frames lies farthest from the reference the opposite way of an expression, else None.

    The rig decides whether there is one, the clip which it is (`_resting`).

    equations: [P, S, 10], see `RigReader`. sizes: [P], the face's motion as a share of its width. frames: their numbers
    in the clip, whose frames' times `seconds` are.
    """
    moving = np.flatnonzero(sizes > _ABOVE_NOISE)
    # Least squares tell nearly all clips that begin at rest, in a tenth of the time of the whole solution.
    if len(moving) < _LEAST or (opposite_share(reader, equations[moving]) > 1).sum() < _LEAST:
        return None
    times = [float(seconds[frames[each]]) for each in moving]
    everywhere = np.ones(equations.shape[1])
    backward = reader.explained(equations[moving], times, backward=True)
    left_backward = backward.residual_in(everywhere)
    if (backward.curves.visibility > 0).sum() < WHOLE_FACE or (left_backward < _EXPLAINED).sum() < _LEAST:
        return None  # whatever the controls leave of the motion itself
    left = reader.explained(equations[moving], times).residual_in(everywhere)
    clear = moving[(left_backward < CLEARLY * left) & (left_backward < _EXPLAINED)]
    return frames[_resting(sizes, moving, clear)] if len(clear) >= _LEAST else None


def _resting(sizes: NDArray[np.floating], moving: NDArray[np.intp], clear: NDArray[np.intp]) -> int:
    """Return the middle one of the frames that lie as far from the reference as the farthest of the `clear` ones.

    It goes by the clip: a rig says whether a frame may be it. So avatars whose rigs explain some of the frames
    otherwise have the same reference, and their shots share its motion. sizes: of all frames; the others are numbers.
    """
    farthest = sizes[clear].max()
    as_far = moving[(sizes[moving] >= _AS_FAR * farthest) & (sizes[moving] <= farthest)]
    return int(clear[np.abs(clear - as_far[len(as_far) // 2]).argmin()])


def opposite_share(reader: RigReader, equations: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return [N], the energy that the controls explain of the opposite of each frame's motion, over that of the motion.

    By least squares within the controls' ranges, of the face's own motion; equations: [N, S, 10], see `RigReader`.
    """
    own = without_motion(equations[..., :6].astype(np.float64), equations[..., HEAD])
    x, y = np.ascontiguousarray(np.moveaxis(reader.columns.astype(np.float64), -1, 0))  # [K, S] each, as BLAS takes it
    xx, xy, yy, hx, hy = (own[:, None, :, channel] for channel in range(5))
    across = (x * xy) @ y.T
    gram = (x * xx) @ x.T + across + across.swapaxes(1, 2) + (y * yy) @ y.T
    pull = ((x * hx) + (y * hy)).sum(2)
    ridge = max(_RIDGE * float(np.median(np.diagonal(gram.mean(0)))), 1e-12)
    low, high = amount_ranges(reader.basis.controls)
    energies = []
    for way in (1, -1):
        values = solve_boxed(gram + ridge * np.eye(len(x)), way * pull, low, high).values
        energies.append((values * (2 * way * pull - np.einsum("nij,nj->ni", gram, values))).sum(1))
    return np.asarray(energies[1] / np.maximum(energies[0], 1e-12))
