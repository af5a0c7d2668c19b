# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control does whose name is plain words, in any order and with its side anywhere.

"Brow Up.L", "eyebrows-left-down", "raise_eyebrows", "EyelidsUpperDown-Up", "Eye_L_Look_R", "Mundwinkel_hoch_L". Rigs
that follow no vocabulary are named so, and so are MakeHuman's, Daz's and Character Creator's.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from .other_languages import in_english, without_accents


class PlainMeaning(NamedTuple):
    """shape: as in `action_units`, or "AU25" where no shape stands for the unit. side: "l", "r" or "" for both."""

    shape: str
    side: str


# MetaHuman's "UL" and "DR", and Meta's "LB" and "RT", say which lip it is, too; both lips' shapes mean the same.
_SIDES = dict.fromkeys(("l", "left", "lft", "lf", "ul", "dl", "lb", "lt"), "l") | dict.fromkeys(
    ("r", "right", "rgt", "rt", "ur", "dr", "rb"), "r"
)
# Words of one meaning, by the one that stands for them below.
_SAME = {
    "brow": "brows|eyebrow|eyebrows",
    "eye": "eyes",
    "lid": "lids|eyelid|eyelids",
    "cheek": "cheeks",
    "lip": "lips",
    "corner": "corners",
    "nostril": "nostrils",
    "up": "raise|raised|raises|raiser|lift|lifted|lifter",
    "down": "lowered|lowerer|drop|dropped|depress|depressed|depressor",
    "upper": "top",
    "lower": "bottom",
    "in": "inner|inside",
    "out": "outer|outside|extern",
    "close": "closed|closes|closure|shut",
    "open": "opened|opener",
    "wide": "widen|widened|wider",
    "tight": "tighten|tightened|tightener",
    "pull": "puller|pulled",
    "angry": "anger|mad",
    "sad": "sorrow|sadness|worried|worry",
    "puff": "puffed|puffs|blow|balloon|inflate",
    "wrinkle": "wrinkled|wrinkler|scrunch|crinkle",
    "deepen": "deepener",
    "funnel": "funneler",
    "part": "parted",
    "": "face|facial|both",
}
_WORDS = {same: word for word, others in _SAME.items() for same in others.split("|")}
# Phrases of such words. What bones are called after is none of them: "lid up", "lip up" and "brow in" are places.
_PHRASES = {
    "browUp": "brow_up",
    "browInnerUp": "brow_in_up|brow_sad",
    "browOuterUp": "brow_out_up",
    "browDown": "brow_down|brow_lower|brow_in_down|brow_out_down|brow_angry|brow_furrow|brow_squeeze|brow_pinch|"
    "brow_frown",
    "eyeBlink": "eye_close|lid_close|upper_lid_down|eye_upper_lid_down|wink|eye_wink|squeeze_eye_close",
    "eyeWide": "eye_wide|eye_wide_open|eye_open_up|upper_lid_up|eye_upper_lid_up",
    "eyeSquint": "eye_squint|lid_squint|eye_squeeze|eye_narrow|eye_slit|lower_lid_up|eye_lower_lid_up|lid_tight",
    "cheekSquint": "cheek_up|cheek_flex|cheek_eye_flex|cheek_squint",
    "cheekPuff": "cheek_puff|puff|mouth_cheek_puff",
    "noseSneer": "nose_wrinkle|nose_sneer|nose_flank_up|sneer|mouth_sneer|snarl|mouth_snarl",
    "mouthUpperUp": "upper_lip_up|mouth_upper_lip_up|mouth_snarl_upper",
    "mouthLowerDown": "lower_lip_down|mouth_lower_lip_down",
    "mouthSmile": "smile|mouth_smile|smile_close|smile_open|grin|lip_smile|lip_corner_up|mouth_corner_up|"
    "lip_corner_pull|mouth_corner_pull",
    "mouthFrown": "lip_corner_down|mouth_corner_down|mouth_sad|lip_frown",
    "mouthPucker": "pucker|mouth_pucker|lip_pucker|kiss|mouth_kiss|mouth_narrow|lip_narrow|mouth_pout|pout|lip_purse|"
    "mouth_purse|mouth_lip_purse",
    "mouthFunnel": "lip_funnel|mouth_upper_funnel|mouth_lower_funnel|mouth_o_shape",
    "mouthStretch": "mouth_wide|mouth_stretch_lip_close",
    "mouthPress": "lip_press|mouth_lip_press",
    "mouthTighten": "lip_tight|mouth_tight|mouth_lip_tight",
    "mouthClose": "lip_together|mouth_lip_together|lip_toward|lip_toward_each_other",
    "mouthRollUpper": "upper_lip_suck|upper_lip_bite|mouth_upper_lip_bite|upper_lip_roll_in|mouth_upper_lip_roll_in|"
    "mouth_upper_lip_under",
    "mouthRollLower": "lip_suck|lower_lip_suck|lip_bite|lower_lip_bite|mouth_lower_lip_bite|lower_lip_roll_in|"
    "mouth_lower_lip_roll_in|mouth_lower_lip_under",
    "mouthShrugLower": "chin_up",
    "mouthDimple": "lip_dimple",
    "jawOpen": "jaw_down|jaw_open|open_mouth|mouth_wide_open",
    "AU11": "nasolabial_deepen|nose_nasolabial_deepen|mouth_upper_deepen",
    "AU13": "sharp_lip_pull",
    "AU25": "lip_part|mouth_lip_part|lip_open|mouth_lip_open",
}
_SHAPES = {frozenset(phrase.split("_")): shape for shape, line in _PHRASES.items() for phrase in line.split("|")}

_EYE_TURNS = re.compile(r"^Eye_(Left|Right)_(Left|Right|Up|Down)$")  # SRanipal's; a bone is hardly spelt like that

# A lid and what it does, as words anywhere in a name whose rig has no vocabulary: "Lid.L: Shut", "Augen zu".
_LIDS = frozenset(
    {
        *("eye", "eyes", "eyelid", "eyelids", "lid", "lids", "auge", "augen", "augenlid", "oeil", "yeux", "paupiere"),
        *("ojo", "ojos", "occhio", "occhi", "olho", "olhos"),
    }
)
_SHUT = frozenset(
    {
        *("shut", "close", "closed", "closure", "blink", "zu", "geschlossen", "ferme", "fermes", "cerrado", "cerrados"),
        *("chiuso", "chiusi", "fechado", "fechados"),
    }
)


def read_plainly(name: str) -> PlainMeaning | None:
    """Return what the words of a name say, in English or another language.

    None where one of them is unknown, or they say nothing together.

    Of "up" and "down" the first counts: a slider that goes both ways is called after the end that is 1.

    >>> read_plainly("eyebrows-left-down")
    PlainMeaning(shape='browDown', side='l')
    >>> read_plainly("LipTopUp-DownR")
    PlainMeaning(shape='mouthUpperUp', side='r')
    >>> read_plainly("Augenbraue außen hoch links")
    PlainMeaning(shape='browOuterUp', side='l')
    >>> read_plainly("Brow Up of the other head") is None
    True
    """
    words = _words(without_accents(_EYE_TURNS.sub(r"Eye_\1_Look_\2", name)))
    readings = (_read(each) for each in (words, *in_english(words)))
    return next((each for each in readings if each is not None), None)


def _read(words: list[str]) -> PlainMeaning | None:
    if (gaze := _gaze(words)) is not None:
        return gaze
    plain = [_WORDS.get(word, word) for word in words if word not in _SIDES]
    if "up" in plain and "down" in plain:
        plain.remove("down" if plain.index("up") < plain.index("down") else "up")
    shape = _SHAPES.get(frozenset(word for word in plain if word))
    return PlainMeaning(shape, _side(words)) if shape is not None else None


def shuts_lids(name: str) -> PlainMeaning | None:
    """Return the meaning of a name that has a lid or an eye among its words, and that it shuts; in six languages.

    >>> shuts_lids("Lid.R: Shut")
    PlainMeaning(shape='eyeBlink', side='r')
    """
    words = _words(name)
    if _LIDS.isdisjoint(words) or _SHUT.isdisjoint(words):
        return None
    return PlainMeaning("eyeBlink", _side(words))


def _words(name: str) -> list[str]:
    """Return the words of a name, parted by anything that is no letter and by capitals ("BrowUpL": brow, up, l)."""
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]+", name)]


def _side(words: list[str]) -> str:
    sides = {_SIDES[word] for word in words if word in _SIDES}
    return sides.pop() if len(sides) == 1 else ""


def _gaze(words: list[str]) -> PlainMeaning | None:
    """Read where an eye looks ("Eye_L_Look_R", "eyeLookRightL"), or both eyes ("lookLeft", of VRM's).

    What is behind "look" is where to, the other side is the eye's.
    """
    if words[:1] in (["eye"], ["eyes"]):
        words = words[1:]
    elif words[:1] != ["look"]:
        return None
    if "look" not in words[:-1]:
        return None
    at = words.index("look")
    to, rest = words[at + 1], words[:at] + words[at + 2 :]
    if len(rest) > 1 or not {*rest} <= _SIDES.keys() or to not in {*_SIDES, "up", "down"}:
        return None
    eye = _SIDES[rest[0]] if rest else ""
    if to not in _SIDES:
        return PlainMeaning(f"eyeLook{to.capitalize()}", eye)
    if not eye:
        return PlainMeaning("AU61" if _SIDES[to] == "l" else "AU62", "")
    return PlainMeaning("eyeLookOut" if _SIDES[to] == eye else "eyeLookIn", eye)
