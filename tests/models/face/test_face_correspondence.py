# SPDX-License-Identifier: GPL-3.0-or-later
import numpy as np
import pytest
import torch

from magplus.models.face.correspondence import Correspondence
from magplus.models.warp import pixel_grid


def face_mesh(seed: int = 0) -> np.ndarray:
    """468 points spread over an oval, as a face mesh covers a face; the last two stand for the cheeks' edges."""
    rng = np.random.default_rng(seed)
    radius, angle = np.sqrt(rng.uniform(0, 1, 468)), rng.uniform(0, 2 * np.pi, 468)
    points = np.stack([128 + 70 * radius * np.cos(angle), 128 + 95 * radius * np.sin(angle)], 1)
    points[[234, 454]] = [[58, 128], [198, 128]]
    return points.astype(np.float32)


def turned(points: np.ndarray, degrees: float, scale: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return ((points - 128) @ (scale * np.array([[c, -s], [s, c]])).T + 128).astype(np.float32)


def even_motion(x: float, y: float) -> torch.Tensor:
    return torch.tensor([x, y], dtype=torch.float32).view(1, 2, 1, 1).expand(1, 2, 256, 256)


def test_the_same_face_moves_the_same():
    mesh = face_mesh()
    carried = Correspondence(mesh, mesh, (256, 256)).carry(even_motion(0.5, -0.25))
    inner = carried[..., 60:196, 80:176]
    assert torch.allclose(inner[:, 0], torch.tensor(0.5), atol=0.01)
    assert torch.allclose(inner[:, 1], torch.tensor(-0.25), atol=0.01)


@pytest.mark.parametrize(("degrees", "scale"), [(0, 0.6), (25, 1.0), (-15, 0.8)])
def test_motion_is_turned_and_scaled_with_the_face(degrees, scale):
    """A driver whose head is rolled and smaller: its motion arrives along the avatar's axes and at its size."""
    avatar = face_mesh()
    driver = turned(avatar, degrees, scale)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    carried = Correspondence(avatar, driver, (256, 256)).carry(even_motion(scale * c, scale * s))
    inner = carried[..., 80:176, 90:166]
    assert torch.allclose(inner[:, 0], torch.tensor(1.0), atol=0.02)
    assert inner[:, 1].abs().max() < 0.02


def test_noisy_landmarks_do_not_amplify_motion():
    mesh = face_mesh()
    noisy = mesh + np.random.default_rng(1).normal(0, 0.5, mesh.shape).astype(np.float32)
    carried = Correspondence(noisy, mesh, (256, 256)).carry(even_motion(1.0, 0.0))
    inner = carried[..., 60:196, 80:176]
    assert (inner[:, 0] - 1).abs().mean() < 0.05


def test_a_place_on_the_driver_is_found_on_the_avatar():
    avatar = face_mesh()
    driver = turned(avatar, 10, 0.7)
    positions = Correspondence(avatar, driver, (256, 256)).positions
    truth = torch.from_numpy(turned(pixel_grid(256, 256)[0].permute(1, 2, 0).numpy().reshape(-1, 2), 10, 0.7))
    error = (positions[0].permute(1, 2, 0).reshape(-1, 2) - truth).norm(dim=1).view(256, 256)
    assert error[60:196, 80:176].max() < 0.2
