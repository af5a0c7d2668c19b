# SPDX-License-Identifier: GPL-3.0-or-later
import cv2
import numpy as np
import pytest
import torch

from magplus.backend_bridge.files.errors import InputError
from magplus.models.face import Window
from magplus.models.magnification.motion import Motion
from magplus.models.pipeline.avatar import AvatarPicture
from magplus.models.pipeline.restoration import Restoration, unexplained_appearance
from magplus.models.warp import move, pixel_grid


def write_avatar(path, size=(1920, 1080), dtype=np.uint8):
    """A transparent picture with a soft-edged disc of texture, as a render has."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    colour = np.stack([0.5 + 0.4 * np.sin(x / 9 + c) * np.cos(y / 11) for c in range(3)], -1)
    alpha = np.clip((min(size) / 3 - np.hypot(x - width / 2, y - height / 2)) / 4, 0, 1)
    pixels = np.concatenate([colour, alpha[..., None]], -1) * np.iinfo(dtype).max
    cv2.imwrite(str(path), pixels.round().astype(dtype))
    return path


def still(size):
    return Motion(torch.zeros(1, 2, size, size), torch.ones(1, 1, size, size))


def face_of(size):
    grid = pixel_grid(size, size)
    distance = (grid - (size - 1) / 2).norm(dim=1, keepdim=True)
    return ((0.45 * size - distance) / (0.1 * size)).clamp(0, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_no_motion_gives_back_every_byte_of_a_full_hd_picture(tmp_path, dtype):
    path = write_avatar(tmp_path / "avatar.png", dtype=dtype)
    avatar = AvatarPicture.read(path)
    window = Window.around((960, 540), 700, 512)
    restoration = Restoration(avatar, window, face_of(512), torch.device("cpu"))
    (picture,) = restoration.frames(restoration.restored(still(512), 0.125))
    (tmp_path / "result.png").write_bytes(avatar.encoder(restoration.region)(picture))
    before, after = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (path, tmp_path / "result.png"))
    assert after.shape == (1080, 1920, 4)
    assert after.dtype == before.dtype
    assert (after[..., 3] == before[..., 3]).all()
    visible = before[..., 3] > 0  # the colour of a fully transparent pixel is nobody's
    assert (after[visible] == before[visible]).all()


def test_a_known_motion_arrives_at_full_resolution(tmp_path):
    avatar = AvatarPicture.read(write_avatar(tmp_path / "avatar.png"))
    window = Window.around((960, 540), 600, 256)
    restoration = Restoration(avatar, window, torch.ones(1, 1, 256, 256), torch.device("cpu"))
    generated = Motion(torch.full((1, 2, 256, 256), 2.0), torch.ones(1, 1, 256, 256))
    (picture,) = restoration.frames(restoration.restored(generated, 0.125))
    expected = move(avatar.premultiplied, torch.full((1, 2, 1080, 1920), 2.0 * 0.125 * 600 / 256))
    left, top, _, _ = restoration.region
    there = expected[0, :, 400:680, 820:1100]
    assert (picture[:, 400 - top : 680 - top, 820 - left : 1100 - left] - there).abs().max() < 2e-3


def test_pixels_outside_the_window_are_not_touched(tmp_path):
    path = write_avatar(tmp_path / "avatar.png", (320, 240))
    avatar = AvatarPicture.read(path)
    window = Window.around((160, 120), 100, 128)
    restoration = Restoration(avatar, window, torch.ones(1, 1, 128, 128), torch.device("cpu"))
    motion = Motion(torch.full((1, 2, 128, 128), 5.0), torch.ones(1, 1, 128, 128))
    (picture,) = restoration.frames(restoration.restored(motion, 1.0))
    left, top, right, bottom = restoration.region
    assert left >= 100 and top >= 60 and right <= 220 and bottom <= 180
    (tmp_path / "result.png").write_bytes(avatar.encoder(restoration.region)(picture))
    before, after = (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in (path, tmp_path / "result.png"))
    visible = before[..., 3] > 0
    visible[top:bottom, left:right] = False
    assert (after[visible] == before[visible]).all()
    assert (after != before).any()


def test_where_a_face_ends_does_not_change_how_its_motion_is_undone(tmp_path):
    avatar = AvatarPicture.read(write_avatar(tmp_path / "avatar.png", (320, 240)))
    window = Window.around((160, 120), 200, 128)
    face = face_of(128)
    motion = Motion(torch.full((1, 2, 128, 128), 3.0), torch.ones(1, 1, 128, 128))
    restoration = Restoration(avatar, window, face, torch.device("cpu"))
    everywhere = Restoration(avatar, window, torch.ones_like(face), torch.device("cpu"))
    left, top, right, bottom = restoration.region
    dx, dy = left - everywhere.region[0], top - everywhere.region[1]
    confined = restoration.restored(motion, 1.0)
    (inner,), (whole,) = restoration.frames(confined), everywhere.frames(confined)
    assert torch.allclose(inner, whole[:, dy : dy + bottom - top, dx : dx + right - left], atol=5e-4)


def test_a_window_cuts_and_maps_points_consistently(tmp_path):
    avatar = AvatarPicture.read(write_avatar(tmp_path / "avatar.png", (320, 240)))
    window = Window.around((150, 110), 64, 64)
    crop = window.cut(avatar.over())
    point = torch.tensor([[150.0, 110.0]])
    at = window.to_crop(point)[0]
    assert torch.allclose(at, torch.tensor([31.5, 31.5]))
    x, y = (at + 0.5).int().tolist()
    origin = torch.tensor(window.origin) + torch.tensor([x, y]) * window.scale
    column, row = origin.round().int().tolist()
    assert (crop[0, :, y, x] - avatar.over()[0, :, row, column]).abs().max() < 0.15


def test_appearance_is_what_motion_does_not_explain():
    neutral = torch.full((1, 3, 64, 64), 0.5)
    wrinkle = torch.zeros(1, 3, 64, 64)
    wrinkle[..., 30:33, 20:40] = -0.2
    flow = Motion(torch.full((1, 2, 64, 64), 1.0), torch.ones(1, 1, 64, 64))
    generated = move(neutral + wrinkle, flow.flow)
    change = unexplained_appearance(generated, neutral, flow, 0.25)
    assert torch.allclose(change[..., 31, 25:35], torch.tensor(-0.05), atol=1e-3)
    assert change[..., 5:20, :].abs().max() < 1e-4


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "avatar.png").write_text("hello")
    with pytest.raises(InputError, match=r"avatar\.png is not a picture"):
        AvatarPicture.read(tmp_path / "avatar.png")
    with pytest.raises(InputError, match="can't be read"):
        AvatarPicture.read(tmp_path / "nowhere.png")


@pytest.mark.parametrize("side", [60, 300])  # enlarged, and made smaller
def test_what_lies_far_from_a_window_has_no_part_in_its_crop(side):
    picture = torch.rand(1, 3, 480, 640, generator=torch.Generator().manual_seed(0))
    window = Window.around((320, 240), side, 128, 0.2)
    changed = picture.clone()
    changed[..., :30, :] = changed[..., :, 600:] = 1
    assert torch.equal(window.cut(picture), window.cut(changed))
