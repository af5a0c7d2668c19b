# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar's picture moved as its keys move it."""

import numpy as np
import pytest

from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.models.face import Window
from magplus.models.pipeline.outputs.keyed_picture import sources

SIDE = 64
COLUMNS = 9  # of the sheet's vertices


def sheets(response: tuple[tuple[float, float], ...] = ()) -> RigBasis:
    """A sheet of skin that a control lowers by 6 px, before another one that nothing moves."""
    places = np.stack(np.meshgrid(np.linspace(8, 40, COLUMNS), np.linspace(8, 40, COLUMNS)), -1).reshape(-1, 2)
    corner = np.arange(COLUMNS * COLUMNS).reshape(COLUMNS, COLUMNS)
    a, b, c, d = (each.ravel() for each in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)])
    moved = np.zeros((1, 2 * len(places), 2), np.float32)
    moved[0, : len(places), 1] = 6
    return RigBasis(
        image_size=(SIDE, SIDE),
        controls=(Control("Skin", "shape_key", "Skin", "lower", rest=0.5, low=0.0, high=1.5, response=response),),
        positions=np.concatenate([places, places + np.array([0, 12])]).astype(np.float32),
        depth=np.repeat(np.float32([1.0, 2.0]), len(places)),
        visible=np.ones(2 * len(places), bool),
        displacement=moved,
        triangles=np.concatenate([triangles, triangles + len(places)]).astype(np.int32),
    )


def shifts(basis: RigBasis, value: float, window: Window) -> np.ndarray:
    grid = np.stack(np.meshgrid(np.arange(window.crop_size), np.arange(window.crop_size)))
    return sources(basis, np.array([value]), window) - grid


def test_each_pixel_shows_what_the_controls_bring_there_and_the_nearest_hides_what_is_behind() -> None:
    found = shifts(sheets(), 1.0, Window.around((31.5, 31.5), SIDE, SIDE))  # half a unit from rest
    np.testing.assert_allclose(found[:, 12:42, 10:38], np.broadcast_to([[[0]], [[-3]]], (2, 30, 28)), atol=1e-5)
    assert np.abs(found[:, :10]).max() == 0, "what no skin covers any more stays in its place"
    assert np.abs(found[:, 45:]).max() == 0, "the skin behind, where the moved one doesn't reach, keeps still"


def test_a_control_that_bends_moves_by_what_it_shows_there() -> None:
    bent = ((-0.5, 0.0), (0.0, 0.0), (0.5, 0.1), (1.0, 1.0))
    found = shifts(sheets(bent), 1.0, Window.around((31.5, 31.5), SIDE, SIDE))
    np.testing.assert_allclose(found[1, 12:40, 10:38], -0.6, atol=1e-5)


@pytest.mark.parametrize("value", [0.5, 1.0])
def test_a_smaller_window_sees_the_same(value: float) -> None:
    found = shifts(sheets(), value, Window.around((31.5, 31.5), SIDE, SIDE // 2))
    np.testing.assert_allclose(found[1, 7:20, 6:18], -3 * (value - 0.5), atol=1e-5)
