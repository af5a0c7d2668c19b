# SPDX-License-Identifier: GPL-3.0-or-later
"""Names say which part of a face they are about, in the languages and vocabularies that rigs come in."""

from __future__ import annotations

import unicodedata

import pytest

from magplus.backend_bridge.rig.action_units import Side
from magplus.backend_bridge.rig.face_parts import FacePart, part_of, side_of, without_side

PARTS = {
    FacePart.BROW: "brow.T.L.001 Fcl_BRW_Angry 左眉 困る Augenbraue.L oculi01.L browInnerUp CTRL_L_brow_raiseIn бровь",
    FacePart.EYE: "master_eye.L CC_Base_L_Eye 目.L EyeBall_R LeftEye œil_gauche глаз.R eyeLookUpLeft J_Adj_L_FaceEye",
    FacePart.LID: "lid.B.R まばたき CTRL_L_eye_blink Eye_Blink_L paupière_droite orbicularis03.L facs_bs_EyeBlinkLeft",
    FacePart.NOSE: "nose_master noseSneerLeft Nase snarl_L 鼻 facs_bs_NoseSneerRight",
    FacePart.CHEEK: "cheek.B.L.001 cheekPuff Wange.R levator05.L 頬 Щёки щеки.Л",
    FacePart.MOUTH: "lip.T.L.001 Mouth_Smile_L Fcl_MTH_Fun あ 口 Lèvre oris04.R Head_MouthOpen mouthFrownLeft Schnabel",
    FacePart.JAW: "jaw_master chin.002 CTRL_C_jaw FACIAL_C_Jaw jawOpen Unterkiefer 顎",
    FacePart.OTHER: "ear.L.002 head neck tweak_spine.004 tongue teeth.B FaceEyelash Eye_Lashes eyeglasses 髪 ухо root",
}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in PARTS.items() for name in names.split()])
def test_the_part_that_a_name_is_about(part: FacePart, name: str) -> None:
    assert part_of(name) is part


def test_polish_is_one_of_the_languages() -> None:
    parts = [part_of(name) for name in ("Brew.L", "Źrenica", "Powieka.R", "Policzek", "Usta", "Szczeka")]
    assert parts == [FacePart.BROW, FacePart.EYE, FacePart.LID, FacePart.CHEEK, FacePart.MOUTH, FacePart.JAW]


@pytest.mark.parametrize("name", ["Bone.001", "forearm.L", "heart", "中国", "solid", "Camera", "tearDuct"])
def test_a_name_of_something_else_says_nothing(name: str) -> None:
    assert part_of(name) is None


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("brow.T.L.001", Side.LEFT),
        ("CTRL_R_mouth_cornerPull", Side.RIGHT),
        ("左眉", Side.LEFT),
        ("paupière_droite", Side.RIGHT),
        ("LeftEye", Side.LEFT),
        ("jaw_master", Side.BOTH),
        ("eye L to R", Side.BOTH),
        ("Левая бровь", Side.LEFT),
        ("Бровь_П", Side.RIGHT),
        ("Olho_Esq", Side.LEFT),
        ("오른쪽 눈썹", Side.RIGHT),
        ("rt_eye", Side.RIGHT),
    ],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_side_that_a_name_is_about(name: str, side: Side, form: str) -> None:
    """However the system that the file comes from writes accents and Korean letters."""
    assert side_of(unicodedata.normalize(form, name)) is side


@pytest.mark.parametrize(
    ("left", "right"),
    [("Левая бровь", "Правая бровь"), ("Бровь_Л", "Бровь_П"), ("lf_eye", "rt_eye"), ("왼쪽 눈썹", "오른쪽 눈썹")],
)
def test_a_pair_has_one_name_without_its_sides(left: str, right: str) -> None:
    assert without_side(left) == without_side(right)
