# SPDX-License-Identifier: GPL-3.0-or-later
"""What a training set is made of, in shares, and what is left out to learn what each ingredient brings."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Ingredients:
    """How often a training set has what, from 0 (never) to 1 (always).

    Of the rendered pairs: `bent`, the units are bent, and in `wide` of those all of the face flows as well; `turned`,
    the head is turned away from the camera; `harsh`, the light comes from one side. Of the people: `reshaped`, the head
    has other proportions. Of the films: `pulled`, a face moves as no unit moves it; `detailed`, the skin has more
    texture than it was painted with; `in_a_room`, `in_glasses`, `in_hair`, `in_a_beard`; `clips`, the film is frames of
    a compressed video, `generated_clips` the same of a generator's frames, which nobody has to compress; `stills`, it
    is JPEG pictures.
    """

    bent: float = 0.6
    wide: float = 1 / 3
    turned: float = 0.4
    harsh: float = 0.3
    reshaped: float = 0.4
    pulled: float = 0.3
    detailed: float = 0.5
    in_a_room: float = 0.5
    in_glasses: float = 0.15
    in_hair: float = 0.2
    in_a_beard: float = 0.15
    clips: float = 0.38
    generated_clips: float = 0.1
    stills: float = 0.12

    def without(self, names: Collection[str]) -> Ingredients:
        """Return these ingredients less the named ones of `RENDERED` and `FILMED`, whose shares become 0.

        Raises KeyError for a name that is in neither.
        """
        fields = {field for name in names for field in (RENDERED | FILMED)[name]}
        return replace(self, **dict.fromkeys(fields, 0.0))


EVERYTHING = Ingredients()

# What can be left out, by name: of the rendered pairs, and of the films that are made of them.
RENDERED = {"bending": ("bent", "wide"), "heads": ("reshaped", "turned"), "hard-light": ("harsh",)}
FILMED = {
    "pulls": ("pulled",),
    "texture": ("detailed",),
    "dressing": ("in_a_room", "in_glasses", "in_hair", "in_a_beard"),
    "compression": ("clips", "generated_clips", "stills"),
}


def folder_of(kind: str, without: Collection[str]) -> str:
    """Return the name of the folder in which pairs or films without these ingredients are kept.

    Sets that differ share what is the same: one that leaves out what is only filmed has the same `pairs`.

    >>> folder_of("pairs", ["pulls"]), folder_of("magplus", ["pulls", "bending"])
    ('pairs', 'magplus-without-bending-pulls')
    """
    left_out = sorted(name for name in without if name in RENDERED or kind != "pairs")
    return "-".join([kind, "without", *left_out]) if left_out else kind
