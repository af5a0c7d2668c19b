# SPDX-License-Identifier: GPL-3.0-or-later
"""What rig controls are called, and which facial action units (FACS) they stand for.

Names are for people: for the list of controls, the report on action units and the exchange with other tools. What a
control does is measured, whatever it is called; names tell how likely it is in play where several explain a motion
(`models.rig.selection`).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from types import MappingProxyType

from .morphs import read_morph
from .plain_names import PlainMeaning, read_plainly, shuts_lids


class Side(Enum):
    """The side of the face, the person's own."""

    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


@dataclass(frozen=True)
class ActionUnit:
    """An action unit. `approximate`: the shape that stands for it shows only part of it, or shows another unit too."""

    number: int
    name: str
    approximate: bool = False


@dataclass(frozen=True)
class Meaning:
    """The meaning of a control's name.

    shape: the ARKit shape without its side ("mouthSmile"), "browUp" for a brow that rises as one, "mouthTighten", or ""
    for a control that is named by its unit alone.
    """

    shape: str
    side: Side
    units: tuple[ActionUnit, ...]

    @property
    def arkit(self) -> str:
        """The ARKit name ("mouthSmileLeft"); a shape that ARKit splits comes without a side if the rig doesn't."""
        if self.side is Side.BOTH or self.shape in _UNSIDED:
            return self.shape
        return self.shape + self.side.name.capitalize()

    @property
    def is_joint(self) -> bool:
        """Whether it shows as one what ARKit has several shapes for."""
        return self.shape in _SPLIT

    @property
    def arkit_names(self) -> frozenset[str]:
        """The names of all ARKit shapes that it shows, those of both sides where it has none, both parts of a brow."""
        parts = [Meaning(shape, self.side, self.units) for shape in _SPLIT.get(self.shape, (self.shape,))]
        sides = ("", "Left", "Right") if self.side is Side.BOTH else ("",)
        return frozenset(part.arkit + side for part in parts for side in sides)

    def is_of(self, units: Collection[int]) -> bool:
        """Whether it stands for some of these action units, by number, and for no other.

        >>> recognise("eyeBlinkLeft").is_of({BLINK}), recognise("cheekSquintLeft").is_of({BLINK})
        (True, False)
        """
        return bool(self.units) and all(unit.number in units for unit in self.units)


UPPER_LID_RAISER, BLINK = 5, 45
GAZE = (61, 62, 63, 64)  # the eyes turn left, right, up, down
UNIT_NAMES = MappingProxyType(
    {
        1: "inner brow raiser",
        2: "outer brow raiser",
        4: "brow lowerer",
        5: "upper lid raiser",
        6: "cheek raiser",
        7: "lid tightener",
        8: "lips toward each other",
        9: "nose wrinkler",
        10: "upper lip raiser",
        11: "nasolabial deepener",
        12: "lip corner puller",
        13: "sharp lip puller",
        14: "dimpler",
        15: "lip corner depressor",
        16: "lower lip depressor",
        17: "chin raiser",
        18: "lip pucker",
        19: "tongue show",
        20: "lip stretcher",
        22: "lip funneler",
        23: "lip tightener",
        24: "lip pressor",
        25: "lips part",
        26: "jaw drop",
        27: "mouth stretch",
        28: "lip suck",
        29: "jaw thrust",
        30: "jaw sideways",
        34: "cheek puff",
        43: "eyes closed",
        44: "squint",
        45: "blink",
        46: "wink",
        61: "eyes turn left",
        62: "eyes turn right",
        63: "eyes up",
        64: "eyes down",
    }
)

# ARKit shape -> units; a minus marks an approximate one. ARKit has one shape where FACS has several units (lip
# tightener and pressor, squint and lid tightener); the commoner one is named. mouthUpperUp is AU10 (some tables give it
# to AU11 and AU10 to mouthShrugUpper, which mixes AU10 and AU17 and so stands for neither).
_SHAPE_UNITS: dict[str, tuple[int, ...]] = {
    "browInnerUp": (1,),
    "browOuterUp": (2,),
    "browUp": (-1, -2),
    "browDown": (4,),
    "eyeWide": (5,),
    "cheekSquint": (6,),
    "eyeSquint": (7,),
    "mouthClose": (-8,),
    "noseSneer": (9,),
    "mouthUpperUp": (10,),
    "mouthSmile": (12,),
    "mouthDimple": (14,),
    "mouthFrown": (15,),
    "mouthLowerDown": (16,),
    "mouthShrugLower": (17,),
    "mouthShrugUpper": (),
    "mouthPucker": (18,),
    "tongueOut": (19,),
    "mouthStretch": (20,),
    "mouthFunnel": (22,),
    "mouthPress": (-24,),
    "mouthTighten": (23,),
    "jawOpen": (26,),
    "mouthRollLower": (28,),
    "mouthRollUpper": (28,),
    "jawForward": (29,),
    "jawLeft": (30,),
    "jawRight": (30,),
    "mouthLeft": (),
    "mouthRight": (),
    "cheekPuff": (34,),
    "eyeBlink": (45,),
    "eyeLookUp": (63,),
    "eyeLookDown": (64,),
    "eyeLookIn": (),  # by side: turning to the person's left moves the left eye out and the right eye in
    "eyeLookOut": (),
}
_GAZE_UNITS = {
    ("eyeLookOut", Side.LEFT): 61,
    ("eyeLookIn", Side.RIGHT): 61,
    ("eyeLookOut", Side.RIGHT): 62,
    ("eyeLookIn", Side.LEFT): 62,
}

# What ARKit has two shapes for.
_SPLIT = {"browUp": ("browInnerUp", "browOuterUp")}
# Shapes that have no side of their own in ARKit; "Left" in four of them is where they go.
_UNSIDED = frozenset(
    {
        *("browInnerUp", "cheekPuff", "jawOpen", "jawForward", "jawLeft", "jawRight", "mouthLeft", "mouthRight"),
        *("mouthClose", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
        *("mouthShrugUpper", "tongueOut"),
    }
)

# Other vocabularies, without side, case and separators, as words of the shape they mean: VRCFaceTracking's unified
# expressions, MetaHuman's control board, Character Creator's and iClone's profiles, Ready Player Me, Daz, VRoid, and
# FACS' own terms.
_ALIASES: dict[str, str] = {
    "browraisein": "browInnerUp",
    "browraiseinner": "browInnerUp",
    "browinnerraise": "browInnerUp",
    "innerbrowraiser": "browInnerUp",
    "browraiseout": "browOuterUp",
    "browraiseouter": "browOuterUp",
    "browouterraise": "browOuterUp",
    "outerbrowraiser": "browOuterUp",
    "browdrop": "browDown",
    "browlowerer": "browDown",
    "upperlidraiser": "eyeWide",
    "eyewiden": "eyeWide",
    "cheekraise": "cheekSquint",
    "cheekraiser": "cheekSquint",
    "eyecheekraise": "cheekSquint",
    "lidtightener": "eyeSquint",
    "eyesquintinner": "eyeSquint",
    "eyeclosed": "eyeBlink",
    "eyeclose": "eyeBlink",
    "blink": "eyeBlink",
    "nosewrinkle": "noseSneer",
    "nosewrinkler": "noseSneer",
    "mouthupperlipraise": "mouthUpperUp",
    "upperlipraiser": "mouthUpperUp",
    "mouthupupper": "mouthUpperUp",
    "mouthcornerpull": "mouthSmile",
    "mouthcornerslant": "mouthSmile",
    "lipcornerpuller": "mouthSmile",
    "smile": "mouthSmile",
    "dimpler": "mouthDimple",
    "mouthcornerdepress": "mouthFrown",
    "lipcornerdepressor": "mouthFrown",
    "mouthlowerlipdepress": "mouthLowerDown",
    "lowerlipdepressor": "mouthLowerDown",
    "mouthdownlower": "mouthLowerDown",
    "chinraiser": "mouthShrugLower",
    "jawchinraise": "mouthShrugLower",
    "mouthraiserlower": "mouthShrugLower",
    "mouthraiserupper": "mouthShrugUpper",
    "lippucker": "mouthPucker",
    "lippuckerupper": "mouthPucker",
    "lippuckerlower": "mouthPucker",
    "mouthlipspurse": "mouthPucker",
    "lipstretcher": "mouthStretch",
    "lipfunneler": "mouthFunnel",
    "lipfunnel": "mouthFunnel",
    "lipfunnelupper": "mouthFunnel",
    "lipfunnellower": "mouthFunnel",
    "lippressor": "mouthPress",
    "mouthtightener": "mouthTighten",
    "liptightener": "mouthTighten",
    "lipsuckupper": "mouthRollUpper",
    "lipsucklower": "mouthRollLower",
    "mouthrollinupper": "mouthRollUpper",
    "mouthrollinlower": "mouthRollLower",
    "jawdrop": "jawOpen",
    "jawfwd": "jawForward",
    "jawthrust": "jawForward",
    "jawl": "jawLeft",
    "jawr": "jawRight",
    "mouthl": "mouthLeft",
    "mouthr": "mouthRight",
    "mouthclosed": "mouthClose",
    "tongueshow": "tongueOut",
    "chinraiserb": "mouthShrugLower",
    "chinraisert": "mouthShrugUpper",
    "jawsidewaysleft": "jawLeft",
    "jawsidewaysright": "jawRight",
    # Mixamo's characters, and older Daz morphs.
    "browsdown": "browDown",
    "browsup": "browUp",
    "browsin": "browDown",
    "jawforeward": "jawForward",
    "eyeswide": "eyeWide",
    "squint": "eyeSquint",
    "nosescrunch": "noseSneer",
    "upperlipup": "mouthUpperUp",
    "lowerlipdown": "mouthLowerDown",
    "frown": "mouthFrown",
    "smilesimple": "mouthSmile",
    # MetaHuman's board; a last letter is up or down.
    "eyeupperlidup": "eyeWide",
    "browlateral": "browDown",
    "eyelidpress": "eyeBlink",
    "nosewrinkleupper": "noseSneer",
    "mouthsharpcornerpull": "mouthSmile",
    "mouthfunnelu": "mouthFunnel",
    "mouthfunneld": "mouthFunnel",
    "mouthpurseu": "mouthPucker",
    "mouthpursed": "mouthPucker",
    "mouthlipstogetheru": "mouthClose",
    "mouthlipstogetherd": "mouthClose",
    "mouthpressu": "mouthPress",
    "mouthpressd": "mouthPress",
    "mouthlipspress": "mouthPress",
    "jawchinraised": "mouthShrugLower",
    "jawchinraiseu": "mouthShrugUpper",
    "jawopenextreme": "jawOpen",
    # Character Creator and iClone.
    "browcompress": "browDown",
    "mouthchinup": "mouthShrugLower",
    "mouthdroplower": "mouthLowerDown",
    "mouthpuckerup": "mouthPucker",
    "mouthpuckerdown": "mouthPucker",
    "mouthfunnelup": "mouthFunnel",
    "mouthfunneldown": "mouthFunnel",
    "mouthsmilesharp": "mouthSmile",
    "mouthopen": "jawOpen",
    # Ready Player Me, Daz.
    "eyesclosed": "eyeBlink",
    "eyesclose": "eyeBlink",
    "eyeslookup": "eyeLookUp",
    "eyeslookdown": "eyeLookDown",
    "mouthsmilesimple": "mouthSmile",
    "mouthsmileopen": "mouthSmile",
    "browinnerupdown": "browInnerUp",
    "browouterupdown": "browOuterUp",
    # VRoid, behind "Fcl_".
    "brwangry": "browDown",
    "brwsorrow": "browInnerUp",
    "brwsurprised": "browUp",
    "eyesurprised": "eyeWide",
    "eyespread": "eyeWide",
    "mthsmall": "mouthPucker",
    "mthlarge": "mouthStretch",
    "mthfun": "mouthSmile",
    "mthjoy": "mouthSmile",
    "mthdown": "mouthFrown",
    "mthsorrow": "mouthFrown",
    "mtha": "jawOpen",
    "mthi": "mouthStretch",
    "mthu": "mouthPucker",
    "mtho": "mouthFunnel",
}
# FACS names muscles by what they do ("cheek raiser"), and rigs controls by what is done ("cheek_raise_R").
_DONE = {
    **{"raiser": "raise", "lowerer": "lower", "puller": "pull", "stretcher": "stretch", "tightener": "tighten"},
    **{"depressor": "depress", "pressor": "press", "wrinkler": "wrinkle", "dimpler": "dimple", "funneler": "funnel"},
}
_ACTIONS = {
    alias.removesuffix(muscle) + action: shape
    for alias, shape in _ALIASES.items()
    for muscle, action in _DONE.items()
    if alias.endswith(muscle)
}
_KEYS = _ACTIONS | {shape.lower(): shape for shape in _SHAPE_UNITS} | _ALIASES

_SIDES = {"l": Side.LEFT, "r": Side.RIGHT, "": Side.BOTH}
_PREFIX = re.compile(
    r"^(?:!?ex-|facs_(?:ctrl|bs|jnt)_|ctrl_expressions[._]|ctrl_|ectrl_?|phm|(?:.*_)?fcl_|arkit[_.]|ak_|a\d\d_|"
    r"blendshapes?\d*[._]|(?:bs|bsp|shp|shape|morph|key)_)",
    re.I,
)
_CHANNEL = re.compile(r" (?:location|rotation) [XYZ]$")  # of a bone that is a slider on a board
_UNIT = re.compile(
    r"(?:facs|au|action[\s_.\-]*unit)[\s_.\-]*(?:au)?[\s_.\-]*0*(\d{1,2})(?!\d)"
    r"((?:(?:\s*\+\s*(?:au)?|[\s_.\-]*au)[\s_.\-]*0*\d{1,2}(?!\d))*)",
    re.I,
)
_NUMBER = re.compile(r"(?<=.)(?:\.\d{3,}|_div\d)$")  # Blender's for a name that there was, Daz's for a part of a shape
_OF_MESH = re.compile(r"^[^.]+\.([A-Za-z][^.]{4,}(?:\.[LRlr])?)$")
_SIDE_LAST = re.compile(r"(?:(?<=[a-z])|(?<=[a-z][UD]))(Left|Right|L|R)$|[\s_.\-]+((?i:left|right|l|r))$")
_SIDE_FIRST = re.compile(r"^(left|right|l|r)[\s_.\-]+", re.I)


@lru_cache(maxsize=4096)  # a job asks for each of its rig's names some twenty times
def recognise(name: str) -> Meaning | None:
    """Return the meaning of a control's name, or None for a name of no known vocabulary.

    Case, separators, a rig's prefix and the spelling of the side don't matter ("!ex-browInnerUp", "Mouth_Smile_L",
    "facs_bs_EyeBlinkLeft", "CTRL_L_mouth_cornerPull location Y", "AU12_R", "head|jawOpen", "ウィンク右"), nor does a
    number that Blender has put behind it, or the mesh's name before it ("browDownLeft.001", "Head.browDownLeft").

    >>> smile = recognise("Mouth_Smile_L")
    >>> smile.shape, smile.side.value, [unit.number for unit in smile.units]
    ('mouthSmile', 'left', [12])
    >>> recognise("Key 7") is None
    True
    """
    bare = _NUMBER.sub("", _CHANNEL.sub("", re.split(r"[|:/]", name.strip())[-1].strip()))
    if (found := _in_vocabulary(bare) or _in_words(shuts_lids(name))) is not None:
        return found
    of_mesh = _OF_MESH.match(bare)
    return _in_vocabulary(of_mesh[1]) if of_mesh is not None else None


def _in_vocabulary(bare: str) -> Meaning | None:
    if (morph := read_morph(bare)) is not None:
        return _meaning(morph[0], _SIDES[morph[1]])
    while (stripped := _PREFIX.sub("", bare)) != bare:
        bare = stripped
    stem, side = _split_side(bare)  # first: with the R of "cheek_raise_R" it would be the cheek raiser of both sides
    if (shape := _KEYS.get(_key(stem))) is not None:
        return _meaning(shape, side)
    if (shape := _KEYS.get(_key(bare))) is not None:
        return _meaning(shape, Side.BOTH)
    return _by_unit(bare) or _in_words(read_plainly(bare))


def _in_words(plain: PlainMeaning | None) -> Meaning | None:
    if plain is None:
        return None
    side = _SIDES[plain.side]
    if plain.shape in _SHAPE_UNITS:
        return _meaning(plain.shape, side)
    number = int(plain.shape.removeprefix("AU"))
    return Meaning("", side, (ActionUnit(number, UNIT_NAMES[number]),))


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _split_side(name: str) -> tuple[str, Side]:
    """Return the name without its side, and the side."""
    match = _SIDE_LAST.search(name) or _SIDE_FIRST.match(name)
    if match is None:
        return name, Side.BOTH
    letter = next(group for group in match.groups() if group)[0].lower()
    return name[: match.start()] + name[match.end() :], Side.LEFT if letter == "l" else Side.RIGHT


def _meaning(shape: str, side: Side) -> Meaning:
    numbers = _SHAPE_UNITS[shape]
    if (shape, side) in _GAZE_UNITS:
        numbers = (_GAZE_UNITS[shape, side],)
    return Meaning(shape, side, tuple(ActionUnit(abs(n), UNIT_NAMES[abs(n)], n < 0) for n in numbers))


def _by_unit(name: str) -> Meaning | None:
    """Read names such as "AU12", "AU_12_left", "L_AU12", "au01_inner_brow_raiser"; a bare number is no name.

    Several units at once ("AU6+12", "AU1_AU2_L") each have an unknown share in what it shows.
    """
    first = _SIDE_FIRST.match(name)
    bare = name[first.end() :] if first is not None else name
    match = _UNIT.match(bare)
    if match is None:
        return None
    numbers = [int(match[1]), *(int(further) for further in re.findall(r"\d+", match[2]))]
    if any(number not in UNIT_NAMES for number in numbers):
        return None
    rest = first[1] if first is not None else bare[match.end() :]
    side = {"l": Side.LEFT, "left": Side.LEFT, "r": Side.RIGHT, "right": Side.RIGHT}.get(_key(rest))
    if side is None:
        side = _split_side(rest)[1]
    if len(numbers) > 1:
        return Meaning("", side, tuple(ActionUnit(number, UNIT_NAMES[number], True) for number in numbers))
    shape = next((shape for shape, units in _SHAPE_UNITS.items() if units == (numbers[0],)), "")
    return Meaning(shape, side, (ActionUnit(numbers[0], UNIT_NAMES[numbers[0]]),))
