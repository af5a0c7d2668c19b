# SPDX-License-Identifier: GPL-3.0-or-later
"""Equations of pictures, gathered where the rig is, and what the solver makes of them."""

import dataclasses

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from magplus.backend_bridge.files.errors import InputError
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.rig.equations import motion_equations
from magplus.models.rig.sites import Sites
from magplus.models.rig.solver import solve
from magplus.models.warp import move


def quilt(across: int = 25, size: int = 128) -> RigBasis:
    """A flat sheet of (across - 1)² quads over the middle of a square picture, with four controls that push bumps."""
    line = np.linspace(14, size - 15, across)
    x, y = np.meshgrid(line, line)
    positions = np.stack([x.ravel(), y.ravel()], 1)
    corner = (np.arange(across - 1)[:, None] * across + np.arange(across - 1)).ravel()
    quads = np.stack([corner, corner + 1, corner + across + 1, corner + across], 1)
    centres = np.array([[40, 40], [88, 40], [40, 88], [88, 88]])
    directions = np.array([[1, 0], [0, 1], [-1, 0], [0.7, 0.7]])
    bumps = np.exp(-((positions - centres[:, None]) ** 2).sum(2) / (2 * 12.0**2))
    return RigBasis(
        image_size=(size, size),
        controls=tuple(Control(f"c{k}", "shape_key", "Head", f"k{k}", 0.0, 0.0, 1.0) for k in range(4)),
        positions=positions.astype(np.float32),
        depth=(5 + 0.01 * positions[:, 0]).astype(np.float32),
        visible=np.ones(len(positions), bool),
        displacement=(4 * bumps[..., None] * directions[:, None]).astype(np.float32),
        triangles=np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32),
    )


def texture(size: int = 128) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, size // 4, size // 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic")
    return (0.3 + 0.4 * smooth).clamp(0, 1).expand(1, 3, -1, -1).contiguous()


def moved(basis: RigBasis, values: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of the texture moved by the controls, and that motion; the mesh is finer than the bumps."""
    size = basis.image_size[0]
    y, x = np.mgrid[:size, :size]
    centres, directions = np.array([[40, 40], [88, 40], [40, 88], [88, 88]]), [[1, 0], [0, 1], [-1, 0], [0.7, 0.7]]
    bumps = np.stack([np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 12.0**2)) for cx, cy in centres])
    flow = np.einsum("nk,kyx,kc->ncyx", values, 4 * bumps, directions)
    flow_tensor = torch.from_numpy(flow.astype(np.float32))
    return move(texture(size), flow_tensor), flow_tensor


@pytest.mark.parametrize("across", [9, 25, 80])
def test_a_site_has_the_effect_of_the_surface_there(across: int) -> None:
    basis = quilt(across)
    sites = Sites.of(basis, (64, 64))
    expected = 4 * np.exp(-((sites.position - [40, 40]) ** 2).sum(1) / (2 * 12.0**2))
    spacing, bend = 99 / (across - 1), 4 / 12.0**2
    linear_interpolation = 2 * spacing**2 / 8 * bend
    np.testing.assert_allclose(sites.columns[0, :, 0], expected, atol=linear_interpolation + 1e-3)
    np.testing.assert_allclose(sites.depth, 5 + 0.01 * sites.position[:, 0], atol=1e-4)


def test_points_belong_to_one_site_and_none_lies_on_the_edge() -> None:
    sites = Sites.of(quilt(), (128, 128))
    points = np.asarray(sites.cells.sum(0)).reshape(128, 128)
    assert set(np.unique(points)) == {0, 1}
    assert not points[:15].any()
    assert points[20:108, 20:108].all()


def test_the_front_surface_counts() -> None:
    basis = quilt()
    back = dataclasses.replace(
        basis,
        positions=np.tile(basis.positions, (2, 1)),
        depth=np.concatenate([basis.depth, basis.depth + 1]),
        visible=np.tile(basis.visible, 2),
        displacement=np.concatenate([basis.displacement, 0 * basis.displacement - 9], 1),
        triangles=np.concatenate([basis.triangles + len(basis.positions), basis.triangles]),
    )
    front = Sites.of(basis, (64, 64))
    behind = Sites.of(dataclasses.replace(back, triangles=back.triangles[::-1]), (64, 64))
    np.testing.assert_allclose(behind.columns, front.columns)


def test_a_step_in_depth_is_left_out() -> None:
    basis = quilt()
    stepped = dataclasses.replace(basis, depth=np.where(basis.positions[:, 0] > 64, 9.0, 5.0).astype(np.float32))
    sites = Sites.of(stepped, (64, 64))
    assert np.abs(sites.position[:, 0] - 64).min() > 2
    assert len(sites.position) > 0.8 * len(Sites.of(basis, (64, 64)).position)


def test_a_drawn_brow_that_is_thinner_than_its_edges_is_measured() -> None:
    basis = quilt()
    x, y = np.meshgrid(np.linspace(40, 88, 13), [30.0, 35.0])
    brow = np.stack([x.ravel(), y.ravel()], 1)
    start = len(basis.positions) + np.arange(12)
    up = np.zeros((1, start[0] + len(brow), 2))
    up[:, start[0] :] = [0, -5]
    drawn = dataclasses.replace(
        basis,
        controls=(*basis.controls, Control("brow", "shape_key", "Brow", "k", 0.0, 0.0, 1.0)),
        positions=np.concatenate([basis.positions, brow]).astype(np.float32),
        depth=np.append(basis.depth, np.full(len(brow), 4.0)).astype(np.float32),
        visible=np.append(basis.visible, np.ones(len(brow), bool)),
        displacement=np.concatenate([np.pad(basis.displacement, ((0, 0), (0, len(brow)), (0, 0))), up]).astype("f4"),
        triangles=np.concatenate(
            [
                basis.triangles,
                np.stack([start, start + 1, start + 13], 1),
                np.stack([start + 1, start + 14, start + 13], 1),
            ]
        ).astype(np.int32),
    )
    columns = Sites.of(drawn, (64, 64)).columns
    assert columns[4].min() < -4.5


def test_nothing_visible_is_a_sentence() -> None:
    basis = quilt()
    with pytest.raises(InputError, match="No part of the avatar's face is visible"):
        Sites.of(dataclasses.replace(basis, visible=np.zeros_like(basis.visible)), (64, 64))


def test_pictures_give_the_values_back() -> None:
    basis = quilt()
    values = np.zeros((6, 4))
    values[:, 0], values[:, 3] = [0, 0.05, 0.12, 0.15, 0.1, 0], [0, 0, 0.03, 0.06, 0.04, 0]
    frames, flow = moved(basis, values)
    rough = flow + 0.3 * torch.randn((*flow.shape[:2], 1, 1), generator=torch.Generator().manual_seed(1))
    sites = Sites.of(basis, (64, 64))
    gathered = sites.gather(motion_equations(texture(), frames, rough).numpy())
    found = solve(basis, sites, gathered, np.arange(6) / 30).curves
    np.testing.assert_allclose(found.values, values, atol=0.008)


def test_light_that_changes_slowly_over_the_face_is_no_motion() -> None:
    basis = quilt()
    values = np.zeros((5, 4))
    values[:, 1] = [0, 0.06, 0.12, 0.06, 0]
    frames, flow = moved(basis, values)
    x = torch.linspace(-1, 1, 128)
    shading = 1 + torch.tensor([0, 0.01, 0.02, 0.03, 0.04]).view(-1, 1, 1, 1) * x
    sites = Sites.of(basis, (64, 64))
    gathered = sites.gather(motion_equations(texture(), frames * shading, flow).numpy())
    found = solve(basis, sites, gathered, np.arange(5) / 30).curves
    np.testing.assert_allclose(found.values, values, atol=0.01)


def test_equations_hold_for_the_motion_they_were_made_around_and_for_the_true_one() -> None:
    frames, flow = moved(quilt(), np.array([[0.1, 0.1, 0.1, 0.1]]))
    equations = motion_equations(texture(), frames, flow)
    other = motion_equations(texture(), frames, flow + 0.2)
    for each in (equations, other):
        xx, xy, yy, hx, hy = each[0, :5, 16:48, 16:48].flatten(1).sum(1).tolist()
        inside = torch.nn.functional.avg_pool2d(flow, 2)[0, :, 16:48, 16:48].flatten(1)
        solved = np.linalg.solve([[xx, xy], [xy, yy]], [hx, hy])
        np.testing.assert_allclose(solved, inside.mean(1).numpy(), atol=0.05)


def test_what_an_encoder_left_as_it_was_does_not_hold_the_rest_still() -> None:
    """Blocks of 8 x 8 px are renewed when something in them changed enough, or else stay exactly as they were."""
    basis, reference = quilt(), texture().mul(255).round() / 255
    values = np.zeros((6, 4))
    values[:, 1] = [0, 0.05, 0.1, 0.12, 0.08, 0]
    frames, flow = moved(basis, values)
    change = torch.nn.functional.max_pool2d((frames - reference).abs().amax(1, keepdim=True), 8)
    renewed = torch.nn.functional.interpolate(change, scale_factor=8) > 5 / 255
    frames = torch.where(renewed, (frames * 255).round() / 255, reference)
    assert 0.02 < renewed[3].float().mean() < 0.2

    equations = motion_equations(reference, frames, torch.zeros_like(flow))
    assert not equations[3, 5, 56:, :20].any()
    sites = Sites.of(basis, (64, 64))
    found = solve(basis, sites, sites.gather(equations.numpy()), np.arange(6) / 30).curves.values
    assert found[3, 1] == pytest.approx(0.12, rel=0.15)  # what is largest is what was renewed
    assert found[3, [0, 2, 3]].max() < 0.012
