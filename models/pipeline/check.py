# SPDX-License-Identifier: GPL-3.0-or-later
"""`backends check`: do the weights that were added work? Judged on a picture and a clip, with a sheet to look at.

Names and shapes are right for random numbers too, and for files of two releases side by side. Weights that work are
recognised by what they do: at rest they give the avatar back, face and all; when the driver's face moves, the avatar's
moves the same way.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...backend_bridge.backends import BACKENDS, checkpoint_folder
from ...backend_bridge.files.errors import ExitCode, InputError, MagPlusError
from ...backend_bridge.job.spec import Avatar, Driving, JobSpec, Magnification
from ..backends import Framing
from ..backends.options import parse_options, with_files_in
from ..device import choose_device
from ..face import FaceLandmarker, select_face
from ..face.correspondence import Correspondence
from ..magnification.magnifier import ROLES
from .animated_avatar import AnimatedAvatar
from .avatar import AvatarPicture
from .check_sheet import Sheet, check_place, draw_sheet, write_sheet
from .clip_opening import open_clip
from .clip_request import LARGEST_CROP, ClipRequest
from .driver import Driver
from .factors import Factors, backend_warnings, choose_factors, peak_motion
from .notes import Notes, Unheard
from .placement import find_avatar_face
from .probes import Probes
from .session import Session, find_backend

ALIKE = 0.75  # correlation of the neutral frame with the avatar, in the face; networks that work are above 0.9
SAME_PLACE = 0.1  # of the face's width: how far the generated face's landmarks may lie from the avatar's
SAME_WAY = 0.25  # cosine between the motion shown and the motion generated, over the face
LOUD = 3.0  # a gain from which on it is no answer any more


@dataclass(frozen=True)
class Findings:
    """What a backend did with the picture and the clip.

    likeness: correlation of the neutral generated frame with the avatar within the face, in [-1, 1]. face_found:
    whether there is a face in it where the avatar's is. following: cosine between the motion that it was shown and the
    motion that it generated, in [-1, 1]. x1, magnified: the generated motion at the clip's apex, as shares of the
    face's width, with the driver as filmed and magnified by `alpha`. gain, shake, flicker, own motion, change: see
    `backend_bridge.job.report.OwnChanges`.
    """

    likeness: float
    face_found: bool
    following: float
    alpha: float
    gain: float
    x1: float
    magnified: float
    shake: float
    flicker: float
    motion_at_rest: float | None
    change_at_rest: float | None

    @property
    def paints(self) -> bool:
        """Whether it gives the avatar back at rest."""
        return self.likeness >= ALIKE and self.face_found

    @property
    def follows(self) -> bool:
        """Whether the avatar's face moves as the driver's does."""
        return self.following >= SAME_WAY and self.gain < LOUD

    @property
    def works(self) -> bool:
        """Whether the weights look like working ones."""
        return self.paints and self.follows


def check(
    session: Session, name: str, picture: Path, driving: Driving, sheet: Path, options: dict[str, object], device: str
) -> tuple[Findings, list[str]]:
    """Run a backend on a picture and a clip, and write the sheet; return what was found, and sentences that judge it.

    Raises `InputError` for missing checkpoints, and for a picture or a clip without a face.
    """
    check_place(sheet)  # before the work
    notes, title = Notes(Unheard()), find_backend(name).info.title
    driver, avatar = _opened(session, name, picture, driving, options, choose_device(device), notes)
    spec = JobSpec(driving, Avatar(str(picture)), backend=name, magnification=Magnification())
    with closing(Probes(driver, avatar)) as probes:
        factors, _ = choose_factors(spec, probes, notes)

    (_, seen), *_ = driver.clip.batches(1, [_apex(driver, avatar)])
    seen = seen.to(avatar.device)
    observed = driver.observe(seen)
    as_filmed, shown = (driver.magnified(seen, observed, alpha) for alpha in (1.0, factors.alpha))
    plain, magnified = (avatar.animate(each) for each in (as_filmed, shown))
    size, landmarks = avatar.window.crop_size, driver.clip.reference.landmarks
    carried = Correspondence(avatar.landmarks, landmarks, (size, size)).carry(shown.motion.flow)
    source = avatar.window.cut(avatar.picture.over()).to(avatar.device)
    findings = Findings(
        likeness=_likeness(avatar.neutral, source, avatar.mask),
        face_found=_face_is_there(session.landmarker(), avatar.neutral, avatar),
        following=_cosine(carried, magnified.motion.flow, avatar.mask),
        alpha=factors.alpha,
        gain=factors.gain,
        x1=float(peak_motion(plain.motion.flow, avatar.mask)[0]) / avatar.face_width,
        magnified=float(peak_motion(magnified.motion.flow, avatar.mask)[0]) / avatar.face_width,
        shake=factors.own.shake,
        flicker=factors.own.flicker,
        motion_at_rest=factors.own.motion,
        change_at_rest=factors.own.change,
    )
    pictures = Sheet(
        source, driver.reference.image, shown.frames, avatar.neutral, plain.frames, magnified.frames, carried,
        magnified.motion.flow,
    )  # fmt: skip
    write_sheet(sheet, draw_sheet(pictures, title, _figures(findings)))
    return findings, [*judgement(findings, factors, title), *notes.warnings]


def _opened(
    session: Session,
    name: str,
    picture: Path,
    driving: Driving,
    options: dict[str, object],
    device: torch.device,
    notes: Notes,
) -> tuple[Driver, AnimatedAvatar]:
    """Load the backend, and find both faces."""
    info, landmarker, here = find_backend(name).info, session.landmarker(), Path.cwd()
    chosen = with_files_in(parse_options(find_backend(name).Options, options, title=info.title), here, title=info.title)
    backend = session.backend(name, session.origins(name), device, chosen)
    framing = getattr(backend, "framing", Framing())
    source = AvatarPicture.read(picture.absolute())
    clip = open_clip(ClipRequest.of(here, driving, info.frame_size, framing), landmarker, notes)
    if len(clip.present) < 2:
        raise InputError("The clip has a single frame with a face, in which nothing moves; choose a longer one.")
    face = find_avatar_face(source, None, None, landmarker, clip.reference.landmarks)
    window = face.window(framing, source.size, LARGEST_CROP, info.frame_size)
    magnifiers = {role: session.magnifier(role, device) for role in ROLES}
    driver = Driver(clip, magnifiers["magplus"], {}, device)
    return driver, AnimatedAvatar(source, face, window, backend, magnifiers["demagplus"], driver, device, notes)


def judgement(findings: Findings, factors: Factors, title: str) -> list[str]:
    """Return the verdict in sentences, the most important one first."""
    if findings.works:
        sentences = [f"{title}: this looks like working weights."]
    else:
        sentences = [f"{title}: this does not look like working weights."]
    if not findings.paints:
        sentences.append(
            f"With the driver at rest, what it generates is not the avatar's picture (likeness "
            f"{findings.likeness:.2f}, working weights have {ALIKE:.2f} and more): random numbers look so, and files "
            "of another network or release. Add its authors' files again, all from one release."
            if findings.face_found
            else "With the driver at rest, what it generates shows no face where the avatar's is (likeness "
            f"{findings.likeness:.2f}, working weights have {ALIKE:.2f} and more): random numbers look so, and files "
            "of another network or release. Add its authors' files again, all from one release."
        )
    elif not findings.follows:
        sentences.append(
            f"It gives the avatar back, but the avatar's face does not move as the driver's does (agreement "
            f"{findings.following:.2f} of 1, gain {findings.gain:.2f}): the networks that find the motion are random "
            "or belong to another release than those that paint. Add its authors' files again, all from one release."
        )
    else:
        sentences.append(
            f"At rest it gives the avatar back (likeness {findings.likeness:.2f}), and the avatar's face moves the way "
            f"that the driver's does (agreement {findings.following:.2f} of 1, gain {findings.gain:.2f}: "
            f"{findings.x1:.2%} of the face's width as filmed, {findings.magnified:.2%} magnified {findings.alpha:.1f} "
            "times)."
        )
        sentences += backend_warnings(factors, 1.0, title)
    return sentences


def _apex(driver: Driver, avatar: AnimatedAvatar) -> int:
    """Return the frame of the driver's largest motion among the liveliest few."""
    best, most = driver.clip.present[-1], -1.0
    for (index,), seen in driver.clip.batches(1, driver.clip.liveliest(4)):
        observed = driver.observe(seen.to(avatar.device))
        if (peak := float(peak_motion(observed.local.flow, driver.mask)[0])) > most:
            best, most = index, peak
    return best


def _likeness(generated: Tensor, source: Tensor, mask: Tensor) -> float:
    """Return the correlation of two pictures [1, 3, S, S] within a mask [1, 1, S, S], over places and colours."""
    if generated.shape != source.shape:
        source = torch.nn.functional.interpolate(source, generated.shape[-2:], mode="bilinear", antialias=True)
    weight = mask.expand_as(generated)
    total = weight.sum().clamp_min(1e-6)
    a, b = (each - (weight * each).sum() / total for each in (generated, source))
    both, one, other = ((weight * x * y).sum() for x, y in ((a, b), (a, a), (b, b)))
    return float(both / (one * other).sqrt().clamp_min(1e-9))


def _face_is_there(landmarker: FaceLandmarker, generated: Tensor, avatar: AnimatedAvatar) -> bool:
    """Whether a face is seen in a generated frame where the avatar's face is, or none is seen in the avatar either."""
    found = _faces(landmarker, generated)
    if found is None:
        clean = avatar.window.cut(avatar.picture.over())
        return _faces(landmarker, clean) is None
    apart = np.linalg.norm(found[:, :2] - avatar.landmarks[:, :2], axis=1).mean()
    return bool(apart < SAME_PLACE * avatar.face_width)


def _faces(landmarker: FaceLandmarker, picture: Tensor) -> NDArray[np.float32] | None:
    seen = landmarker.detect(np.ascontiguousarray(picture[0].permute(1, 2, 0).cpu().numpy()), thorough=True)
    return select_face(seen).points if seen else None


def _cosine(shown: Tensor, generated: Tensor, mask: Tensor) -> float:
    """Return how far two motions [1, 2, S, S] go the same way within a mask, in [-1, 1]."""
    both, one, other = ((mask * x * y).sum() for x, y in ((shown, generated), (shown, shown), (generated, generated)))
    return float(both / (one * other).sqrt().clamp_min(1e-9))


def _figures(findings: Findings) -> str:
    figures = [
        f"likeness {findings.likeness:.2f}",
        f"agreement {findings.following:.2f}",
        f"gain {findings.gain:.2f}",
        f"shake {findings.shake:.2%} of the face's width",
        f"flicker {findings.flicker:.2%} of white",
    ]
    if findings.motion_at_rest is not None:
        figures.append(f"own motion at rest {findings.motion_at_rest:.2%} of the face's width")
    if findings.change_at_rest is not None:
        figures.append(f"change at rest {findings.change_at_rest:.2%} of white")
    return ", ".join(figures)


def main(arguments: Sequence[str]) -> int:
    """Check one backend and print the judgement; return an `ExitCode`, `BAD_INPUT` for weights that don't work."""
    parser = argparse.ArgumentParser(prog="backends check", description="Try a backend's weights on a face and a clip.")
    names = [info.name for info in BACKENDS if info.parts]
    parser.add_argument("backend", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--picture", type=Path, required=True, help="a picture with a face: the avatar")
    parser.add_argument("--clip", type=Path, required=True, help="a clip of a face that moves: the driver")
    parser.add_argument("--trim", type=float, nargs=2, metavar=("FROM", "TO"), help="seconds of the clip to use")
    parser.add_argument("--sheet", type=Path, help="where the sheet goes; default: NAME_check.png beside the picture")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option of the backend")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--folder", type=Path, default=checkpoint_folder(), help="where checkpoints are kept")
    parser.add_argument("--json", action="store_true", help="print figures as JSON besides")
    given = parser.parse_args(arguments)
    sheet = given.sheet or given.picture.absolute().parent / f"{given.backend}_check.png"
    driving = Driving(str(given.clip.absolute()), trim=tuple(given.trim) if given.trim else None)
    try:
        session = Session(given.folder)
        options = dict(map(_option, given.option))
        findings, sentences = check(session, given.backend, given.picture, driving, sheet, options, given.device)
    except MagPlusError as error:
        print(error, file=sys.stderr)
        return int(error.exit_code)
    if given.json:
        print(
            json.dumps(
                {**asdict(findings), "works": findings.works, "sentences": sentences, "sheet": str(sheet)}, indent=2
            )
        )
    elif findings.works:
        print(*sentences, f"The sheet is {sheet}.", sep="\n")
    else:
        # The verdict is last, for a terminal that shows the last line alone.
        print(*sentences[1:], f"The sheet is {sheet}.", sentences[0], sep="\n")
    return int(ExitCode.OK if findings.works else ExitCode.BAD_INPUT)


def _option(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise InputError(f"{text!r} is not NAME=VALUE.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
