# SPDX-License-Identifier: GPL-3.0-or-later
"""The head's motion and the face's own, told apart on exact synthetic motion of a real face's shape."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from magplus.models.face import FaceLandmarker, SteadyCrop, face_depth, face_mask, rigid_mask, select_face, split_rigid
from magplus.models.magnification.motion import Motion
from magplus.models.video import VideoReader

SIZE = 256


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Head:
    """A real face's landmarks in a 256 px crop, its depth and masks, and exact motions of it."""

    def __init__(self, landmarks: np.ndarray) -> None:
        size = (SIZE, SIZE)
        self.landmarks = landmarks
        self.depth = face_depth(landmarks, size)
        self.weights = rigid_mask(landmarks, size)
        self.inside = face_mask(landmarks, size)[0, 0] > 0.5
        self.x, self.y = (
            axis.double() for axis in torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy")
        )
        self.width = float(np.ptp(landmarks[:, 0]))

    def turned(self, yaw=0.0, pitch=0.0, roll=0.0, zoom=1.0, shift=(0.0, 0.0), depth: Tensor | None = None) -> Tensor:
        """Flow [1, 2, H, W] of the head after turns in degrees, under scaled orthographic projection."""
        y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
        about_z = torch.tensor([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
        about_x = torch.tensor([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
        about_y = torch.tensor([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
        rotation = (about_z @ about_x @ about_y).double()
        z = (self.depth if depth is None else depth)[0, 0].double()
        surface = torch.stack([self.x - SIZE / 2, self.y - SIZE / 2, z], dim=-1)
        moved = zoom * surface @ rotation.T
        flow = torch.stack([moved[..., 0] - surface[..., 0] + shift[0], moved[..., 1] - surface[..., 1] + shift[1]])
        return flow[None].float()

    def expression(self, *parts: tuple[list[int], tuple[float, float], float]) -> Tensor:
        """Flow of bumps: (landmarks, px, radius in face widths)."""
        flow = torch.zeros(1, 2, SIZE, SIZE)
        for indices, amount, radius in parts:
            bump = torch.zeros(SIZE, SIZE).double()
            for x, y in self.landmarks[indices, :2]:
                squared = (self.x - float(x)) ** 2 + (self.y - float(y)) ** 2
                bump = torch.maximum(bump, torch.exp(-squared / (2 * (radius * self.width) ** 2)))
            flow += (bump * torch.tensor(amount)[:, None, None])[None].float()
        return flow

    def split(self, flow: Tensor) -> tuple[Tensor, Tensor]:
        found = split_rigid(Motion(flow, torch.ones_like(flow[:, :1])), self.depth, self.weights)
        assert found.converged.all() and found.iterations > 1
        return found.rigid, found.local


@pytest.fixture(scope="module")
def head(other_person) -> Head:
    image = next(iter(VideoReader(other_person))).image
    with FaceLandmarker() as landmarker:
        points = select_face(landmarker.detect(image)).points[None]
    return Head(SteadyCrop.around(points).landmarks(points, SIZE)[0])


EXPRESSIONS = {  # action units as bumps of 1.5 px, on landmarks of the mesh
    "AU1": [([107, 336, 66, 296, 55, 285], (0, -1.5), 0.1)],
    "AU1+2, whole forehead": [([107, 336, 66, 296, 105, 334, 63, 293, 70, 300], (0, -1.5), 0.2)],
    "AU4": [([107, 336, 55, 285], (0, 1.5), 0.1)],
    "AU6": [([117, 118, 346, 347], (0, -1.5), 0.1)],
    "AU9": [([4, 1, 48, 278], (0, -1.5), 0.12)],
    "AU12": [([61], (-1.5, -1), 0.15), ([291], (1.5, -1), 0.15)],
    "AU12, one side": [([291, 425], (1.5, -1), 0.15)],
    "AU17+26": [([17, 18, 200, 199, 175, 152], (0, 1.5), 0.15)],
}


class TestPureHeadMotion:
    @settings(deadline=None, max_examples=12)
    @given(
        yaw=st.floats(-6, 6),
        pitch=st.floats(-6, 6),
        roll=st.floats(-10, 10),
        zoom=st.floats(0.9, 1.1),
        x=st.floats(-8, 8),
        y=st.floats(-8, 8),
    )
    def test_leaves_nothing(self, head, yaw, pitch, roll, zoom, x, y):
        flow = head.turned(yaw, pitch, roll, zoom, (x, y))
        rigid, local = head.split(flow)
        torch.testing.assert_close(rigid + local, flow)
        assert float(local[..., head.inside].abs().max()) < 0.001

    @pytest.mark.parametrize("factor", [0.7, 1.3])
    @pytest.mark.parametrize("turn", [{"yaw": 2}, {"pitch": -2}])
    def test_a_wrong_depth_scale_hardly_matters(self, head, factor, turn):
        _, local = head.split(head.turned(**turn, depth=head.depth * factor))
        assert float(local[..., head.inside].norm(dim=1).max()) < 0.05

    def test_many_frames_are_fitted_each_for_itself(self, head):
        flows = [head.turned(roll=2), head.turned(), head.turned(yaw=3, shift=(2, 1))]
        _, together = head.split(torch.cat(flows))
        alone = torch.cat([head.split(flow)[1] for flow in flows])
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


class TestExpressions:
    @pytest.mark.parametrize("name", EXPRESSIONS)
    @pytest.mark.parametrize("turn", [{}, {"yaw": 1.5, "pitch": 1, "roll": 1, "shift": (1.0, 0.5)}])
    def test_are_not_eaten(self, head, name, turn):
        expression = head.expression(*EXPRESSIONS[name])
        _, local = head.split(head.turned(**turn) + expression)
        strong = expression.norm(dim=1)[0] > 0.7 * expression.norm(dim=1).max()
        kept = (local * expression).sum(1)[0][strong] / (expression**2).sum(1)[0][strong]
        assert 0.9 < float(kept.mean()) < 1.1
        elsewhere = head.inside & (expression.norm(dim=1)[0] < 0.02)
        assert float(local[..., elsewhere].norm(dim=1).max()) < 0.1

    @pytest.mark.parametrize("name", ["AU1", "AU4", "AU12", "AU17+26"])
    def test_are_found_in_noisy_motion(self, head, name):
        expression = head.expression(*EXPRESSIONS[name])
        noise = F.interpolate(
            torch.randn(1, 2, 32, 32, generator=torch.Generator().manual_seed(3)), size=(SIZE, SIZE), mode="bicubic"
        )
        _, local = head.split(head.turned(yaw=1, roll=1) + expression + 0.1 * noise / noise.std())
        strong = expression.norm(dim=1)[0] > 0.7 * expression.norm(dim=1).max()
        kept = (local * expression).sum(1)[0][strong] / (expression**2).sum(1)[0][strong]
        assert 0.85 < float(kept.mean()) < 1.15

    def test_a_face_that_moves_everywhere_does_not_flip_between_explanations(self, head):
        """Raised brows and an open mouth leave little that keeps still; noise must not choose the head then."""
        expression = 3 * head.expression(
            ([107, 336, 66, 296, 105, 334, 63, 293, 70, 300], (0, -1.5), 0.2),
            ([17, 18, 200, 199, 175, 152], (0, 1.5), 0.15),
            ([61], (-1.5, -1), 0.15),
            ([291], (1.5, -1), 0.15),
        )
        noise = F.interpolate(
            torch.randn(8, 2, 32, 32, generator=torch.Generator().manual_seed(5)), size=(SIZE, SIZE), mode="bicubic"
        )
        rigid, _ = head.split(head.turned(yaw=0.5) + expression + 0.3 * noise / noise.std())
        apart = (rigid - rigid.mean(0)).norm(dim=1)[:, head.inside].mean(1)
        assert float(apart.max()) < 0.3

    def test_without_confidence_there_is_no_head_motion(self, head):
        flow = head.turned(roll=3) + 50
        found = split_rigid(Motion(flow, torch.zeros_like(flow[:, :1])), head.depth, head.weights)
        assert float(found.rigid.abs().max()) == 0
        torch.testing.assert_close(found.local, flow)

    def test_wild_motion_without_confidence_has_no_weight(self, head):
        flow = head.turned(roll=2, shift=(1.0, 2.0))
        confidence = torch.ones_like(flow[:, :1])
        truth = flow.clone()
        flow[..., 100:140, :] += 20 * torch.randn(1, 2, 40, SIZE, generator=torch.Generator().manual_seed(0))
        confidence[..., 100:140, :] = 0
        rigid = split_rigid(Motion(flow, confidence), head.depth, head.weights).rigid
        torch.testing.assert_close(rigid, truth, atol=1e-3, rtol=0)

    def test_a_flat_surface_gives_no_turns_out_of_the_plane(self, head):
        flow = head.turned(roll=2, zoom=1.02, depth=torch.zeros_like(head.depth))
        found = split_rigid(
            Motion(flow, torch.ones_like(flow[:, :1])), torch.zeros_like(head.depth), torch.ones_like(head.depth)
        )
        assert float(found.local.abs().max()) < 1e-4
