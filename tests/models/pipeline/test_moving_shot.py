# SPDX-License-Identifier: GPL-3.0-or-later
"""Motion carried from the neutral picture to a frame of a shot, its time, and the plates that it moves."""

from fractions import Fraction

import cv2
import numpy as np
import OpenEXR
import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.job.scene_time import SourceTime, place
from magplus.backend_bridge.rig.surface import Surface
from magplus.models.face import Window
from magplus.models.pipeline.carrying import SLIDING, carrier
from magplus.models.pipeline.exr_look import look_of
from magplus.models.pipeline.outputs.moving_shot import moment_of, shift_of, st_map, vectors
from magplus.models.pipeline.plates import Shift, read_plate
from magplus.models.video.exr_passes import Exr, is_colour

SIZE = (160, 120)
WINDOW = Window.around((60.0, 60.0), 80.0, 80)  # a px of the crop is a px of the picture


def sheet(turn=0.0, scale=1.0, move=(0.0, 0.0), depth=5.0, hidden=lambda x, y: False, spacing=4.0):
    """A flat piece of skin of 60 x 60 px around (60, 60), turned in the picture, scaled and moved."""
    side = int(60 / spacing) + 1
    y, x = (each.ravel() * spacing - 30 for each in np.mgrid[0:side, 0:side].astype(float))
    cos, sin = np.cos(turn), np.sin(turn)
    positions = np.column_stack([cos * x - sin * y, sin * x + cos * y]) * scale + 60 + np.array(move)
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return Surface(
        SIZE,
        positions.astype(np.float32),
        np.full(side * side, depth, np.float32),
        np.array([not hidden(*place) for place in positions]),
        np.ones(side * side, np.float32),
        np.concatenate([np.column_stack([a, b, c]), np.column_stack([b, d, c])]).astype(np.int32),
    )


def carried(neutral, frame, motion):
    """The motion in the frame's picture, [2, H, W], of a constant motion of the neutral one."""
    flow = torch.tensor(motion, dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 80, 80)
    found = carrier(neutral, frame)
    field = np.zeros((2, SIZE[1], SIZE[0]), np.float32)
    shift = shift_of(found, found.carry(flow, WINDOW))
    come = shift.come[0].numpy()
    field[:, shift.top : shift.top + come.shape[1], shift.left : shift.left + come.shape[2]] = come
    return field


@pytest.mark.parametrize(
    ("turn", "scale", "move"), [(0, 1, (0, 0)), (0.5, 1, (12, -5)), (-0.9, 0.7, (20, 3)), (0, 1.6, (10, 0))]
)
@pytest.mark.parametrize("spacing", [4.0, 12.0])
def test_motion_turns_and_grows_with_the_skin(turn, scale, move, spacing):
    field = carried(sheet(spacing=spacing), sheet(turn, scale, move, spacing=spacing), (1.5, 0.5))
    middle = 60 + np.array(move)
    cos, sin = np.cos(turn), np.sin(turn)
    wanted = scale * np.array([cos * 1.5 - sin * 0.5, sin * 1.5 + cos * 0.5])
    assert field[:, round(middle[1]), round(middle[0])] == pytest.approx(wanted, abs=0.03)
    assert not field[:, :4].any() and not field[:, :, -4:].any(), "nothing moves beside the skin"


def test_skin_that_is_turned_in_depth_moves_as_far_as_it_is_seen_to():
    neutral = sheet()
    narrow = sheet()
    positions = narrow.positions.copy()
    positions[:, 0] = 60 + (positions[:, 0] - 60) * 0.6  # cos of 53 degrees
    field = carried(
        neutral, Surface(SIZE, positions, narrow.depth, narrow.visible, narrow.facing * 0.6, narrow.triangles), (2, 1)
    )
    assert field[:, 60, 60] == pytest.approx([1.2, 1.0], abs=0.03)


def test_skin_of_a_turned_head_moves_as_it_did_in_the_neutral_picture_and_slides_a_little():
    """A brow ridge: what slid over its slopes would come nearer to the camera, or go away from it."""

    def ridge(turn: float) -> Surface:
        flat = sheet()
        x, y = (flat.positions - 60).T
        depth = 50 + np.abs(y)
        seen = np.column_stack([60 + np.cos(turn) * x - np.sin(turn) * np.abs(y), 60 + y]).astype(np.float32)
        return Surface(
            SIZE, seen, (depth + np.sin(turn) * x).astype(np.float32), flat.visible, flat.facing, flat.triangles
        )

    field = carried(ridge(0.0), ridge(0.5), (0.0, 2.0))
    slid = -2 * np.sin(0.5)  # along x, of skin below the ridge that follows its slope
    assert field[:, 75, 55] == pytest.approx([SLIDING * slid, 2.0], abs=0.05)
    field = carried(ridge(0.0), ridge(0.5), (2.0, 0.0))
    assert field[:, 75, 55] == pytest.approx([2 * np.cos(0.5), 0.0], abs=0.05)


def test_what_is_in_front_of_the_skin_stays_and_so_does_what_turns_away():
    field = carried(sheet(), sheet(hidden=lambda x, _y: 55 < x < 70), (2.0, 0.0))
    assert not field[:, :, 57:69].any() and field[0, 60, 42] == pytest.approx(2, abs=0.05)
    for motion in (2.0, -6.0):  # and none of it is drawn beside itself
        row = carried(sheet(), sheet(hidden=lambda x, _y: 55 < x < 70), (motion, 0.0))[0, 60]
        beside = np.r_[30:55, 70:90]
        shown = beside - row[beside]
        assert not ((shown > 54.5) & (shown < 69.5)).any() and (np.diff(shown) >= 0).all(), "nor the skin folded"
    edge_on = sheet()
    away = Surface(SIZE, edge_on.positions, edge_on.depth, edge_on.visible, edge_on.facing * 0.05, edge_on.triangles)
    assert carrier(sheet(), away) is None, "nothing is carried to skin that is seen from the side"
    assert carrier(sheet(), sheet(hidden=lambda _x, _y: True)) is None


def test_skin_beside_an_occluder_moves_along_its_edge_but_not_out_from_behind_it():
    def hidden(x: float, y: float) -> bool:
        return 55 < x < 70 and y > 45

    along = carried(sheet(), sheet(hidden=hidden), (0.0, 2.0))
    assert along[1, 60:80, 50] == pytest.approx(2, abs=0.1), "beside it, in full"
    across = carried(sheet(), sheet(hidden=hidden), (2.0, 0.0))
    assert across[0, 70, 73] < 1.6, "from behind it, by half of what there is room for"
    assert across[0, 70, 50] == pytest.approx(2, abs=0.1), "towards it, in full"
    x = np.arange(SIZE[0])
    assert not ((x - across[0, 70] > 56) & (x - across[0, 70] < 69) & (across[0, 70] != 0)).any(), "none of it is drawn"
    tip = carried(sheet(), sheet(hidden=hidden), (0.0, -2.0))
    assert not ((tip[1, :44, 62] != 0) & (np.arange(44) - tip[1, :44, 62] > 45)).any(), "nor of its tip"


def test_the_nearer_of_two_surfaces_is_the_one_that_moves():
    near, far = sheet(depth=4.0), sheet(depth=5.0, move=(8, 0))
    count = len(near.positions)
    both = Surface(
        SIZE,
        np.concatenate([far.positions, near.positions]),
        np.concatenate([far.depth, near.depth]),
        np.concatenate([far.visible, near.visible]),
        np.concatenate([far.facing, near.facing]),
        np.concatenate([far.triangles, near.triangles + count]),
    )
    found = carrier(both, both)
    node = int((60 - found.grid.top) / found.grid.step), int((60 - found.grid.left) / found.grid.step)
    assert found.place[0][node] == pytest.approx(60, abs=found.grid.step)


SOURCE = SourceTime(tuple(Fraction(n, 30) for n in range(16)), Fraction(30), {"apex": Fraction(7, 30)}, 7)


def test_motion_is_interpolated_at_the_exact_time_and_the_apex_is_kept():
    placed = place(SOURCE, 101, Fraction(24), keep_apex=True)
    frames = {number: moment_of(SOURCE, placed, number, 0.2) for number in range(90, 130)}
    for number, moment in frames.items():
        at = placed.seconds(number)
        if SOURCE.seconds[0] <= at <= SOURCE.seconds[-1]:
            shown = (1 - moment.share) * SOURCE.seconds[moment.before] + moment.share * SOURCE.seconds[moment.after]
            assert shown == at and moment.strength == 1
        elif at < 0:
            assert moment.strength == 0
    assert any((moment.before, moment.share) == (7, 0) for moment in frames.values())
    late = [moment.strength for number, moment in frames.items() if placed.seconds(number) > SOURCE.seconds[-1]]
    assert late == sorted(late, reverse=True) and late[-1] == 0 and 0 < late[0] < 1
    assert moment_of(SOURCE, placed, 129, None).strength == 1


def shift(moved=((20, 40), (30, 60)), by=(1.25, -0.5)):
    (top, bottom), (left, right) = moved
    return Shift(left, top, torch.tensor(by).view(1, 2, 1, 1).expand(1, 2, bottom - top, right - left).clone())


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_keeps_its_depth_its_channels_and_every_bit_that_nothing_moves(tmp_path, depth, channels):
    rng = np.random.default_rng(1)
    pixels = cv2.GaussianBlur(rng.random((80, 100, channels)).astype(np.float32), (0, 0), 3).reshape(80, 100, channels)
    pixels = (pixels * np.iinfo(depth).max).astype(depth)
    if channels == 4:
        pixels[:, 70:, 3] = 0  # what is transparent has colours, too
    cv2.imwrite(str(tmp_path / "p.png"), pixels)
    plate = read_plate(tmp_path / "p.png")
    assert plate.size == (100, 80)
    moved = cv2.imdecode(np.frombuffer(plate.moved(shift()), np.uint8), cv2.IMREAD_UNCHANGED).reshape(80, 100, -1)
    outside = np.ones((80, 100), bool)
    outside[20:40, 30:60] = False
    assert moved.dtype == depth and moved.shape == pixels.shape
    assert (moved[outside] == pixels[outside]).all() and (moved[25:35, 35:55] != pixels[25:35, 35:55]).any()


def write_exr(path, **channels):
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, "owner": "studio"}
    OpenEXR.File(header, channels).write(str(path))
    return path


def test_an_exr_keeps_its_passes_their_types_and_what_can_not_be_mixed(tmp_path):
    rng = np.random.default_rng(2)
    wave = np.sin(np.arange(100) / 5) * np.ones((80, 1)) + 1.5
    ids = rng.integers(0, 2**32, (80, 100), dtype=np.uint32).view(np.float32)
    ids[~np.isfinite(ids)] = 0
    light = wave.astype(np.float16)
    light[30, 45] = 60000.0  # a spark
    names = {
        "R": light,
        "A": np.ones((80, 100), np.float16),
        "Crypto00.r": ids,
        "Depth.Z": (wave * 7).astype(np.float32),
    }
    path = write_exr(
        tmp_path / "p.exr", **names, **{"diff.G": wave.astype(np.float32), "id": np.zeros((80, 100), np.uint32)}
    )
    plate = read_plate(path)
    (tmp_path / "out.exr").write_bytes(plate.moved(shift(), software="MagPlus"))
    (part,) = Exr.read(tmp_path / "out.exr").parts
    assert part.header["owner"] == "studio" and part.header["software"] == "MagPlus"
    before = plate.exr.parts[0].channels
    for name, channel in part.channels.items():
        assert channel.dtype == before[name].dtype
        outside = np.ones((80, 100), bool)
        outside[20:40, 30:60] = False
        assert (channel[outside].tobytes()) == before[name][outside].tobytes()
    true = np.sin((np.arange(100) - 1.25) / 5) + 1.5
    assert part.channels["diff.G"][25, 32:58] == pytest.approx(true[32:58], abs=2e-3)
    assert set(part.channels["Crypto00.r"].ravel().tolist()) <= set(ids.ravel().tolist())
    assert set(part.channels["Depth.Z"].ravel().tolist()) <= set(before["Depth.Z"].ravel().tolist())
    assert part.channels["R"].min() >= 0.4 and np.isfinite(part.channels["R"]).all(), "a spark leaves no dark ring"


@pytest.mark.parametrize("layer", ["", "ViewLayer.Combined."])
def test_what_shows_no_exr_gets_a_small_picture_of_its_light(tmp_path, layer):
    half = np.full((600, 900), 0.5, np.float16)
    whole = {f"{layer}{name}": half * share for name, share in zip("RGBA", (1, 0.5, 0, 1), strict=True)}
    normals = {f"ViewLayer.Normal.{name}": np.ones((600, 900), np.float32) for name in "XYZ"}
    diffuse = {f"ViewLayer.DiffCol.{name}": np.ones((600, 900), np.float32) for name in "RGB"}
    look = look_of(Exr.read(write_exr(tmp_path / "p.exr", **normals, **diffuse, **whole)))
    assert look.shape == (341, 512, 3)
    light = np.array([0.5, 0.25, 0]) + 0.5 * 0.18
    assert look[100, 100] == pytest.approx(1.055 * light ** (1 / 2.4) - 0.055, abs=1e-3)
    assert look_of(Exr.read(write_exr(tmp_path / "n.exr", **normals))) is None


def test_overscan_is_no_reason_to_move_another_place(tmp_path):
    wave = (np.sin(np.arange(120) / 5) * np.ones((100, 1)) + 1.5).astype(np.float32)
    window = (np.array([-10, -10], np.int32), np.array([109, 89], np.int32))
    shown = (np.array([0, 0], np.int32), np.array([99, 79], np.int32))
    header = {"type": OpenEXR.scanlineimage, "dataWindow": window, "displayWindow": shown}
    OpenEXR.File(header, {"G": wave}).write(str(tmp_path / "o.exr"))
    plate = read_plate(tmp_path / "o.exr")
    assert plate.size == (100, 80)
    (tmp_path / "out.exr").write_bytes(plate.moved(shift(by=(1.0, 0.0))))
    (part,) = Exr.read(tmp_path / "out.exr").parts
    assert part.channels["G"][35, 45:65] == pytest.approx(wave[35, 44:64], abs=1e-4)
    assert (part.channels["G"][:25] == wave[:25]).all() and part.origin == (-10, -10)


@pytest.mark.parametrize("damage", [b"", b"\x76\x2f\x31\x01", b"nonsense", None])
def test_a_damaged_plate_is_one_sentence(tmp_path, damage):
    path = write_exr(tmp_path / "p.exr", R=np.ones((80, 100), np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(InputError, match=r"p\.exr"):
        read_plate(path)


def test_which_channels_are_colour():
    colour = ("R", "A", "ViewLayer.Combined.R", "diffuse.G", "Mist.Z"[:4], "beauty.B")
    data = ("Z", "ViewLayer.Depth.Z", "ViewLayer.CryptoObject00.r", "IndexOB.X", "Position.X", "UV.U", "Vector.W")
    assert all(map(is_colour, colour)) and not any(map(is_colour, data))
    studios = ("zDepth", "Z_Depth01.V", "depth_Z", "objectID.R", "material-id", "cryptomatte00.red", "IndexMA.X")
    studios += ("motion_vectors.x", "forward.u", "worldPosition.x", "P_world.r", "Pref.z", "UVMap.R", "mv.y", "ids")
    assert not any(map(is_colour, studios))
    light = (
        "N.X",
        "rim_light_01.B",
        "grid.R",
        "composition.G",
        "spec.depthOfField.R",
        "position_light.R",
        "alpha",
        "Y",
    )
    assert all(map(is_colour, light))


def test_an_st_map_is_in_shares_of_the_picture_from_its_bottom_left(tmp_path):
    (tmp_path / "s.exr").write_bytes(st_map(shift(by=(1.0, 2.0)), (100, 80)))
    (tmp_path / "v.exr").write_bytes(vectors(shift(by=(1.0, 2.0)), (100, 80)))
    (part,), (vector,) = Exr.read(tmp_path / "s.exr").parts, Exr.read(tmp_path / "v.exr").parts
    u, v = part.channels["R"], part.channels["G"]
    assert (u[79, 0], v[79, 0]) == pytest.approx((0.5 / 100, 0.5 / 80))
    assert (u[30, 40], v[30, 40]) == pytest.approx(((39 + 0.5) / 100, 1 - (28 + 0.5) / 80))
    assert (vector.channels["R"][30, 40], vector.channels["G"][30, 40]) == pytest.approx((-1, 2))
    assert u.dtype == np.float32 and not vector.channels["R"][0].any()
