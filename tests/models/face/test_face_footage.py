# SPDX-License-Identifier: GPL-3.0-or-later
"""Which frames, and which pixels of them, are worth something."""

import math
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from magplus.backend_bridge.rig.footage import Fault
from magplus.models.face import (
    FaceLandmarker,
    FaceTrack,
    SteadyCrop,
    Visibility,
    choose_reference,
    eyes_part,
    face_mask,
    follow_face,
    gaze_reach,
    nearer_to_rest,
    undisturbed,
    widening,
)
from magplus.models.face.footage import Summariser, judge, runs_of
from magplus.models.face.lids import LidModel, apertures, blinks, closures
from magplus.models.face.lighting import ReferenceLight
from magplus.models.face.mesh import LEFT_LIDS, LIPS, LOWER_LIP, NOSE_BASE, RIGHT_EYE, RIGHT_LIDS
from magplus.models.face.mouth_cover import mouth_cover
from magplus.models.pages import KeptArray
from magplus.models.video import VideoReader
from tests.models.face.lids import with_lids

FRAMES = 30
SECONDS = [index / 24 for index in range(FRAMES)]


@pytest.fixture(scope="module")
def whole(real_clip, other_person):
    """The first frames of two people's clips, with their landmarks."""
    with FaceLandmarker() as landmarker:
        return [
            [(frame.image, landmarker.detect(frame.image)[0].points) for frame in islice(VideoReader(clip), FRAMES)]
            for clip in (real_clip, other_person)
        ]


@pytest.fixture(scope="module")
def clips(whole):
    """The same at half their size, which is enough to judge whole frames by."""
    return [[halved(*frame) for frame in clip] for clip in whole]


def halved(image, points):
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), points / 2


@pytest.fixture(scope="module")
def seen(whole):
    """A crop of the real clip's face with its landmarks, and what compares others with it."""
    image, points = whole[0][0]
    low, high = points[:, :2].min(0) - 40, points[:, :2].max(0) + 40
    side = float((high - low).max())
    matrix = np.array([[256 / side, 0, -low[0] * 256 / side], [0, 256 / side, -low[1] * 256 / side]])
    crop = cv2.warpAffine(image, matrix, (256, 256), flags=cv2.INTER_AREA)
    there = points.copy()
    there[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    there[:, 2] *= 256 / side
    picture = torch.from_numpy(crop).permute(2, 0, 1)[None]
    everywhere = torch.ones(1, 1, 256, 256)
    return picture, there, everywhere, Visibility(picture, there, everywhere)


@pytest.fixture(scope="module")
def mesh(whole):
    return whole[1][0][1]


def faults_of(frames):
    summariser = Summariser()
    summaries = [None if points is None else summariser.summarise(image, points) for image, points in frames]
    return judge(summaries, SECONDS[: len(frames)], summariser.frame_width)


def relit(frames, gains, offset=0.0):
    """Frames whose light is another one where `gains` has an entry."""
    return [
        (np.clip(image * gains[index] + offset, 0, 1) if index in gains else image, points)
        for index, (image, points) in enumerate(frames)
    ]


def swell(index, width):
    """What rises to 1 in the middle of a clip and falls again, over about so many frames each."""
    return math.exp(-(((index - FRAMES // 2) / width) ** 2))


class TestFrames:
    def test_ordinary_clips_are_used_whole(self, clips):
        for clip in clips:
            assert not any(faults_of(clip))
            assert not any(faults_of(clip[::3]))

    @pytest.mark.parametrize("gain", [0.7, 1.4])
    @pytest.mark.parametrize("start", [3, 12, 27])
    def test_a_step_of_the_exposure_is_no_fault(self, clips, gain, start):
        assert not any(faults_of(relit(clips[0], dict.fromkeys(range(start, FRAMES), gain))))

    def test_flicker_is_none_either(self, clips):
        gains = {index: 1 + 0.12 * np.sin(2.1 * index) for index in range(FRAMES)}
        assert not any(faults_of(relit(clips[0], gains)))

    @pytest.mark.parametrize("at", [0, 1, 14, FRAMES - 1])
    @pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.1), (0.0, 1.0), (0.0, 0.0)])
    def test_a_flash_and_a_black_frame_are_reported_wherever_they_are(self, clips, at, gain, offset):
        faults = faults_of(relit(clips[0], {at: gain}, offset))
        assert [index for index, fault in enumerate(faults) if fault] == [at]

    @pytest.mark.parametrize("width", [3.0, 5.0])
    @pytest.mark.parametrize("amount", [0.6, -0.35])
    def test_light_that_swells_slowly_and_ebbs_is_no_fault(self, clips, amount, width):
        gains = {index: 1 + amount * swell(index, width) for index in range(FRAMES)}
        assert not any(faults_of(relit(clips[0], gains)))

    def test_a_tone_curve_that_pumps_slowly_is_no_fault(self, clips):
        pumped = [(image ** (1 - 0.4 * swell(index, 5.0)), points) for index, (image, points) in enumerate(clips[0])]
        assert not any(faults_of(pumped))

    def test_a_fade_from_black_is_too_dark_at_first(self, clips):
        faults = faults_of(relit(clips[0], {index: index / 9 for index in range(9)}))
        assert faults[:3] == [Fault.DARK] * 3
        assert not any(faults[8:])

    def test_the_last_frames_of_a_fade_are_left_out_too(self, clips):
        """Encoders leave them coarse: their motion against what follows was larger than a micro-expression's."""
        for ends in (1, -1):
            gains = {index if ends > 0 else FRAMES - 1 - index: index / 4 for index in range(4)}
            faults = faults_of(relit(clips[0], gains))[::ends]
            assert all(faults[:4]) and not any(faults[4:])

    @pytest.mark.parametrize("count", [1, 5])
    def test_another_person_between_is_reported_and_the_first_one_is_known_again(self, clips, count):
        hers, his = clips
        faults = faults_of([*hers[:12], *his[:count], *hers[12 : FRAMES - count]])
        assert [index for index, fault in enumerate(faults) if fault] == list(range(12, 12 + count))
        assert set(faults[12 : 12 + count]) <= {Fault.STRANGER, Fault.FLASH, Fault.DARK}

    @pytest.mark.parametrize(("count", "at"), [(2, 8), (5, 8), (12, 8), (2, 14), (5, 14)])
    def test_a_dissolve_to_another_person_is_a_cut(self, clips, count, at):
        hers, his = clips
        size = hers[0][0].shape[1::-1]
        mixed = []
        for index, (image, points) in enumerate(hers):
            share = min(max((index - at + 1) / count, 0.0), 1.0)
            other, there = his[index]
            other = cv2.resize(other, size)
            scale = np.array([size[0] / his[index][0].shape[1], size[1] / his[index][0].shape[0], 1], np.float32)
            mixed.append(((1 - share) * image + share * other, points if share < 0.5 else there * scale))
        faults = faults_of(mixed)
        last = at + count - 1  # from here on the other one alone is seen
        trusted = [index for index, fault in enumerate(faults) if not fault]
        assert set(trusted) <= set(range(at)) or set(trusted) <= set(range(last, FRAMES)), "one shot, nothing blended"
        assert len(trusted) >= max(at, FRAMES - last) - 1 - count // 4, "and nearly all of it"

    @pytest.mark.parametrize(
        ("speed", "course"), [(0.005, "steady"), (0.02, "steady"), (0.02, "there and back"), (0.05, "there and back")]
    )
    def test_a_head_that_moves_is_no_dissolve(self, clips, speed, course):
        moved = []
        for index, (image, points) in enumerate(clips[0]):
            way = index if course == "steady" else 6 * np.sin(index / 6)
            shift = speed * np.ptp(points[:, 0]) * way * np.array([0.8, 0.6])
            matrix = np.array([[1, 0, shift[0]], [0, 1, shift[1]]])
            there = points.copy()
            there[:, :2] += shift.astype(np.float32)
            moved.append((cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT), there))
        assert not any(faults_of(moved))

    def test_the_longer_shot_is_the_clips(self, clips):
        hers, his = clips
        assert [bool(fault) for fault in faults_of([*hers[:6], *his[:20]])] == [True] * 6 + [False] * 20

    def test_runs_name_the_first_and_the_last_frame(self):
        runs = runs_of([None, Fault.CUT, Fault.CUT, Fault.FLASH, None, Fault.CUT], SECONDS[:6])
        assert [(run.start, run.end, run.fault) for run in runs] == [
            (SECONDS[1], SECONDS[2], "another shot"),
            (SECONDS[3], SECONDS[3], "a flash"),
            (SECONDS[5], SECONDS[5], "another shot"),
        ]


class TestPixels:
    def test_the_reference_itself_is_seen_as_it_is(self, seen):
        picture, points, everywhere, visibility = seen
        frames, trust = visibility(picture, points[None], everywhere)
        assert torch.allclose(frames, picture, atol=1e-6)
        assert max(float(share[0]) for share in visibility.unseen_regions(trust).values()) < 0.2

    def test_noise_and_another_exposure_hide_nothing(self, seen):
        picture, points, everywhere, visibility = seen
        noisy = (0.75 * picture + 0.01 * torch.randn(picture.shape, generator=torch.manual_seed(0))).clamp(0, 1)
        frames, trust = visibility(noisy, points[None], everywhere)
        assert max(float(share[0]) for share in visibility.unseen_regions(trust).values()) < 0.2
        assert float((frames - picture).abs().median()) < 0.02

    @pytest.mark.parametrize(
        "light", ["white balance", "veil", "mains bands", "bands of a turned picture", "an edge of light", "a shadow's"]
    )
    def test_another_light_is_taken_out_and_hides_nothing(self, seen, light):
        picture, points, everywhere, visibility = seen
        bands = 1 + 0.15 * torch.sin(torch.arange(256) / 20)
        edge = torch.sigmoid((torch.arange(256) - float(points[:, 0].mean())) / 12)
        lit = {
            "white balance": picture * torch.tensor([1.15, 1.0, 0.85]).view(1, 3, 1, 1),
            "veil": 0.86 * picture + 0.08,
            "mains bands": picture * bands.view(1, 1, -1, 1),
            "bands of a turned picture": picture * bands,
            "an edge of light": picture * (1 + 0.4 * edge),
            "a shadow's": picture * (1 - 0.4 * edge.view(1, 1, -1, 1)),
        }[light]
        frames, weight = visibility(lit.clamp(0, 1), points[None], everywhere)
        assert max(float(share[0]) for share in visibility.unseen_regions(weight).values()) < 0.2
        on_face = face_mask(points, (256, 256)) > 0.5
        left, before = ((each - picture).abs().mean(1, keepdim=True)[on_face].mean() for each in (frames, lit))
        assert float(left) < 0.3 * float(before)

    @pytest.mark.parametrize("gain", [1.5, 0.6])
    @pytest.mark.parametrize("at", [40, 64, 80])
    def test_an_edge_of_light_is_no_veil(self, gain, at):
        """A veil taken out of it would take the face's contrast, too."""
        skin = np.random.default_rng(0).uniform(0.3, 0.6, (3, 16, 16)).astype(np.float32)
        skin = np.stack([cv2.resize(plane, (128, 128), interpolation=cv2.INTER_CUBIC) for plane in skin])
        edge = 1 / (1 + np.exp((np.arange(128, dtype=np.float32) - at) / 5))
        face = np.ones((128, 128), np.bool_)
        light = ReferenceLight(skin, face, 90.0).between(skin * (1 + (gain - 1) * edge), face)
        assert not light.offset.any()
        assert np.abs(light.on(skin * (1 + (gain - 1) * edge)) - skin).mean() < 0.02

    @pytest.mark.parametrize("gain", [1.3, 0.6])
    @pytest.mark.parametrize("slope", [0.0, 0.7])
    def test_an_edge_of_light_halfway_over_the_face_is_evened_out(self, seen, gain, slope):
        """A gain of columns has no part in it if it is oblique, and a bent tone curve would take other contrast."""
        picture, points, everywhere, visibility = seen
        y, x = np.mgrid[:256, :256].astype(np.float32) - points[:, 1::-1].mean(0)[:, None, None].astype(np.float32)
        edge = torch.from_numpy(1 / (1 + np.exp((x + slope * y) / 10)))
        frames, weight = visibility((picture * (1 + (gain - 1) * edge)).clamp(0, 1), points[None], everywhere)
        on_face = ((face_mask(points, (256, 256)) > 0.5) & (weight > 0.99)).expand_as(picture)
        assert float((frames - picture)[on_face].abs().mean()) < 0.007

    @pytest.mark.parametrize(
        "tone",
        [
            lambda value: value**0.75,
            lambda value: value**1.3,
            lambda value: value + 0.4 * (3 * value**2 - 2 * value**3 - value),
            lambda value: (value + 0.02) ** 0.7 * 0.9,
        ],
        ids=["brighter", "darker", "more contrast", "a night mode"],
    )
    def test_a_camera_that_bends_its_tone_curve_leaves_the_faces_contrast(self, seen, tone):
        """Else all edges of the face would be stronger or weaker than in the reference, as if more or less moved."""
        picture, points, everywhere, visibility = seen
        bent = tone(picture).clamp(0, 1)
        frames, weight = visibility(bent, points[None], everywhere)
        on_face = ((face_mask(points, (256, 256)) > 0.5) & (weight > 0.99)).expand_as(picture)
        assert float(weight[face_mask(points, (256, 256)) > 0.5].mean()) > 0.9
        assert float((frames - picture)[on_face].square().mean().sqrt()) < 0.004

    @pytest.mark.parametrize("gain", [1.0, 0.7])
    def test_an_expression_bends_no_tone_curve(self, clips, gain):
        """Lips that open show darks which the reference has not."""
        points = clips[0][0][1][:, :2]
        shape = clips[0][0][0].shape[:2]
        face = face_mask(points, shape)[0, 0].numpy() > 0.5
        light = ReferenceLight(clips[0][0][0].transpose(2, 0, 1), face, float(np.ptp(points[:, 0])))
        for image, _ in clips[0][1:]:
            assert light.between(gain * image.transpose(2, 0, 1), face).curve is None

    @pytest.mark.parametrize("tilt", [5, -12])
    def test_bands_over_a_tilted_head_are_taken_out(self, seen, tilt):
        """They go along the camera's rows, which are oblique in the picture of a face that is upright in it."""
        picture, points, everywhere, _ = seen
        angle = math.radians(tilt)
        y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
        lit = picture * (1 + 0.15 * torch.sin((y * math.cos(angle) - x * math.sin(angle)) / 20))
        left = [
            (visibility(lit.clamp(0, 1), points[None], everywhere)[0] - picture).abs().mean(1)[:, 60:200, 60:200].mean()
            for visibility in (Visibility(picture, points, everywhere, each) for each in (angle, 0.0))
        ]
        assert left[0] < 0.5 * left[1]

    @pytest.mark.parametrize("amount", [0.05, 0.12])
    def test_moire_is_taken_out_and_hides_nothing(self, seen, amount):
        """Waves of colour that wander over a screen; they are in the reference as well."""
        picture, points, everywhere, _ = seen
        y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
        shifts = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1)
        first, second = (
            (picture * (1 + amount * torch.sin((x + slant * y) / 7 + y / 31 + phase + shifts))).clamp(0, 1)
            for slant, phase in ((0.0, 0.0), (0.08, 2.5))
        )
        shown, weight = Visibility(first, points, everywhere)(second, points[None], everywhere)
        inner = np.s_[..., 80:180, 80:180]
        assert (shown - first)[inner].abs().mean() < 0.2 * (second - first)[inner].abs().mean()
        assert weight[inner].mean() > 0.95

    @pytest.mark.parametrize("size", [0.01, 0.03, 0.06, 0.12])
    @pytest.mark.parametrize("period", [10, 25, 60])
    @pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
    def test_bands_that_a_first_look_gives_up_would_not_have_been_found(self, seen, monkeypatch, size, period, shape):
        picture, points, *_ = seen
        small = torch.nn.functional.avg_pool2d(picture, 2)
        light = ReferenceLight(small[0].numpy(), face_mask(points / 2, (128, 128))[0, 0].numpy() > 0.5, 60.0)
        bands = 1 + size * torch.sin(torch.arange(128) / period * 2 * torch.pi)
        frame = (0.9 * small * bands.view(shape))[0].numpy()
        found = light.without_bands(frame)
        monkeypatch.setattr("magplus.models.face.lighting._HOPELESS", 0.0)
        np.testing.assert_array_equal(found, light.without_bands(frame))

    def test_a_head_that_turns_and_pulls_a_face_is_seen_and_a_hand_before_it_is_not(self, real_clip):
        """A woman cries and turns her head by 8 degrees; then her hand is before her mouth."""
        with FaceLandmarker() as landmarker:
            images = [next(iter(VideoReader(real_clip, (at, at + 0.04)))).image for at in (0.5, 2.2, 3.0)]
            points = np.stack([landmarker.detect(image)[0].points for image in images])
        crop = SteadyCrop.around(points)
        pictures = [crop.crop(image, 256, index) for index, image in enumerate(images)]
        there, inside = crop.landmarks(points, 256), torch.ones(1, 1, 256, 256)
        visibility = Visibility(pictures[0], there[0], inside)
        turned, hand = (
            visibility.unseen_regions(visibility(pictures[index], there[[index]], inside)[1]) for index in (1, 2)
        )
        assert max(float(share[0]) for share in turned.values()) < 0.03
        assert float(hand["mouth"][0]) > 0.8 and float(hand["brows"][0]) < 0.5

    def test_a_broad_smile_hides_nothing_of_itself(self, other_person):
        """Neither its teeth nor the folds beside it: the mesh explains most of what changes, so that is the face's."""
        video, frames = VideoReader(other_person, (0, 2.35)), [4, 20, 22, 57]
        with FaceLandmarker() as landmarker:
            points = follow_face(video, landmarker).points[frames]
        images = [frame.image for frame in video if frame.index in frames]
        crop = SteadyCrop.around(points)
        rest, *smiles = (crop.crop(image, 256, index) for index, image in enumerate(images))
        there, inside = crop.landmarks(points, 256), torch.ones(1, 1, 256, 256)
        visibility = Visibility(rest, there[0], inside)
        for smile, here in zip(smiles, there[1:], strict=True):
            unseen = visibility.unseen_regions(visibility(smile, here[None], inside)[1])
            assert max(float(share[0]) for share in unseen.values()) < 0.05
            covered = smile.clone()  # the same with a thing before its mouth that is as light as the skin
            column, row = here[LOWER_LIP, :2].astype(int)
            skin = smile[..., row - 60 : row - 50, column - 5 : column + 5].mean((2, 3), keepdim=True)
            stripes = 1 + 0.12 * torch.sin(torch.arange(70) / 3)
            covered[..., row - 25 : row + 25, column - 35 : column + 35] = skin * stripes
            unseen = visibility.unseen_regions(visibility(covered.clamp(0, 1), here[None], inside)[1])
            assert float(unseen["mouth"][0]) > 0.9

    def test_a_frame_of_another_shot_is_not_compared_again(self, seen, monkeypatch):
        picture, points, everywhere, visibility = seen
        warmer = (picture * torch.tensor([1.15, 1.0, 0.85]).view(1, 3, 1, 1)).clamp(0, 1)
        first = visibility(warmer, points[None], everywhere)
        monkeypatch.setattr(visibility, "_compare", lambda *_: pytest.fail("compared again"))
        for before, now in zip(first, visibility(warmer, points[None], everywhere), strict=True):
            assert torch.equal(before, now)
        with pytest.raises(pytest.fail.Exception):
            visibility(warmer, points[None] + 1, everywhere)

    def test_of_a_long_clip_as_much_is_kept_as_of_a_short_one_and_beside_the_heap(self, seen, monkeypatch):
        picture, points, everywhere, _ = seen
        visibility = Visibility(picture, points, everywhere)
        monkeypatch.setattr("magplus.models.face.visibility._MOST_BYTES", 4 * 128 * 128 * (3 * 4 + 1))
        for frame in range(6):
            visibility((picture * (0.6 + 0.05 * frame)).clamp(0, 1), points[None], everywhere)
        kept = list(visibility._known.values())
        assert len(kept) == 4
        assert all(isinstance(array, KeptArray) for each in kept for array in (each.seen, each.gain))

    @pytest.mark.parametrize(
        "colour",
        [(0.45, 0.6, 0.75), (0.9, 0.92, 0.93), (0.05, 0.05, 0.06), (0.62, 0.1, 0.12), (0.42, 0.27, 0.18), "hand"],
    )
    def test_a_mouth_that_is_covered_in_the_reference_too_is_not_seen(self, seen, colour):
        """By masks, by cloth that is redder or as red as lips, and by a hand."""
        picture, points, everywhere, _ = seen
        masked = picture.clone()
        top = int(points[NOSE_BASE, 1])
        if colour == "hand":  # another part of the skin, of another brightness
            cheek = points[50, :2].astype(int)
            colour = 0.9 * picture[0, :, cheek[1], cheek[0]]
        folds = 1 + 0.05 * torch.sin(torch.arange(256 - top) / 5).view(1, 1, -1, 1)
        masked[..., top:, :] = torch.as_tensor(colour).view(1, 3, 1, 1) * folds
        visibility = Visibility(masked, points, everywhere)
        _, weight = visibility(masked, points[None], everywhere)
        unseen = {name: float(share[0]) for name, share in visibility.unseen_regions(weight).items()}
        assert unseen["mouth"] > 0.8 and unseen["brows"] < 0.2

    def test_noise_in_a_dark_frame_is_no_edge_of_light(self, seen):
        """It is amplified with the frame; a gain that followed it would move dark brows."""
        picture, points, everywhere, visibility = seen
        noise = torch.randn(picture.shape, generator=torch.Generator().manual_seed(0))
        dark = ((0.39 * picture + 2 / 255 * noise).clamp(0, 1) * 255).round() / 255
        frames, _ = visibility(dark, points[None], everywhere)
        on_face = (face_mask(points, (256, 256)) > 0.5)[0, 0]
        gain = (frames / dark.clamp(min=1 / 255))[0, :, on_face & (dark[0] > 0.1).all(0)]
        assert float((gain.amax(1) / gain.amin(1)).max()) < 1.007

    @pytest.mark.parametrize("side", ["left", "right"])
    def test_of_a_face_that_the_pictures_edge_cuts_in_half_the_other_half_is_seen(self, seen, side):
        """Of mouth and cheeks more than 40 % are hidden, and of their sides one entirely."""
        picture, points, everywhere, visibility = seen
        middle = round(float(points[NOSE_BASE, 0]))
        inside, half = everywhere.clone(), np.s_[..., :middle] if side == "left" else np.s_[..., middle:]
        inside[half] = 0
        _, weight = visibility(picture, points[None], inside)
        lips = weight[0, 0, points[list(LIPS), 1].round().astype(int), points[list(LIPS), 0].round().astype(int)]
        beside = points[list(LIPS), 0] - middle > 8 if side == "left" else middle - points[list(LIPS), 0] > 8
        assert bool((lips[torch.from_numpy(beside)] > 0.9).all()) and beside.sum() >= 6
        assert float(weight[half].max()) < 0.5

    def test_lips_are_seen_on_bare_faces(self, clips):
        for clip in clips:
            for image, points in clip[::10]:
                face = face_mask(points, image.shape[:2])[0, 0].numpy() > 0.5
                assert not mouth_cover(image, points, face).any()
                assert not mouth_cover(np.repeat(image.mean(2, keepdims=True), 3, 2), points, face).any(), "in grey"

    @pytest.mark.parametrize(("degrees", "shown"), [(0, True), (2, True), (9, False), (-9, False)])
    def test_a_jaw_alone_is_not_seen_on_a_head_that_turns(self, seen, degrees, shown):
        """Brows and nose are hidden, and what is left moves aside with a head that turns as with a jaw that does."""
        picture, points, everywhere, visibility = seen
        hidden = picture.clone()
        brow = int(points[:, 1].min() + 0.15 * np.ptp(points[:, 1]))
        hidden[..., brow : int(points[NOSE_BASE, 1]), :] = torch.tensor([0.1, 0.5, 0.2]).view(3, 1, 1)
        angle = math.radians(degrees)
        turn = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
        turned = (points - points.mean(0)) @ turn.T + points.mean(0)
        _, weight = visibility(hidden, turned[None], everywhere)
        unseen = {name: float(share[0]) for name, share in visibility.unseen_regions(weight).items()}
        assert unseen["brows"] > 0.9 and unseen["nose"] > 0.7
        assert unseen["chin"] < 0.2 if shown else unseen["chin"] > 0.99

    def test_a_caption_hides_the_mouth_and_nothing_else(self, seen):
        picture, points, everywhere, visibility = seen
        written = picture[0].permute(1, 2, 0).numpy().copy()
        x, y = (int(value) for value in points[13, :2])
        for ink, thickness in ((0.0, 6), (1.0, 3)):
            place = (x - 70, y + 10)
            cv2.putText(written, "He said no", place, cv2.FONT_HERSHEY_SIMPLEX, 0.9, (ink,) * 3, thickness)
        frame = torch.from_numpy(written).permute(2, 0, 1)[None]
        frames, trust = visibility(frame, points[None], everywhere)
        unseen = {name: float(share[0]) for name, share in visibility.unseen_regions(trust).items()}
        assert unseen["mouth"] > 0.8
        assert unseen["brows"] < 0.2 and unseen["lids"] < 0.2
        hidden = (trust < 0.01).expand_as(frames)
        assert torch.allclose(frames[hidden], picture.expand_as(frames)[hidden], atol=1e-6)

    @pytest.mark.parametrize("grown", [1, 9])
    def test_dark_glasses_hide_the_eyes_and_are_no_veil_of_light(self, seen, grown):
        """Drawn as far as the lids' skin goes, and farther; a lid that closes hides what is between the lids."""
        picture, points, everywhere, visibility = seen
        worn = picture[0].permute(1, 2, 0).numpy().copy()
        glasses = np.zeros(worn.shape[:2], np.uint8)
        for eye in (RIGHT_LIDS, LEFT_LIDS):
            cv2.fillConvexPoly(glasses, cv2.convexHull(points[list(eye), :2].astype(np.int32)), 1)
        worn[cv2.dilate(glasses, np.ones((grown, grown), np.uint8)) > 0] = 0.04
        frames, trust = visibility(torch.from_numpy(worn).permute(2, 0, 1)[None], points[None], everywhere)
        unseen = {name: float(share[0]) for name, share in visibility.unseen_regions(trust).items()}
        assert unseen["lids"] > 0.8 and unseen["mouth"] < 0.1 and unseen["chin"] < 0.1
        assert float((frames - picture).abs().quantile(0.9)) < 0.02

    def test_a_hand_of_the_skins_colour_between_the_lids_hides_the_eye_and_a_lid_that_closes_does_not(self, seen):
        crop, there, everywhere, visibility = seen
        shut = with_lids(there, 1, 0)
        lids, opening = (there[list(group), :2].round().astype(np.int32) for group in (RIGHT_LIDS, RIGHT_EYE))
        picture = crop[0].permute(1, 2, 0).numpy()
        skin = [float(value) for value in picture[tuple(lids[2][::-1])]]
        hidden = []
        for part, grey in ((cv2.convexHull(opening), 1.0), (cv2.convexHull(lids), 0.93)):
            drawn = np.ascontiguousarray(picture.copy())
            cv2.fillConvexPoly(drawn, part, [grey * value for value in skin], cv2.LINE_AA)
            _, weight = visibility(torch.from_numpy(drawn).permute(2, 0, 1)[None], shut[None], everywhere)
            hidden.append(bool(visibility.hidden_eyes(weight)[0, 0]))
        assert hidden == [False, True]

    def test_channels_that_clip_in_a_brighter_frame_are_restored_and_where_all_do_the_face_is_not_seen(self, seen):
        picture, points, everywhere, _ = seen
        face = face_mask(points, (256, 256)) > 0.5
        warm = (picture * torch.tensor([1.3, 0.8, 0.7]).view(1, 3, 1, 1)).clamp(0, 0.98)
        bright = torch.roll(1.6 * warm, 1, 2)  # by a pixel, as a face that moves
        shown, trust = Visibility(warm, points, everywhere)(bright.clamp(0, 1), points[None], everywhere)
        red = face & (bright[:, :1] > 1.1) & (bright[:, 1:] < 0.97).all(1, keepdim=True)
        assert float(red.sum()) > 0.1 * float(face.sum())
        assert float(trust[red].mean()) > 0.99
        moved = torch.roll(warm, 1, 2)[:, :1]
        error, change = ((each[red]).abs().mean() for each in (shown[:, :1] - moved, warm[:, :1] - moved))
        assert float(error) < 0.5 * float(change)
        _, trust = Visibility(warm, points, everywhere)((8 * warm).clamp(0, 1), points[None], everywhere)
        assert float(trust[face & (8 * warm > 1.1).all(1, keepdim=True)].mean()) < 0.1
        _, brighter = Visibility(0.5 * warm, points, everywhere)((0.6 * warm), points[None], everywhere)
        assert float(brighter.mean()) > 0.99

    @pytest.mark.parametrize("worn", ["in the frame", "in the reference"])
    def test_a_lamp_that_glasses_mirror_is_not_the_eyes_own_motion(self, seen, worn):
        """In one picture alone; it is smaller than what an eye changes of itself."""
        picture, points, everywhere, _ = seen
        eye = points[list(LEFT_LIDS), :2].mean(0)
        mirrored = picture[0].permute(1, 2, 0).numpy().copy()
        cv2.ellipse(mirrored, tuple(map(int, eye)), (6, 3), 20, 0, 360, (0.9, 0.95, 1.0), -1, cv2.LINE_AA)
        glint = torch.from_numpy(mirrored).permute(2, 0, 1)[None]
        reference, frame = (picture, glint) if worn == "in the frame" else (glint, picture)
        _, trust = Visibility(reference, points, everywhere)(frame, points[None], everywhere)
        x, y = eye.astype(int)
        assert float(trust[0, 0, y, x]) < 0.01
        assert float((trust < 0.5).float().mean()) < 0.01

    def test_what_lies_beyond_the_picture_is_not_seen(self, seen):
        picture, points, everywhere, visibility = seen
        inside = everywhere.clone()
        inside[..., int(points[2, 1]) :, :] = 0
        _, trust = visibility(picture, points[None], inside)
        assert float(visibility.unseen_regions(trust)["chin"][0]) > 0.95

    def test_what_moves_beside_a_hand_is_not_surely_the_faces_and_beside_a_highlight_it_is(self):
        seen = torch.ones(2, 1, 256, 256)
        seen[0, :, 150:200, 60:100] = 0
        seen[0, :, 150:200, 124:160] = 0  # a gap between fingers
        seen[1, :, 100:104, 100:106] = 0
        clear = undisturbed(seen, 160.0)
        assert float(clear[0, 0, 175, 112]) == 0 and float(clear[0, 0, 142, 80]) == 0
        assert float(clear[0, 0, 100, 80]) == 1
        assert torch.equal(clear[1], seen[1])
        assert torch.equal(undisturbed(torch.ones_like(seen), 160.0), torch.ones_like(seen))


class TestEyes:
    @given(st.floats(0, 1), st.floats(-0.15, 0.15))
    def test_both_eyes_close_alike_where_the_mesh_can_be_wrong(self, mesh, share, error):
        (right, left) = closures(with_lids(mesh, share, float(np.clip(share + error, 0, 1)))[None], mesh)[0]
        assert right == left == pytest.approx(share, abs=0.25)

    def test_a_wink_is_one_eyes(self, mesh):
        right, left = closures(with_lids(mesh, 1, 0)[None], mesh)[0]
        assert right > 0.9 and left < 0.1

    def test_a_wink_is_one_eyes_from_its_beginning_to_its_end(self, mesh):
        """On their way, the eyes differ by no more than the mesh can be wrong."""
        course = np.stack([with_lids(mesh, share, 0.1 * share) for share in (0, 0.35, 1, 0.9, 0.35, 0)])
        right, left = closures(course, mesh).T
        assert right[1] == pytest.approx(0.4, abs=0.1) and right[4] == pytest.approx(0.4, abs=0.1)
        assert (left < 0.15).all()

    def test_a_blink_after_a_wink_is_both_eyes(self, mesh):
        shares = [(0, 0), (1, 0), (0, 0), (0.9, 0.7), (0, 0)]
        right, left = closures(np.stack([with_lids(mesh, *each) for each in shares]), mesh).T
        assert left[1] < 0.1 and left[3] == right[3]

    @pytest.mark.parametrize("looking_down", [(0.6, 0.6), (1, 0), (0.6, 0.75)])
    def test_eyes_that_are_half_shut_or_narrow_in_the_reference_shut_all_the_way(self, mesh, looking_down):
        """Whoever looks down, or has narrow eyes, blinks as well."""
        reference, shut = with_lids(mesh, *looking_down), with_lids(mesh, 1, 1)
        right, left = closures(np.stack([reference, shut]), reference).T
        assert right[0] == left[0] == pytest.approx(0, abs=1e-6)
        assert right[1] == left[1] == pytest.approx(1, abs=0.15)

    def test_what_a_lid_of_a_half_shut_eye_moves_by_a_little_is_left_to_the_picture(self, mesh):
        """A quarter of such an opening is less than a pixel; of an open eye's it is a blink that has begun."""
        half, less = with_lids(mesh, 0.7, 0.7), with_lids(mesh, 0.75, 0.75)
        assert closures(np.stack([less]), half) == pytest.approx(0, abs=1e-3)
        assert (closures(np.stack([with_lids(mesh, 0.35, 0.35)]), mesh) > 0.3).all()

    def test_shut_eyes_do_not_show_how_they_shut(self, mesh):
        shut = with_lids(mesh, 0.97, 0.97)
        assert np.isnan(closures(np.stack([shut, mesh]), shut)).all()

    def test_a_blink_is_reported_with_its_times(self, mesh):
        course = np.stack([with_lids(mesh, share, share) for share in (0, 0, 0.1, 0.9, 1, 0.2, 0)])
        (blink,) = blinks(closures(course, mesh), SECONDS[:7])
        assert (blink.start, blink.end) == (SECONDS[3], SECONDS[4])

    def test_the_lids_model_shuts_the_eye(self, mesh):
        size = 400
        place = mesh.copy()
        place[:, :2] -= mesh[:, :2].min(0) - 60
        course = np.stack([place, with_lids(place, 1, 1)])
        flow, from_mesh, skin = LidModel(place, size)(closures(course, place))
        assert float(flow[0].abs().max()) < 1e-3 and float(from_mesh[0].max()) == 0
        x, y = (round(float(value)) for value in place[159, :2])
        opening = float(np.linalg.norm(place[145, :2] - place[159, :2]))
        assert float(flow[1, 1, y, x]) == pytest.approx(opening, rel=0.25)
        assert float(from_mesh[1, 0, y, x]) > 0.8 and float(skin[1].max()) > 0.5

    def test_eyes_look_together_unless_both_clearly_do_not(self, mesh):
        width = np.linalg.norm(mesh[33, :2] - mesh[133, :2])

        def looking(right, left):
            moved = mesh.copy()
            moved[468, 0] += right * width
            moved[473, 0] += left * width
            return np.stack([mesh, *[moved] * 5])

        assert not eyes_part(looking(0.2, 0.2), mesh)
        assert not eyes_part(looking(0.2, 0), mesh)
        assert eyes_part(looking(0.2, -0.2), mesh)

    @pytest.mark.parametrize("roll", [0.0, 0.4])
    def test_how_far_the_eyes_turn_is_told_along_and_across_them(self, mesh, roll):
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        looking = np.stack([mesh] * 6)
        for outer, inner, iris in ((33, 133, 468), (263, 362, 473)):
            width = np.linalg.norm(mesh[outer, :2] - mesh[inner, :2])
            looking[2:5, iris, :2] += width * np.array([0.2, -0.1])
            looking[5, iris, :2] -= 9  # a frame's jitter
        looking[..., :2] = looking[..., :2] @ turn.T
        still = looking[0]
        left, right, up, down = gaze_reach(looking, still)
        assert (left, right, up, down) == pytest.approx((0.2, 0, 0.1, 0), abs=0.03)
        assert gaze_reach(looking[:0], still).tolist() == [0, 0, 0, 0]

    def test_how_much_wider_the_eyes_open_is_told_by_more_than_one_frame(self, mesh):
        frames = np.stack([with_lids(mesh, -raised, 0.0) for raised in (0, 0.2, 0.2, 0, 0, 0.6)])
        open_ = apertures(mesh[None])[0, 0] + 0.035  # of which the mesh leaves 0.035 in shut eyes
        assert widening(frames, mesh) == pytest.approx(0.2 * open_, abs=0.01)
        assert widening(frames[:0], mesh) == widening(np.stack([with_lids(mesh, 0.5, 0.5)] * 4), mesh) == 0


class TestRest:
    @staticmethod
    def track(smile):
        """A still head with a smile of this course in the mesh's scores."""
        seconds = tuple(Fraction(index, 24) for index in range(len(smile)))
        points = np.tile(np.random.default_rng(0).normal(size=(1, 478, 3)) * 50, (len(smile), 1, 1)).astype(np.float32)
        points += np.random.default_rng(1).normal(size=points.shape).astype(np.float32) * 0.05
        names = ("_neutral", "mouthSmileLeft", "mouthSmileRight")
        scores = np.stack([np.zeros(len(smile)), smile, smile], 1).astype(np.float32)
        return FaceTrack(seconds, points, scores, names, np.ones(len(smile), bool))

    def test_a_smile_that_fades_is_no_reference(self):
        track = self.track(np.clip(0.5 - np.arange(24) / 24, 0, 1))
        assert nearer_to_rest(track, 0) is not None
        assert choose_reference(track).index >= 10
        assert choose_reference(track, 0.0).index == 0

    @pytest.mark.parametrize(("lowered", "first"), [([1, 1, 0.9, 0.6], 4), ([1] * 10, 10), ([0.3] * 8, 0)])
    def test_a_blink_is_no_reference_and_a_look_down_may_be(self, mesh, lowered, first):
        """Against shut eyes no lid can be measured."""
        track = self.track(np.zeros(24))
        lids = np.r_[lowered, np.zeros(24 - len(lowered))]
        blinking = replace(track, points=np.stack([with_lids(mesh, share, share) for share in lids]))
        assert first <= choose_reference(blinking).index < first + 3
        assert choose_reference(blinking, 0.0).index == 0
        smile = np.where(np.arange(24) < 12, 0.6, 0.0)[:, None]
        fading = replace(blinking, blendshapes=(smile * [0, 1, 1]).astype(np.float32))
        late = replace(fading, points=fading.points[::-1])
        assert choose_reference(late).index < 24 - len(lowered) or first == 0

    def test_eyes_on_their_way_from_a_blink_are_no_reference(self, mesh):
        """They are open by more than half, so that eyes at rest would seem to be wide."""
        track = self.track(np.zeros(24))
        lids = np.r_[1, 1, 0.4, 0.2, np.zeros(20)]
        assert choose_reference(replace(track, points=np.stack([with_lids(mesh, x, x) for x in lids]))).index >= 4
        blinks_all_along = np.tile([1, 0.2], 12)
        points = np.stack([with_lids(mesh, x, x) for x in blinks_all_along])
        assert choose_reference(replace(track, points=points)).index % 2 == 1

    def test_a_mouth_that_is_half_open_is_no_rest_where_it_shuts(self):
        """By a jaw's score of 0.26 lips are a third of a mouth's width apart; the same of others is nearly nothing."""
        course = np.where(np.arange(24) < 12, 0.26, 0.0)
        for name, rests in (("jawOpen", True), ("mouthShrugLower", False)):
            track = replace(self.track(0 * course), blendshape_names=("_neutral", name, "mouthSmileRight"))
            track = replace(track, blendshapes=(course[:, None] * [0, 1, 0]).astype(np.float32))
            assert (choose_reference(track).index >= 12) is rests

    def test_eyes_that_are_shut_all_the_time_leave_the_reference_where_it_was(self, mesh):
        track = self.track(np.zeros(24))
        asleep = replace(track, points=np.stack([with_lids(mesh, 1, 1)] * 24))
        assert choose_reference(asleep).index < 8

    def test_a_micro_expression_leaves_the_reference_where_it_was(self):
        track = self.track(np.r_[np.zeros(8), np.full(4, 0.1), np.zeros(12)])
        assert nearer_to_rest(track, 0) is None
        assert choose_reference(track).index < 5

    @pytest.mark.parametrize("back", [False, True])
    def test_a_full_mouth_that_smiles_leaves_the_reference_where_it_was(self, back):
        """The score of puckering falls by half in a smile, which is no way to rest."""
        smile = np.r_[np.zeros(8), np.linspace(0, 1, 8), np.ones(8), np.linspace(1, 0, 8) if back else np.ones(8)]
        track = self.track(0.02 * smile)
        pucker = 0.6 - 0.5 * smile[:, None]
        scores = np.concatenate([track.blendshapes, pucker.astype(np.float32)], 1)
        track = replace(track, blendshapes=scores, blendshape_names=(*track.blendshape_names, "mouthPucker"))
        assert choose_reference(track).index < 8
        assert nearer_to_rest(track, 0) is None
