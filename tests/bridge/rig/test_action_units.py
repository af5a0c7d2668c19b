# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from magplus.backend_bridge.rig.action_units import Side, recognise


@pytest.mark.parametrize(
    ("name", "arkit", "unit"),
    [
        ("browInnerUp", "browInnerUp", 1),
        ("BrowInnerUp", "browInnerUp", 1),
        ("!ex-browInnerUp", "browInnerUp", 1),
        ("browInnerUp_L", "browInnerUp", 1),  # a rig that splits what ARKit doesn't
        ("Brow_Raise_Inner_L", "browInnerUp", 1),
        ("facs_bs_BrowInnerUpRight", "browInnerUp", 1),
        ("A01_Brow_Inner_Up", "browInnerUp", 1),
        ("CTRL_expressions.browRaiseInL", "browInnerUp", 1),
        ("mouthSmileLeft", "mouthSmileLeft", 12),
        ("mouthSmile_R", "mouthSmileRight", 12),
        ("Mouth_Smile_L", "mouthSmileLeft", 12),
        ("CTRL_L_mouth_cornerPull", "mouthSmileLeft", 12),
        ("MouthCornerPullRight", "mouthSmileRight", 12),
        ("head|mouthSmile.L", "mouthSmileLeft", 12),
        ("blendShape1.mouthSmile_L", "mouthSmileLeft", 12),
        ("LipCornerPuller_R", "mouthSmileRight", 12),
        ("AU12", "mouthSmile", 12),
        ("AU12_R", "mouthSmileRight", 12),
        ("au12L", "mouthSmileLeft", 12),
        ("AU_01_inner_brow_raiser", "browInnerUp", 1),
        ("EyeClosedLeft", "eyeBlinkLeft", 45),
        ("A14_Eye_Blink_Left", "eyeBlinkLeft", 45),
        ("Eye_Squint_R", "eyeSquintRight", 7),
        ("browDownRight", "browDownRight", 4),
        ("Cheek_Raise_L", "cheekSquintLeft", 6),
        ("Jaw_Open", "jawOpen", 26),
        ("LipSuckUpper", "mouthRollUpper", 28),
        ("CTRL_L_brow_down location Y", "browDownLeft", 4),
        ("CTRL_R_mouth_upperLipRaise", "mouthUpperUpRight", 10),
        ("CTRL_L_eye_squintInner", "eyeSquintLeft", 7),
        ("Fcl_BRW_Angry", "browDown", 4),
        ("Fcl_EYE_Close_L", "eyeBlinkLeft", 45),
        ("Fcl_MTH_Sorrow", "mouthFrown", 15),
        ("まばたき", "eyeBlink", 45),
        ("ウィンク右", "eyeBlinkRight", 45),
        ("ｳｨﾝｸ２右", "eyeBlinkRight", 45),
        ("ウィンク２", "eyeBlinkLeft", 45),
        ("びっくり", "eyeWide", 5),  # decomposed, as a Mac writes it
        ("口角下げ", "mouthFrown", 15),
        ("Brow_Compress_L", "browDownLeft", 4),
        ("Mouth_Chin_Up", "mouthShrugLower", 17),
        ("mouthOpen", "jawOpen", 26),
        ("eyesClosed", "eyeBlink", 45),
        ("Lid.R: Shut", "eyeBlinkRight", 45),
        ("left_eyelid_close", "eyeBlinkLeft", 45),
        ("Augen zu", "eyeBlink", 45),
        ("eCTRLMouthSmile_L", "mouthSmileLeft", 12),
        ("browDownLeft.001", "browDownLeft", 4),
        ("Mouth_Smile_L.002", "mouthSmileLeft", 12),
        ("Head.browDownLeft", "browDownLeft", 4),
        ("CC_Base_Body.Brow_Drop_L", "browDownLeft", 4),
        ("facs_bs_MouthSmileLeft_div2", "mouthSmileLeft", 12),
        ("PHMSmileSimpleL", "mouthSmileLeft", 12),
        ("BrowsDown_Left", "browDownLeft", 4),
        ("NoseScrunch_Right", "noseSneerRight", 9),
        ("CTRL_expressions_eyeUpperLidUpL", "eyeWideLeft", 5),
        ("CTRL_expressions_mouthPressUL", "mouthPressLeft", 24),  # of the upper lip
        ("mouthLipsPurseDR", "mouthPucker", 18),
        ("jawChinRaiseDL", "mouthShrugLower", 17),
        ("Face.M_F00_000_00_Fcl_BRW_Angry", "browDown", 4),
        ("ジト目", "eyeSquint", 7),
        ("にやり２", "mouthSmile", 12),
        ("L_AU12", "mouthSmileLeft", 12),
        ("R_AU02", "browOuterUpRight", 2),
        ("LIP_FUNNELER_LB", "mouthFunnel", 22),
        ("CHIN_RAISER_B", "mouthShrugLower", 17),
        ("JAW_SIDEWAYS_LEFT", "jawLeft", 30),
        ("困り", "browInnerUp", 1),
        ("目を閉じる", "eyeBlink", 45),
        ("左眼眨眼", "eyeBlinkLeft", 45),
        ("右闭眼", "eyeBlinkRight", 45),
        ("嘴角上扬_左", "mouthSmileLeft", 12),
        ("皱眉", "browDown", 4),
        ("윙크 왼쪽", "eyeBlinkLeft", 45),
        ("blinkLeft", "eyeBlinkLeft", 45),  # VRM 1.0
        ("lookUp", "eyeLookUp", 63),
        ("lookLeft", "", 61),
        ("EYES_LOOK_LEFT_L", "eyeLookOutLeft", 61),  # Meta's
        ("Eye_Left_Right", "eyeLookInLeft", 62),  # SRanipal's
        ("Eye_Right_Down", "eyeLookDownRight", 64),
        ("Lip_Open", "", 25),
        ("Smile (L)", "mouthSmileLeft", 12),
        ("BS_Smile_R", "mouthSmileRight", 12),
        ("Action Unit 12", "mouthSmile", 12),
    ],
)
def test_usual_spellings_of_a_shape(name: str, arkit: str, unit: int) -> None:
    meaning = recognise(name)
    assert meaning is not None
    assert meaning.arkit == arkit
    assert [each.number for each in meaning.units] == [unit]


@pytest.mark.parametrize(
    ("name", "arkit", "unit"),
    [
        ("Angry Brow", "browDown", 4),
        ("eyebrows-left-down", "browDownLeft", 4),
        ("eyebrows-right-inner-up", "browInnerUp", 1),
        ("Eyebrow Outer Raise.L", "browOuterUpLeft", 2),
        ("BrowsIn_Left", "browDownLeft", 4),
        ("lip_corner_up_L", "mouthSmileLeft", 12),
        ("Left Mouth Corner Down", "mouthFrownLeft", 15),
        ("Grin", "mouthSmile", 12),
        ("upper_lid_up_L", "eyeWideLeft", 5),
        ("eye-left-closure", "eyeBlinkLeft", 45),
        ("Wink.R", "eyeBlinkRight", 45),
        ("Eye_Left_squeeze", "eyeSquintLeft", 7),
        ("eCTRLEyelidsLowerUp-DownR", "eyeSquintRight", 7),
        ("eCTRLEyelidsUpperDown-UpL", "eyeBlinkLeft", 45),
        ("eCTRLLipTopUp-DownL", "mouthUpperUpLeft", 10),
        ("Mouth_Bottom_Lip_Down", "mouthLowerDown", 16),
        ("Lashes: cheeks raise", "cheekSquint", 6),
        ("Puff Cheeks", "cheekPuff", 34),
        ("lips_part", "", 25),
        ("Eye_L_Look_L", "eyeLookOutLeft", 61),
        ("Eye_R_Look_L", "eyeLookInRight", 61),
        ("Eye_R_Look_Up", "eyeLookUpRight", 63),
        ("eyeLookRightL", "eyeLookInLeft", 62),
    ],
)
def test_names_in_plain_words_in_any_order(name: str, arkit: str, unit: int) -> None:
    meaning = recognise(name)
    assert meaning is not None
    assert meaning.arkit == arkit
    assert [each.number for each in meaning.units] == [unit]


@pytest.mark.parametrize(
    ("name", "arkit", "unit"),
    [
        ("Braue_außen_hoch.R", "browOuterUpRight", 2),
        ("Augenbraue runter links", "browDownLeft", 4),
        ("Laecheln_L", "mouthSmileLeft", 12),
        ("Mundwinkel runter rechts", "mouthFrownRight", 15),
        ("Naseruempfen", "noseSneer", 9),
        ("sourcil_baissé_gauche", "browDownLeft", 4),
        ("coin bouche bas D", "mouthFrownRight", 15),
        ("clignement_G", "eyeBlinkLeft", 45),
        ("ceja_abajo_der", "browDownRight", 4),
        ("Sonrisa.izq", "mouthSmileLeft", 12),
        ("sopracciglia giù", "browDown", 4),
        ("bocca_aperta", "jawOpen", 26),
        ("bochechas infladas", "cheekPuff", 34),
        ("щёки надуты", "cheekPuff", 34),
        ("улыбка_Л", "mouthSmileLeft", 12),
    ],
)
def test_names_in_plain_words_of_other_languages(name: str, arkit: str, unit: int) -> None:
    meaning = recognise(name)
    assert meaning is not None
    assert meaning.arkit == arkit
    assert [each.number for each in meaning.units] == [unit]


@pytest.mark.parametrize(
    ("name", "units", "side"),
    [("AU6+12", [6, 12], Side.BOTH), ("AU1_AU2_L", [1, 2], Side.LEFT), ("AU1+2+5_R", [1, 2, 5], Side.RIGHT)],
)
def test_a_shape_of_several_units_shows_each_of_them_in_part(name: str, units: list[int], side: Side) -> None:
    meaning = recognise(name)
    assert meaning is not None and meaning.side is side
    assert [(each.number, each.approximate) for each in meaning.units] == [(unit, True) for unit in units]


@pytest.mark.parametrize(
    "name",
    [
        *("Brow Up.R", "brow_up_R", "raise right eyebrow", "BrowsUp_Right", "Brow_Raise_R", "眉上右"),
        *("Augenbraue hoch rechts", "sourcil_haut_D"),
    ],
)
def test_a_brow_that_rises_as_one_stands_for_both_raisers(name: str) -> None:
    meaning = recognise(name)
    assert meaning is not None
    assert [(unit.number, unit.approximate) for unit in meaning.units] == [(1, True), (2, True)]
    assert meaning.side is Side.RIGHT
    assert meaning.arkit_names == {"browInnerUp", "browOuterUpRight"}


def test_left_is_a_direction_in_some_names_and_a_side_in_others() -> None:
    jaw, smile, eye = recognise("jawLeft"), recognise("mouthSmileLeft"), recognise("mouthLeft")
    assert jaw is not None and smile is not None and eye is not None
    assert (jaw.shape, jaw.side) == ("jawLeft", Side.BOTH)
    assert (smile.shape, smile.side) == ("mouthSmile", Side.LEFT)
    assert (eye.shape, eye.side) == ("mouthLeft", Side.BOTH)


@pytest.mark.parametrize(
    ("name", "unit"),
    [("eyeLookOutLeft", 61), ("eyeLookInRight", 61), ("eyeLookOutRight", 62), ("eyeLookInLeft", 62)],
)
def test_both_eyes_turn_to_the_same_side(name: str, unit: int) -> None:
    meaning = recognise(name)
    assert meaning is not None
    assert meaning.units[0].number == unit


def test_the_upper_lip_raiser_is_not_the_shrug() -> None:
    raiser, shrug = recognise("mouthUpperUpLeft"), recognise("mouthShrugUpper")
    assert raiser is not None and shrug is not None
    assert [unit.number for unit in raiser.units] == [10]
    assert shrug.units == ()


def test_a_shape_that_mixes_two_units_says_so() -> None:
    press = recognise("mouthPressLeft")
    assert press is not None
    assert press.units[0].approximate


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Key 1",
        "Basis",
        "表情",
        "12",
        "spine.003",
        "vrc.v_aa",
        "AU99",
        "L",
        "_R",
        "Mouth: Shut",
        "lid up",
        "brow.T.L.001",
        "nose.L.001",
        "Tail.004",
        "brow_in_L",
        "lip_up",
        "Tail up",
        "Brow Up of another",
        # Whole expressions, vowels and places.
        *("Fcl_ALL_Joy", "Fcl_EYE_Joy_L", "happy", "surprised", "喜び", "笑顔", "え", "viseme_aa", "Traurig"),
        *("c_lips_smile.l location Y", "eye_left_up", "Augenlid_L", "Mund", "Augen auf", "lid hoch", "Boca", "AU6+99"),
        "eyes",
    ],
)
def test_other_names_mean_nothing(name: str) -> None:
    assert recognise(name) is None


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("cheek_raise", "cheekSquint"),
        ("nose.wrinkle", "noseSneer"),
        ("dimple", "mouthDimple"),
        ("Upper_Lip_Raise", "mouthUpperUp"),
        ("outer brow raise", "browOuterUp"),
        ("lip_corner_depress", "mouthFrown"),
        ("brow_lower", "browDown"),
        ("lip_press", "mouthPress"),
    ],
)
def test_the_side_behind_an_action_is_no_part_of_a_muscles_name(name: str, shape: str) -> None:
    """With its side's letter "cheek_raise_R" reads like the cheek raiser, which is on both sides."""
    for ending, side in (("_L", Side.LEFT), ("_R", Side.RIGHT), (".R", Side.RIGHT), ("_right", Side.RIGHT)):
        found = recognise(name + ending)
        assert found is not None and (found.shape, found.side) == (shape, side), name + ending
