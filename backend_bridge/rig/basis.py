# SPDX-License-Identifier: GPL-3.0-or-later
"""The rig basis: how every control moves the avatar's picture, measured on the rig itself through the depsgraph."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.arrays import FARTHEST, CapturedMesh, checked, encode_captured, read_captured
from ..files.errors import InputError
from ..files.typed_json import from_data

FORMAT = 1
SHAPE_KEY = "shape_key"  # the kind of control whose values mean the same on every rig
_LONGEST_NAME = 1024  # Blender's own end at 63 bytes; a property's has an object and a path in it


@dataclass(frozen=True)
class Channel:
    """A further number that always has the value of a control: the same shape key on the teeth or the lashes."""

    owner: str
    data_path: str


@dataclass(frozen=True)
class Control:
    """One animatable number of the rig.

    `kind` is one of those in `operators.rig.kinds`. `part`, `motion` and `axis` are what it is, one by one: the bone
    "lip.L", its "location", along "X"; a shape key is a part that can move in one way only, so that the others are
    empty. `owner` is the name of the ID that is animated (for a shape key the object that carries it), `data_path` the
    animated property seen from that ID's animation data, `rest` its value when the basis was measured, `low` and
    `high` the range in which it may be solved. `linked` numbers move with it.

    `response` is empty for a control whose effect grows in proportion to it, as the basis has it. For one that bends (a
    lid that turns about its eye) it lists, in ascending order, excursions from rest and the amount of the control's
    basis that each one shows.
    """

    name: str
    kind: str
    owner: str
    data_path: str
    rest: float
    low: float
    high: float
    linked: tuple[Channel, ...] = ()
    response: tuple[tuple[float, float], ...] = ()
    part: str = ""
    motion: str = ""
    axis: str = ""

    def __post_init__(self) -> None:
        """Keep the numbers floats: whoever measures may hand over whole numbers."""
        for name in ("rest", "low", "high"):
            object.__setattr__(self, name, float(getattr(self, name)))

    def check(self) -> None:
        """Raise `ValueError` for a range or a response that no control has."""
        numbers = [self.rest, self.low, self.high, *(number for pair in self.response for number in pair)]
        if not all(abs(number) <= FARTHEST for number in numbers):
            raise ValueError(f"the control {self.name!r} has values beyond {FARTHEST:g}")
        excursions = [excursion for excursion, _ in self.response]
        if self.low > self.high or excursions != sorted(excursions):
            raise ValueError(f"the range of the control {self.name!r} ends before it begins")

    @property
    def amounts(self) -> tuple[float, float]:
        """The least and the greatest amount of its basis that the control shows within its range."""
        if not self.response:
            return self.low - self.rest, self.high - self.rest
        return self.response[0][1], self.response[-1][1]

    @property
    def modelled(self) -> tuple[float, float]:
        """The values between which a control shows what it was made for, within its range.

        A shape key shows its shape at 1, and the opposite at -1, however far its slider goes beyond that: some riggers
        leave room, and a bake of a strong expression makes it.

        >>> Control("Smile", "shape_key", "Head", "", rest=0.0, low=0.0, high=10.0).modelled
        (0.0, 1.0)
        """
        if self.kind != SHAPE_KEY:
            return self.low, self.high
        low, high = max(self.low, -1.0), min(self.high, 1.0)
        return low if low < self.rest else self.low, high if high > self.rest else self.high

    def excursion_of(self, amount: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return how far from rest the control must go to show these amounts of its basis.

        One that bends goes to the end of its range for more than it can show there.

        >>> bent = ((0.0, 0.0), (0.5, 0.1), (1.0, 1.0))
        >>> lid = Control("Lid", "property", "Rig", "lid", rest=0.0, low=0.0, high=1.0, response=bent)
        >>> lid.excursion_of(np.array([0.1, 0.55, 2.0])).tolist()
        [0.5, 0.75, 1.0]
        """
        if not self.response:
            return amount
        excursions, amounts = np.array(self.response).T
        return np.interp(amount, amounts, excursions)

    def amount_of(self, excursion: float) -> float:
        """Return the amount of its basis that the control shows at this distance from rest.

        >>> bent = ((0.0, 0.0), (0.5, 0.1), (1.0, 1.0))
        >>> Control("Lid", "property", "Rig", "lid", rest=0.0, low=0.0, high=1.0, response=bent).amount_of(0.75)
        0.55
        """
        if not self.response:
            return excursion
        excursions, amounts = np.array(self.response).T
        return float(np.interp(excursion, excursions, amounts))


def ranges(controls: Sequence[Control]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the rest of K controls and between which values they show what they were made for, [K] each."""
    table = np.array([[control.rest, *control.modelled] for control in controls]).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


def amount_ranges(controls: Sequence[Control]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the least and the greatest amount of the basis that K controls show within their ranges, [K] each."""
    table = np.array([control.amounts for control in controls]).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@dataclass(frozen=True)
class RigBasis:
    """Screen-space effect of each control on V vertices of the face.

    image_size: (width, height) px of the avatar's picture, the frame of all coordinates.
    positions: [V, 2] float32, where each vertex is in the picture at the present pose; x right, y down, pixel
        centres at integers.
    depth: [V] float32, distance from the camera plane in scene units.
    visible: [V] bool, in the picture and not hidden behind the avatar itself.
    displacement: [K, V, 2] float32, px of motion per unit of the control, measured by moving that control alone.
    triangles: [T, 3] int32 into the vertices.
    excluded: why a control of the rig is not in the basis, by its name ("is driven").
    """

    image_size: tuple[int, int]
    controls: tuple[Control, ...]
    positions: NDArray[np.float32]
    depth: NDArray[np.float32]
    visible: NDArray[np.bool_]
    displacement: NDArray[np.float32]
    triangles: NDArray[np.int32]
    excluded: dict[str, str] = field(default_factory=dict)

    def posed(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the control values [N, K] that show what values of a rig without bends [N, K] would."""
        columns = [
            control.rest + control.excursion_of(column - control.rest)
            for control, column in zip(self.controls, values.T, strict=True)
        ]
        return np.stack(columns, axis=1) if columns else values

    def encode(self) -> bytes:
        """Return the basis as a file, see `encode_captured`."""
        return encode_captured(
            FORMAT,
            CapturedMesh(self.image_size, self.positions, self.depth, self.visible, self.triangles),
            controls=_packed([asdict(control) for control in self.controls]),
            excluded=_packed(self.excluded),
            displacement=self.displacement.astype(np.float32),
        )

    def save(self, path: Path) -> None:
        """Write what `encode` returns."""
        path.write_bytes(self.encode())

    @classmethod
    def load(cls, path: Path) -> RigBasis:
        """Read what `save` wrote. Raises `InputError` for a missing, damaged or newer file, or one that is no rig's."""
        try:
            arrays, mesh = read_captured(path, FORMAT)
            controls = from_data(tuple[Control, ...], _unpacked(arrays, "controls"), "controls.")
            basis = cls(
                image_size=mesh.image_size,
                controls=controls,
                positions=mesh.positions,
                depth=mesh.depth,
                visible=mesh.visible,
                displacement=checked(
                    arrays, "displacement", "f", (len(controls), len(mesh.positions), 2), FARTHEST
                ).astype(np.float32, copy=False),
                triangles=mesh.triangles,
                excluded=from_data(dict[str, str], _unpacked(arrays, "excluded"), "excluded."),
            )
            basis._check()
            return basis
        except (ValueError, OverflowError, RecursionError, TypeError) as error:
            raise InputError(
                f"{path.name} can't be read as a rig basis ({error}); capture the avatar again."
            ) from error

    def _check(self) -> None:
        """Raise `ValueError` for numbers that contradict each other."""
        seen = self.positions[self.visible]
        if ((seen < -np.array(self.image_size)) | (seen > 2 * np.array(self.image_size))).any():
            raise ValueError("vertices that are seen lie outside the picture")
        names = Counter(control.name for control in self.controls)
        for name, times in names.items():
            if times > 1 or not 0 < len(name) <= _LONGEST_NAME or not _is_text(name):
                raise ValueError(f"the control name {name[:40]!r} is there twice, or is no name")
        for control in self.controls:
            control.check()


def _is_text(name: str) -> bool:
    """Whether a name can be written to a file; JSON can hold halves of characters, which can't."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unpacked(arrays: dict[str, NDArray[Any]], name: str) -> Any:
    """Return the JSON that an array holds."""
    return json.loads(checked(arrays, name, "u", (None,)).tobytes())


def _packed(data: object) -> NDArray[np.uint8]:
    """Return JSON as an array, which .npz stores without pickles."""
    return np.frombuffer(json.dumps(data).encode(), np.uint8)
