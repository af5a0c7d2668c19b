# SPDX-License-Identifier: GPL-3.0-or-later
"""Which part of a face a name is about, in the languages and vocabularies that characters are rigged in.

A name of an object, a bone, a shape key or a property says where on a character it acts, if seldom what it does. It is
evidence of where the face is, and of what is none of it; nothing is solved by name.
"""

from __future__ import annotations

import re
import unicodedata
from enum import Enum

from .action_units import Side


class FacePart(Enum):
    """A part of the face that makes expressions, or `OTHER`: what a name puts elsewhere on the character."""

    BROW = "brow"
    EYE = "eye"
    LID = "lid"
    NOSE = "nose"
    CHEEK = "cheek"
    MOUTH = "mouth"
    JAW = "jaw"
    OTHER = "other"


# Words as they stand in names: lower case, without accents. What is written without spaces between words is looked for
# anywhere in a name; the longest that fits counts, so that an eyelid is no eye.
_WORDS: dict[FacePart, str] = {
    FacePart.BROW: (
        "brow brows eyebrow eyebrows frown glabella corrugator frontalis forehead brw oculi augenbraue "
        "augenbrauen braue brauen stirn sourcil sourcils ceja cejas sopracciglio sopracciglia sobrancelha "
        "sobrancelhas wenkbrauw brew brwi бровь брови лоб"
    ),
    FacePart.EYE: (
        "eye eyes eyeball eyeballs iris pupil pupils cornea sclera eyewhite gaze look auge augen augapfel oeil yeux "
        "ojo ojos occhio occhi olho olhos oog ogen oko oczy zrenica глаз глаза зрачок зрачки"
    ),
    FacePart.LID: (
        "lid lids eyelid eyelids blink wink squint eyeline orbicularis augenlid augenlider lidschlag blinzeln paupiere "
        "paupieres parpado parpados palpebra palpebre palpebras ooglid powieka powieki веко веки моргание"
    ),
    FacePart.NOSE: (
        "nose nostril nostrils sneer snarl snout muzzle naris nase nasenflugel schnauze nez narine narines museau "
        "nariz hocico naso narice narici focinho neus nos нос ноздря ноздри морда"
    ),
    FacePart.CHEEK: (
        "cheek cheeks malar zygoma levator wange wangen backe joue joues mejilla mejillas guancia guance bochecha "
        "bochechas wang policzek policzki щека щеки"
    ),
    FacePart.MOUTH: (
        "mouth beak lip lips smile grin mth viseme visemes oris risorius dimple pucker mund schnabel "
        "lippe lippen mundwinkel lacheln bouche levre levres sourire boca labio labios sonrisa bocca "
        "labbro labbra sorriso labios mond glimlach usta warga wargi рот губа губы улыбка"
    ),
    FacePart.JAW: (
        "jaw jawbone chin mandible mentalis kiefer unterkiefer kinn machoire menton mandibula quijada barbilla "
        "mascella mandibola mento maxilar queixo kaak szczeka podbrodek челюсть подбородок"
    ),
    FacePart.OTHER: (
        "ear ears neck throat spine torso chest hips pelvis root cog shoulder shoulders clavicle breast arm hand body "
        "head skull scalp hair beard tongue tooth teeth gum gums lash lashes eyelash eyelashes horn horns hat glasses "
        "eyeglasses scarf collar temple temporalis ohr ohren hals nacken kopf haar haare zunge zahn zahne wimper "
        "wimpern schulter oreille oreilles cou tete cheveux langue dent dents cils oreja orejas cuello cabeza pelo "
        "lengua diente dientes pestanas orecchio orecchie collo testa capelli lingua denti ciglia orelha orelhas "
        "pescoco cabelo dentes cilios follow ухо уши шея голова волосы язык зуб зубы ресницы очки позвоночник"
    ),
}
_SCRIPTS: dict[FacePart, str] = {
    FacePart.BROW: "眉 まゆ マユ 真面目 困る 怒り にこり キリッ 額 おでこ 눈썹 이마",
    FacePart.EYE: "目 眼 瞳 視線 黒目 白目 ひとみ 眼球 眼睛 瞳孔 눈 눈동자 시선",
    FacePart.LID: "まばたき ウィンク ウインク 笑い まぶた 瞼 じと目 びっくり はぅ 眼皮 眼睑 眨眼 눈꺼풀 깜빡 윙크",
    FacePart.NOSE: "鼻 はな 코",
    FacePart.CHEEK: "頬 ほお ほほ チーク 脸颊 面颊 颊 볼 뺨",
    FacePart.MOUTH: "口 くち 唇 くちびる リップ 口角 にやり ω 嘴 嘴唇 입 입술 미소",
    FacePart.JAW: "顎 あご アゴ 下巴 下颌 턱",
    FacePart.OTHER: "耳 みみ 首 頭 髪 かみ 舌 歯 睫毛 まつげ まつ毛 体 脖子 头 牙 귀 목 머리 혀 이빨 속눈썹",
}
_BY_WORD = {word: part for part, words in _WORDS.items() for word in words.split()}
# Two words as one: "lipcorner", "upperlid", "browinner".
_PLACES = "upper|lower|inner|outer|middle|mid|corners|corner|up|down|top|bottom|bot|left|right"
_COMPOUND = re.compile(rf"(?:{_PLACES})?({'|'.join(sorted(_BY_WORD, key=len, reverse=True))})(?:{_PLACES})?")
_BY_SIGN = sorted(
    ((sign, part) for part, signs in _SCRIPTS.items() for sign in signs.split()), key=lambda entry: -len(entry[0])
)
_SIDES = {
    word: side
    for side, words in (
        (
            Side.LEFT,
            "l lf lft left links linke linkes gauche izq izquierda izquierdo sinistra sinistro sx esq esquerda "
            "esquerdo л",
        ),
        (
            Side.RIGHT,
            "r rt rgt right rechts rechte rechtes droite droit dcha derecha derecho destra destro dx direita direito п",
        ),
    )
    for word in words.split()
}
_SIDE_SIGNS = {
    "左": Side.LEFT,
    "왼": Side.LEFT,
    "лев": Side.LEFT,
    "右": Side.RIGHT,
    "오른": Side.RIGHT,
    "прав": Side.RIGHT,
}
_VOWELS = frozenset("あいうえおアイウエオ")  # a shape key that is one vowel is a mouth's
# What stands before the name proper: namespaces, and what a tool writes before all of its names.
_PREFIXES = re.compile(r"^(?:.*[|:/])?(?:DEF|ORG|MCH|CTRL|CC_Base|facs_(?:bs|ctrl|jnt)|Fcl|N\d\d(?:_\d+)*)[-_.]", re.I)


def part_of(name: str) -> FacePart | None:
    """Return the part that a name is about, None where it names none.

    What is part of the face goes before what isn't ("Head_MouthOpen"), and what is around the eye before the eye itself
    ("eye_brow", "Eye_Blink"); what hangs on the eye and is no part of the face isn't one ("eye lashes").

    >>> [part_of(name).name for name in ("Head_MouthOpen", "eye_brow", "DEF-lip.T.L.001", "eye lashes", "eyes_follow")]
    ['MOUTH', 'BROW', 'MOUTH', 'OTHER', 'OTHER']
    >>> [part_of(name).name for name in ("lipcorner_L", "upperlid", "browinner")]
    ['MOUTH', 'LID', 'BROW']
    >>> part_of("Cube.003") is None
    True
    """
    bare = _PREFIXES.sub("", name)
    text = _composed(bare).lower()
    if text.strip() in _VOWELS:
        return FacePart.MOUTH
    found = [part for word in _words(bare) if (part := _part_of_word(word)) is not None]
    for sign, part in _BY_SIGN:
        if sign in text:
            text = text.replace(sign, " ")
            found.append(part)
    if FacePart.OTHER in found and set(found) <= {FacePart.OTHER, FacePart.EYE}:
        return FacePart.OTHER  # an eyelash, glasses on the eyes, whether eyes follow the head
    facial = [part for part in found if part is not FacePart.OTHER]
    particular = [part for part in facial if part is not FacePart.EYE]
    return (particular or facial or found or [None])[0]


def _part_of_word(word: str) -> FacePart | None:
    compound = _COMPOUND.fullmatch(word)
    return _BY_WORD[compound[1]] if compound is not None else None


def is_of_the_face(name: str) -> bool:
    """Whether a name contains a part of the face."""
    return part_of(name) not in (None, FacePart.OTHER)


def side_of(name: str) -> Side:
    """Return the side that is anywhere in a name, else `BOTH`.

    >>> [side_of(name).value for name in ("brow.T.L.001", "CTRL_R_mouth", "左眉", "Правая бровь", "jaw")]
    ['left', 'right', 'left', 'right', 'both']
    """
    sides = {_SIDES[word] for word in _words(name) if word in _SIDES}
    text = _composed(name).lower()
    sides |= {side for sign, side in _SIDE_SIGNS.items() if sign in text}
    return sides.pop() if len(sides) == 1 else Side.BOTH


def without_side(name: str) -> str:
    """Return a name in lower case and without its side, the same for the left and the right of a pair.

    >>> [without_side(name) for name in ("Brow.L: Up", "brow.R: up", "CTRL_R_mouth", "左眉", "jaw")]
    ['brow up', 'brow up', 'ctrl mouth', '眉', 'jaw']
    """
    bare = re.sub("|".join(_SIDE_SIGNS), " ", _composed(name), flags=re.IGNORECASE)
    words = re.split(r"[\W_]+", _spaced(bare).lower())
    return " ".join(word for word in words if word and word not in _SIDES)


def _composed(name: str) -> str:
    """Return a name with each letter as one character: some systems write accents and Korean letters apart."""
    return unicodedata.normalize("NFKC", name)


def _spaced(name: str) -> str:
    """Return a name with a space where its letters' case, or letters and digits, change."""
    return re.sub(r"(?<=[a-zа-я])(?=[A-ZА-Я])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=\d)(?=\D)|(?<=[^\W\d])(?=\d)", " ", name)


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, without accents: "L_BrowInner.001" -> ["l", "brow", "inner"]."""
    spaced = _spaced(name)
    plain = "".join(each for each in unicodedata.normalize("NFKD", spaced) if not unicodedata.combining(each))
    # A breve is part of a Cyrillic letter; the dieresis of "щёки" is seldom written.
    cyrillic = re.findall(r"[а-я]+", _composed(spaced).lower().replace("ё", "е"))
    return [*re.findall(r"[a-z]+", plain.lower().replace("œ", "oe").replace("ß", "ss")), *cyrillic]
