# SPDX-License-Identifier: GPL-3.0-or-later
"""Compiled loops compute what PyTorch does on other devices, and where gradients are asked for."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import lsq_linear
from torch import Tensor

from magplus.models import device, loops, warp
from magplus.models.face import Window, rigid
from magplus.models.face import correspondence as correspondence_module
from magplus.models.face.correspondence import Correspondence
from magplus.models.loops import colour, resampling, resizing
from magplus.models.loops import motion as motion_loops
from magplus.models.loops import rig as rig_loops
from magplus.models.magnification import camera_state, filters, refinement, solver
from magplus.models.magnification.motion import Motion
from magplus.models.pipeline import restoration as restoration_module
from magplus.models.pipeline.avatar import AvatarPicture
from magplus.models.pipeline.restoration import Restoration
from magplus.models.rig import equations, measurement, misfit
from magplus.models.rig.measurement import Measurement, NormalEquations, cauchy_weights
from magplus.models.rig.misfit import marginalised
from magplus.models.video.writer import png_codes


@pytest.fixture
def random() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def smooth(random: torch.Generator, *size: int) -> Tensor:
    """A field of the size of a picture, smooth over some px as pictures and motion are."""
    coarse = torch.randn(*size[:2], size[2] // 6, size[3] // 6, generator=random)
    return F.interpolate(coarse, size[2:], mode="bicubic", align_corners=False)


def by_pytorch(monkeypatch: pytest.MonkeyPatch, *modules: object) -> None:
    for module in modules:
        monkeypatch.setattr(module, "fits_loops", lambda *_, **__: False)


@pytest.mark.parametrize(("pictures", "fields"), [(1, 3), (3, 1), (2, 2)])
def test_a_picture_is_looked_up_alike(random, monkeypatch, pictures, fields):
    """Inside, beyond the edge, and far away."""
    image = smooth(random, pictures, 3, 48, 66)
    positions = warp.pixel_grid(48, 66) + 20 * smooth(random, fields, 2, 48, 66)
    positions[0, :, 0, 0] = torch.tensor([1e9, -1e9])
    compiled = warp.sample_spline(image, positions)
    by_pytorch(monkeypatch, warp)
    assert torch.allclose(compiled, warp.sample_spline(image, positions), atol=1e-4)


@pytest.mark.parametrize("far", [0.3, 3.0, 40.0])
def test_a_picture_is_looked_up_beside_its_pixels_alike(random, monkeypatch, far):
    """Whether neighbours come from beside each other, so that they are looked up together, or not."""
    image, displacement = smooth(random, 2, 3, 90, 150), far * smooth(random, 2, 2, 90, 150)
    picture = warp.SplineImage(image)
    compiled = picture.displaced(displacement)
    assert torch.equal(compiled, picture.at(warp.pixel_grid(90, 150) + displacement))
    assert torch.equal(compiled[1:], picture.of(torch.tensor([1])).displaced(displacement[1:]))
    by_pytorch(monkeypatch, warp)
    assert torch.allclose(compiled, warp.SplineImage(image).displaced(displacement), atol=1e-4)


def test_a_whole_step_beside_its_pixels_is_the_neighbours_value(random):
    """Between two pixels an interpolating spline has a value of its own, on one that pixel's."""
    image = smooth(random, 1, 1, 48, 96)
    step = torch.tensor([3.0, -2.0]).view(1, 2, 1, 1).expand(1, 2, 48, 96)
    found = warp.SplineImage(image).displaced(step)
    assert torch.allclose(found[..., 2:, :-3], image[..., :-2, 3:], atol=1e-5)


def test_a_picture_of_any_height_is_looked_up_where_its_pixels_are(random):
    """Its rows are filtered in strips."""
    for height in (20, 256, 300, 540):
        image = torch.rand(1, 2, height, 40, generator=random)
        assert torch.allclose(warp.sample_spline(image, warp.pixel_grid(height, 40)), image, atol=1e-5)


def test_colours_are_opencvs(random):
    """Landmarks are found in 8-bit codes, and a last digit moves keys."""
    codes = torch.randint(0, 2**16, (3, 50, 68), generator=random).numpy().astype(np.uint16)
    matrix = (torch.randn(3, 4, generator=random) / 2**16).numpy()
    matrix[:, 3] = 0.2
    mixed = np.empty((50, 66, 3), np.float32)
    colour.mix(*codes, matrix, mixed)
    picture = np.stack(codes, -1)[:, :66].astype(np.float32)
    wanted = cv2.transform(np.vstack([picture, picture[:1]]), matrix)[:50].clip(0, 1)
    assert np.abs(mixed - wanted).max() < 2e-7  # the same on a processor that rounds a product and its sum once
    assert 0.2 < (mixed == 0).mean() + (mixed == 1).mean() < 0.8


@pytest.mark.parametrize("size", [(90, 117), (64, 48), (49, 32)])
def test_a_picture_is_shrunk_as_by_opencv(random, size):
    """Whether a pixel covers a whole number of others or not."""
    image = torch.rand(3, *size, generator=random).numpy()
    found = np.empty((3, 32, 24), np.float32)
    resizing.shrink_by_area(image, found)
    expected = np.stack([cv2.resize(plane, (24, 32), interpolation=cv2.INTER_AREA) for plane in image])
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_frame_is_shown_alike(random):
    """In another light where it is seen, and the reference bit by bit where nothing is."""
    frame, reference = torch.rand(2, 3, 60, 60, generator=random)
    gain, offset = 0.5 + torch.rand(3, 12, 12, generator=random), torch.tensor([0.1, -0.2, 0.0])
    seen = (torch.rand(12, 12, generator=random) > 0.4).float()
    picture, soft = torch.empty_like(frame), torch.empty(60, 60)
    resizing.show(*(each.numpy() for each in (frame, reference, gain, offset, seen, picture, soft)))
    everywhere = F.interpolate(torch.cat([gain, seen[None]])[None], size=(60, 60), mode="bilinear")[0]
    expected = torch.where(everywhere[3] > 0.99, 1.0, everywhere[3])
    assert torch.allclose(soft, expected, atol=1e-6)
    lit = ((frame + offset[:, None, None]) * everywhere[:3]).clamp(0, 1)
    assert torch.allclose(picture, torch.lerp(reference, lit, expected), atol=1e-6)
    assert torch.equal(picture[:, soft == 0], reference[:, soft == 0])


@pytest.mark.parametrize("size", [(9, 20), (60, 42)])
def test_coefficients_of_a_picture_and_its_surroundings_are_alike(random, monkeypatch, size):
    """Mirrored at its edges, or repeated where it is small."""
    image = torch.rand(2, 3, *size, generator=random)
    corners = torch.tensor([[0.0, 19.5, -3], [0, 8.5, 30]]).view(1, 2, 1, 3)
    compiled = warp.sample_spline(image, corners)
    by_pytorch(monkeypatch, warp)
    assert torch.allclose(compiled, warp.sample_spline(image, corners), atol=1e-4)


def test_what_is_no_number_stays_none(random):
    image = warp.SplineImage(smooth(random, 1, 1, 48, 48))
    nothing = torch.full((1, 2, 48, 48), torch.nan)
    assert image.at(nothing).isnan().all()
    assert warp.backward_displacement(nothing, iterations=2).displacement.isnan().all()


def test_a_flow_is_inverted_alike(random, monkeypatch):
    flow = smooth(random, 2, 2, 60, 42)
    compiled = warp.backward_displacement(flow)
    by_pytorch(monkeypatch, warp)
    found = warp.backward_displacement(flow)
    assert torch.allclose(compiled.displacement, found.displacement, atol=1e-4)
    assert compiled.iterations == found.iterations


@pytest.mark.parametrize(
    "filtered",
    [
        lambda field: filters.resize(field, (100, 31)),
        lambda field: filters.resize(field, (7, 90)),
        lambda field: filters.shrink(field, (47, 31)),
        lambda field: filters.shrink(field, (11, 9)),
        lambda field: filters.box(field, 1),
        lambda field: filters.box(field, 7),
        lambda field: filters.pool_to(field, (13, 48)),
        lambda field: filters.dilate(field, 5),
    ],
)
def test_fields_are_filtered_alike(random, monkeypatch, filtered):
    field = smooth(random, 2, 3, 60, 48)
    for each in (field, field.mT):  # also one that isn't contiguous
        compiled = filtered(each)
        with monkeypatch.context() as context:
            by_pytorch(context, filters)
            assert torch.allclose(compiled, filtered(each), atol=1e-5)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.4])
def test_an_avatar_is_moved_alike(random, monkeypatch, transparent, angle):
    """Turned, larger than its crop, and with a part of the crop beyond the picture; also where it is transparent."""
    picture = (0.5 + 0.3 * smooth(random, 1, 4, 150, 180)).clamp(0, 1)
    picture[:, 3] = picture[:, 3].sub(0.3).mul(3).clamp(0, 1) if transparent else 1
    picture[:, :3] *= picture[:, 3:]
    x, y = pixel_grid_of(48)
    face = ((20 - (x - 23).hypot(y - 22)) / 4).clamp(0, 1)[None, None]
    window = Window.around((40, 70), 100, 48, angle)
    restoration = Restoration(AvatarPicture(picture, 255, transparent), window, face, torch.device("cpu"))
    motion = restoration.restored(Motion(smooth(random, 2, 2, 48, 48), torch.ones(2, 1, 48, 48)), 1.0)
    compiled = list(restoration.frames(motion))
    by_pytorch(monkeypatch, restoration_module, warp)
    for one, other in zip(compiled, restoration.frames(motion), strict=True):
        assert torch.allclose(one, other, atol=2e-4)
        assert (one - restoration._still[0]).abs().max() > 0.01


def test_motion_is_carried_alike(random, monkeypatch):
    """Also from beyond the driver's crop, whose border is repeated."""
    x, y = (each.flatten().numpy() for each in pixel_grid_of(22))
    here = np.stack([2 * x, 2 * y], 1)[:478]
    there = here * (1.3, 0.9) + (-4, 3) + np.sin(here[:, ::-1] / 9)
    correspondence = Correspondence(here, there, (44, 40))
    flow = smooth(random, 3, 2, 36, 48)
    flow[1, :, :9], flow[1, :, 20:], flow[1, :, :, :5], flow[1, :, :, 30:] = 0, 0, 0, 0  # only a part of it moves
    flow[2] = 0
    compiled = correspondence.carry(flow)
    by_pytorch(monkeypatch, correspondence_module)
    assert torch.allclose(compiled, correspondence.carry(flow), atol=1e-4)
    assert compiled[2].abs().max() == 0


@pytest.mark.parametrize(("maximum", "depth"), [(255, 8), (65535, 16)])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_codes_of_a_picture_are_those_of_its_straight_colour(random, maximum, depth, has_alpha):
    alpha = (torch.rand(20, 30, generator=random) * 1.4 - 0.2).clamp(0, 1)
    premultiplied = torch.cat([torch.rand(3, 20, 30, generator=random) * alpha, alpha[None]])
    avatar = AvatarPicture(premultiplied[None], maximum, has_alpha)
    straight = torch.where(alpha > 0, premultiplied[:3] / alpha.clamp_min(1e-6), premultiplied[:3])
    channels = torch.cat([straight, alpha[None]]) if has_alpha else straight
    expected = png_codes(channels.permute(1, 2, 0).contiguous().numpy(), depth)
    codes = avatar._codes_of(premultiplied)
    assert codes.dtype == expected.dtype
    assert (codes == expected).all()


def pixel_grid_of(side: int) -> tuple[Tensor, Tensor]:
    x, y = warp.pixel_grid(side, side)[0]
    return x, y


def test_order_statistics_are_the_same(random, monkeypatch):
    values = torch.rand(3, 1001, generator=random)
    values[1, ::3] = torch.nan
    values[2] = torch.nan
    counted = torch.rand(3, 1001, generator=random) < 0.4

    def statistics() -> list[Tensor]:
        of_rank = (filters.kth_smallest(values[:1], k) for k in (1, 501, 1001))
        return [filters.median(values), filters.median(values, counted), *of_rank]

    compiled = statistics()
    by_pytorch(monkeypatch, filters)
    found = statistics()
    assert all(
        torch.equal(one.nan_to_num(-1), other.nan_to_num(-1)) for one, other in zip(compiled, found, strict=True)
    )


def test_changes_of_colour_are_alike(random, monkeypatch):
    """Also where nothing changes."""
    reference, frames = torch.rand(1, 3, 24, 36, generator=random), torch.rand(3, 3, 24, 36, generator=random)
    frames[:, :, :12] = reference[:, :, :12]
    compiled = camera_state.colour_changes(reference, frames)
    by_pytorch(monkeypatch, camera_state)
    expected = camera_state.colour_changes(reference, frames)
    assert all(torch.equal(one, other) for one, other in zip(compiled, expected, strict=True))
    assert bool(compiled[2][:, :12].all())


def test_ends_of_repeats_are_counted_alike(random, monkeypatch):
    repeats = torch.rand(2, 48, 60, generator=random) < 0.4
    compiled = camera_state.ends_on_grid(repeats)
    by_pytorch(monkeypatch, camera_state)
    assert torch.equal(compiled, camera_state.ends_on_grid(repeats))


def test_neighbours_are_counted_alike(random, monkeypatch):
    mask = (torch.rand(2, 1, 30, 44, generator=random) < 0.3).float()
    compiled = camera_state._around(mask)
    by_pytorch(monkeypatch, camera_state)
    assert torch.equal(compiled, camera_state._around(mask))


@pytest.mark.parametrize("sigma", [0.6, 6.0])
def test_fields_are_blurred_alike(random, sigma):
    field, reach = smooth(random, 2, 1, 60, 48), round(3 * sigma)
    compiled = equations._compiled_gaussian(field, sigma, reach)
    assert torch.allclose(compiled, filters.gaussian(field, sigma, reach), atol=1e-5)


def test_bands_are_linearised_alike(random):
    base, warped = smooth(random, 1, 1, 48, 60), smooth(random, 2, 1, 48, 60)
    assert torch.allclose(solver._compiled_products(base, warped), solver._products(base, warped), atol=1e-5)


def test_equations_of_bands_are_added_up_alike(random, monkeypatch):
    base, frames = (0.5 + 0.1 * smooth(random, count, 1, 48, 66) for count in (1, 3))
    motion, weight = smooth(random, 3, 2, 24, 33), torch.rand(3, 1, 24, 33, generator=random)
    bands, factors = [solver._linearised(base + n / 9 * frames, frames, weight) for n in (1, 2)], [1.0, 8.0]
    noise = [each.noise_at(local=True) for each in bands]
    compiled = solver._compiled_sum(bands, motion, noise, factors)
    assert torch.allclose(compiled, solver._sum(bands, motion, noise, factors), rtol=1e-5)


@pytest.mark.parametrize(("fields", "weights"), [(1, 3), (3, 1), (2, 2)])
def test_weighted_means_over_cells_are_alike(random, monkeypatch, fields, weights):
    field, weight = torch.randn(fields, 2, 50, 61, generator=random), torch.rand(weights, 1, 50, 61, generator=random)
    compiled = filters.pool_weighted(field, weight, (12, 48))
    by_pytorch(monkeypatch, filters)
    assert torch.allclose(compiled, filters.pool_weighted(field, weight, (12, 48)), atol=1e-6)


def test_what_is_measured_at_sites_is_handled_alike(monkeypatch):
    """Motion taken out, energy and a misfit integrated out, also where nothing was measured."""
    rng = np.random.default_rng(0)
    root = rng.normal(0, 3, (4, 2, 2, 50)).astype(np.float32)
    root[1, ..., :9] = 0
    (xx, xy), (_, yy) = np.einsum("nijs,nkjs->iksn", root, root).swapaxes(2, 3)
    precision, motion = np.stack([xx, xy, yy], 1), rng.normal(0, 1, (4, 2, 50)).astype(np.float32)
    seen = Measurement(rng.random((50, 2)), np.zeros(50), precision, motion[::-1].copy())

    def computed() -> list[np.ndarray]:
        wider = marginalised(seen, np.array([0.0, 0.01, 0.3, 4.0]))
        return [seen.less(motion).pull, seen.energy(), wider.precision, wider.pull]

    compiled = computed()
    for module in (measurement, misfit):
        monkeypatch.setattr(module, "fit_loops", lambda *_: False)
    for found, expected in zip(compiled, computed(), strict=True):
        assert found.dtype == expected.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("loops", [True, False])
def test_rounding_leaves_no_energy_below_zero(monkeypatch, loops):
    """What is nearly nothing may have a negative direction, as these had in a real clip; a root of it is no number."""
    precision = np.array([[[9.975224e-10], [2.1384748e-08], [3.3345181e-08]]], np.float32)
    seen = Measurement(np.zeros((1, 2)), np.zeros(1), precision, np.array([[[7.98e-08], [6.32e-07]]], np.float32))
    if not loops:
        monkeypatch.setattr(measurement, "fit_loops", lambda *_: False)
    assert seen.energy().item() == 0.0
    assert np.isfinite(cauchy_weights(seen, np.zeros((1, 2, 1)), proportional=0.25)).all()


def test_gram_matrices_are_summed_over_all_places():
    """Also of columns that act in a part of the face, and where the products are formed anew each time."""
    rng = np.random.default_rng(0)
    position, columns = rng.random((200, 2)), rng.normal(0, 1, (9, 2, 200)).astype(np.float32)
    columns[:6] *= (position[:, 0] < np.linspace(0, 0.8, 6)[:, None])[:, None]  # the first acts nowhere
    precision, weights = rng.random((4, 3, 200)).astype(np.float32), rng.random((4, 200)).astype(np.float32)
    seen = Measurement(position, np.zeros(200), precision, np.zeros((4, 2, 200), np.float32))
    whole = precision[:, [[0, 1], [1, 2]]] * weights[:, None, None]
    expected = np.einsum("ixs,nxys,jys->nij", *(each.astype(np.float64) for each in (columns, whole, columns)))
    equations = NormalEquations(columns, position)
    np.testing.assert_allclose(equations.gram(seen, weights), expected, atol=1e-4)
    kept = equations.gram(seen, weights)
    equations._kept = None
    np.testing.assert_array_equal(equations.gram(seen, weights), kept)


def test_bounded_least_squares_are_scipys(random):
    """From rest and from any other guess."""
    columns, sides = (torch.randn(3, 30, each, generator=random).double().numpy() for each in (20, 1))
    gram, target = columns.swapaxes(1, 2) @ columns, (columns.swapaxes(1, 2) @ sides)[..., 0]
    low, high = np.full((3, 20), -0.02), np.full((3, 20), 0.2)
    expected = [lsq_linear(a, b[:, 0], (-0.02, 0.2), tol=1e-14).x for a, b in zip(columns, sides, strict=True)]
    for guess in (np.zeros((3, 20)), np.full((3, 20), 0.3), target.copy()):
        rounds = np.empty(3, np.int64)
        rig_loops.minimise_boxed(gram, target, low, high, 1e-10, 100, guess, rounds)
        assert (rounds > 0).all()
        np.testing.assert_allclose(guess, expected, atol=1e-8)


def test_equations_are_alike(random, monkeypatch):
    reference = (0.5 + 0.1 * smooth(random, 1, 3, 60, 48)).clamp(0, 1)
    frames = (reference + 0.02 * smooth(random, 2, 3, 60, 48)).clamp(0, 1)
    flow = 0.3 * smooth(random, 2, 2, 60, 48)
    compiled = equations.motion_equations(reference, frames, flow)
    by_pytorch(monkeypatch, warp, equations, filters)
    found = equations.motion_equations(reference, frames, flow)
    assert torch.allclose(compiled, found, rtol=1e-3, atol=1e-3 * float(found.abs().mean()))


def test_a_motion_is_relaxed_alike(random, monkeypatch):
    texture = smooth(random, 2, 2, 48, 60) * 5
    x, y = texture.split(1, 1)
    seen = torch.cat([x * x, x * y, y * y, smooth(random, 2, 2, 48, 60)], 1)
    stiffness = 0.5 + smooth(random, 2, 1, 48, 60) ** 2
    compiled = solver.smooth_solve(seen, stiffness)
    by_pytorch(monkeypatch, solver)
    found = solver.smooth_solve(seen, stiffness)
    for one, other in ((compiled.motion, found.motion), (compiled.previous, found.previous)):
        assert torch.allclose(one, other, atol=1e-5)
    assert compiled.iterations == found.iterations


@pytest.mark.parametrize("seen", [1.0, 0.0])
def test_a_heads_motion_is_fitted_alike(random, monkeypatch, seen):
    """Of what moves on a face as of what doesn't; of a frame that shows nothing of it, too."""
    depth, weight = 10 * smooth(random, 1, 1, 60, 66), torch.rand(1, 1, 60, 66, generator=random)
    confidence = torch.rand(3, 1, 60, 66, generator=random)
    confidence[1] *= seen
    motion = Motion(2 * smooth(random, 3, 2, 60, 66) + torch.randn(3, 2, 1, 1, generator=random), confidence)
    compiled = rigid.split_rigid(motion, depth, weight)
    by_pytorch(monkeypatch, rigid)
    other = rigid.split_rigid(motion, depth, weight)
    assert torch.allclose(compiled.rigid, other.rigid, atol=1e-5)
    assert torch.allclose(compiled.residual, other.residual, atol=1e-8)


def test_gradients_and_other_devices_are_pytorchs():
    picture = torch.ones(1, 1, 4, 4)
    assert device.fits_loops(picture)
    assert not device.fits_loops(picture, picture.clone().requires_grad_())
    assert not device.fits_loops(picture.double()) and not device.fits_loops(picture.to("meta"))


@pytest.mark.slow
def test_they_are_compiled_where_the_folder_cannot_be_used(tmp_path):
    (tmp_path / "file").touch()
    assert compiled_in(tmp_path / "file" / "folder", tmp_path) == "ok"


@pytest.mark.slow
def test_workers_compile_at_once(tmp_path):
    """Two processes that find nothing kept don't disturb each other; the code lies where the worker has said."""
    assert compiled_in(tmp_path, tmp_path, processes=2) == "ok"
    assert list(tmp_path.rglob("*.nbc"))


def compiled_in(folder: Path, home: Path, processes: int = 1) -> str:
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); "
        "from magplus.models.loops import load_all; load_all(); print('ok')"
    )
    root = Path(loops.__file__).resolve().parents[2] / "checkout"
    surroundings = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "HOME": str(home), "XDG_CACHE_HOME": str(home)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(root)], stdout=subprocess.PIPE, text=True, env=surroundings
        )
        for _ in range(processes)
    ]
    said = {process.communicate(timeout=300)[0].strip() for process in running}
    assert not any(process.returncode for process in running)
    return said.pop() if len(said) == 1 else ""


def test_a_loop_calls_only_those_of_its_own_file():
    """Compiled code is kept until its own file changes: what it calls from another one could change unseen."""
    shared = Path(loops.__file__).with_name("compiled.py")
    for file in set(shared.parent.glob("[a-z]*.py")) - {shared}:
        imports = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
        assert {node.module for node in imports if node.level} == {shared.stem}, file.name


def test_the_loops_let_other_threads_run():
    """What they compute is no Python: the interpreter's lock is released."""
    assert np.all([loop.targetoptions.get("nogil") for loop in (resampling.look_up_spline, motion_loops.relax)])


@pytest.mark.parametrize("size", [(16, 24), (15, 23)])
def test_a_field_is_enlarged_beside_another_alike(random, monkeypatch, size):
    """Wherever its channels lie in memory."""
    field, beside = smooth(random, 2, 5, 12, 18), smooth(random, 2, 3, 24, 36)[..., : size[0], : size[1]]
    results = [
        filters.enlarged_beside(field.contiguous(memory_format=layout), beside)
        for layout in (torch.contiguous_format, torch.channels_last)
    ]
    by_pytorch(monkeypatch, filters)
    assert all(torch.allclose(each, filters.enlarged_beside(field, beside), atol=1e-6) for each in results)


@pytest.mark.parametrize("around", [(), ("before",), ("after",), ("before", "after")])
def test_points_are_folded_into_channels_alike(random, monkeypatch, around):
    fields = smooth(random, 2, 3, 24, 36), smooth(random, 2, 1, 24, 36)
    beside = {"before": smooth(random, 2, 4, 12, 18), "after": torch.randn(2, 2, 1, 1, generator=random)}
    beside = {name: beside[name] for name in around}
    compiled = filters.folded(*fields, **beside)
    by_pytorch(monkeypatch, filters)
    assert torch.equal(compiled, filters.folded(*fields, **beside))
    assert compiled.is_contiguous(memory_format=torch.channels_last)


def test_the_motion_that_fields_explain_is_found_alike(random, monkeypatch):
    """Fields of the faces and fields that all pictures share."""
    count, height, width = 2, 12, 18
    fields = smooth(random, count, 2 * 4, height, width)
    square = smooth(random, count, 4, height, width)
    xx, xy, yy = square[:, :1] ** 2 + square[:, 1:2] ** 2, square[:, :1] * square[:, 2:3], square[:, 2:3] ** 2
    seen = solver.Observation(torch.cat([xx, xy, yy + square[:, 3:] ** 2, square[:, :2]], 1), square[:, :2], xx, xx)
    amounts = torch.full((count, 4 + 6), 0.1)
    weight, extent = torch.ones(count, 1, height, width), torch.ones(count, 1, 1, 1)
    network = refinement.Refinement(units=3, free=1)
    arguments = seen, fields, amounts, amounts, weight, 2 * weight, extent
    compiled = network._prior_mean(*arguments)
    by_pytorch(monkeypatch, refinement)
    assert torch.allclose(compiled, network._prior_mean(*arguments), atol=1e-4)
    assert compiled.abs().amax() > 0.01


@pytest.mark.parametrize("places", [1, 7, 5000])
def test_numbers_are_ranked_alike(random, places):
    """Negative, equal and infinite ones, and with some left out."""
    values = torch.randn(3, places, generator=random)
    values[1] = values[1].round()
    values[2, ::3] = torch.inf
    values[2, 1::3] = 0.0
    counted = torch.rand(3, places, generator=random) > 0.5
    counted[:, 0] = True
    assert torch.equal(filters.median(values), values.median(1).values)
    assert torch.equal(filters.median(values, counted), values.masked_fill(~counted, torch.nan).nanmedian(1).values)
    for k in {1, (places + 2) // 3, places}:
        assert torch.equal(filters.kth_smallest(values, k), values.kthvalue(k, dim=1).values)
