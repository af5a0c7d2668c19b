# SPDX-License-Identifier: GPL-3.0-or-later
"""The neutral frame and the moments of an expression."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from magplus.models.face import FaceLandmarker, FaceTrack, choose_reference, find_event, follow_face
from magplus.models.video import VideoReader

FILM = Fraction(24000, 1001)


def times(count: int, rate: Fraction = FILM) -> tuple[Fraction, ...]:
    return tuple(index / rate for index in range(count))


def pulse(seconds: tuple[Fraction, ...], onset: float, apex: float, offset: float) -> np.ndarray:
    """Rises from onset to apex and falls to offset, each as a half cosine."""
    t = np.array([float(second) for second in seconds])
    rise = np.clip((t - onset) / (apex - onset), 0, 1)
    fall = np.clip((offset - t) / (offset - apex), 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * np.minimum(rise, fall))


class TestEvent:
    def test_asymmetric_pulse(self):
        seconds = times(48, Fraction(100))
        event = find_event(seconds, pulse(seconds, 0.1, 0.15, 0.4))
        assert event is not None
        assert event.apex == pytest.approx(0.15)
        assert 0.1 < event.onset < 0.13
        assert 0.3 < event.offset < 0.4

    @given(st.integers(2, 40), st.floats(1.0, 5.0), st.integers(0, 100))
    def test_the_apex_is_the_highest_frame_however_short(self, index, height, seed):
        curve = 0.05 * np.random.default_rng(seed).random(44)
        curve[index] = height
        event = find_event(times(44), curve)
        assert event is not None
        assert event.apex == float(times(44)[index])
        assert event.onset is None or event.onset < event.apex
        assert event.offset is None or event.apex < event.offset

    @pytest.mark.parametrize("held", [4, 10, 20])
    @pytest.mark.parametrize("error", [0.005, 0.05])
    def test_the_apex_of_an_expression_that_is_held_is_in_its_middle_whatever_the_errors(self, held, error):
        curve = np.interp(np.arange(44), [4, 8, 8 + held, 12 + held], [0, 1, 1, 0])
        noise = np.random.default_rng(held).normal(0, error, (100, 44))
        found = [find_event(times(44), np.abs(curve + each)) for each in noise]
        apart = [abs(event.apex * float(FILM) - (8 + held / 2)) for event in found if event is not None]
        assert len(apart) == 100
        assert max(apart) < 3.1
        assert np.sqrt(np.mean(np.square(apart))) < 1

    @pytest.mark.parametrize(
        "curve",
        [  # the demonstration's brows, measured by two states of the program: as shares of the face's width, times 1e4
            [0, 8.7, 44, 83.7, 124.1, 151.7, 160.7, 181.1, 186.6, 173.7, 183.4, 182.4],
            [0, 8.7, 44, 83.7, 124.1, 151.7, 160.7, 181.1, 182.4, 173.7, 183.4, 186.6],
        ],
    )
    @given(st.integers(0, 2**16))
    def test_small_changes_of_what_was_measured_move_an_apex_on_a_plateau_by_two_frames_at_most(self, curve, seed):
        seconds, changes = times(12), np.random.default_rng(seed).normal(1, 0.01, 12)
        event, changed = (find_event(seconds, 1e-4 * each * np.array(curve), 5e-3) for each in (1, changes))
        assert event is not None and changed is not None
        assert abs(event.apex - changed.apex) < 2.1 / float(FILM)

    @given(st.integers(2, 8), st.integers(2, 24), st.integers(0, 2**16))
    def test_an_expression_with_one_peak_has_its_apex_there(self, rise, fall, seed):
        seconds = times(44)
        curve = pulse(seconds, 0.2, 0.2 + rise / float(FILM), 0.2 + (rise + fall) / float(FILM))
        event = find_event(seconds, curve)
        assert event is not None
        assert event.apex == float(seconds[int(curve.argmax())])

    def test_crossings_lie_between_frames(self):
        curve = np.array([0, 0, 0, 0, 1, 0, 0, 0, 0, 0])
        event = find_event(times(10, Fraction(10)), curve)
        assert event is not None
        assert (event.onset, event.apex, event.offset) == pytest.approx((0.32, 0.4, 0.48))

    def test_variable_rate(self):
        seconds = tuple(Fraction(ms, 1000) for ms in (0, 40, 80, 200, 210, 220, 400, 440))
        event = find_event(seconds, np.array([0, 0, 0, 0, 1, 0, 0, 0]))
        assert event is not None
        assert (event.onset, event.apex, event.offset) == pytest.approx((0.202, 0.21, 0.218))

    def test_ends_outside_the_clip_are_unknown(self):
        seconds = times(20)
        still_going = find_event(seconds, pulse(seconds, 0.2, 0.5, 5.0))
        assert still_going is not None
        assert still_going.onset is not None
        assert still_going.offset is None
        begun_before = find_event(seconds, pulse(seconds, -1.0, 0.1, 0.4))
        assert begun_before is not None
        assert begun_before.onset is None

    @pytest.mark.parametrize("curve", [np.zeros(20), np.full(20, 0.3), np.zeros(1)])
    def test_no_motion_is_no_event(self, curve):
        assert find_event(times(len(curve)), curve) is None

    @pytest.mark.parametrize("count", [8, 12, 28])
    @pytest.mark.parametrize("level", [0, 5])
    def test_noise_alone_is_an_event_in_one_clip_of_a_hundred(self, count, level):
        clips = np.abs(np.random.default_rng(count).normal(level, 1, (400, count)))
        assert (
            sum(find_event(times(count), clip) is not None for clip in clips) <= 12
        )  # 4 to be expected; shorter: more

    def test_nor_is_it_an_event_more_often_where_many_curves_are_looked_at(self):
        clips = np.abs(np.random.default_rng(0).normal(0, 1, (40, 20, 28)))
        found = [any(find_event(times(28), curve, curves=20) is not None for curve in clip) for clip in clips]
        assert sum(found) <= 2

    def test_what_is_weak_and_lasts_stands_out_from_noise_in_the_mean_of_a_few_frames(self):
        seconds = times(60)
        weak = 2.5 * pulse(seconds, 0.8, 1.2, 1.6)
        found = [find_event(seconds, 5 + weak + np.random.default_rng(seed).normal(0, 0.4, 60)) for seed in range(20)]
        assert sum(event is not None and abs(event.apex - 1.2) < 0.15 for event in found) >= 18

    @pytest.mark.parametrize("count", [3, 4, 5, 6])
    def test_in_very_few_frames_only_what_noise_never_has_is_an_event(self, count):
        curve = np.r_[np.zeros(count - 2), 1, 0.5]
        assert find_event(times(count), curve, certain=2) is None
        assert find_event(times(count), curve, certain=0.5) is not None

    @pytest.mark.parametrize(
        "curve", [[0, 0.25, 0.75, 1, 0.75, 0.25, 0], [0, 0.2, 0.8, 1, 0.8, 0.2, 0], [0, 1, 0.1, 0]]
    )
    def test_an_expression_of_a_few_frames_is_no_noise_where_it_is_larger_than_noise(self, curve):
        event = find_event(times(len(curve)), 7e-3 * np.array(curve), certain=5e-3)
        assert event is not None
        assert event.apex == float(times(len(curve))[int(np.argmax(curve))])

    def test_a_large_motion_that_a_short_clip_shows_the_end_of_is_an_event(self):
        """A mouth that shuts within 4 frames, and a jaw that moves on: 9 frames tell nothing of the noise."""
        curve = 1e-4 * np.array([264, 175, 131, 76, 28, 28, 55, 69, 75])
        event = find_event(times(9), curve, certain=5e-3, curves=2)
        assert event is not None and event.apex == 0
        assert find_event(times(9), curve / 10, certain=5e-3, curves=2) is None

    def test_large_noise_is_hardly_more_often_an_event_than_small_noise(self):
        curves = [np.abs(np.random.default_rng(seed).normal(0, 4e-3, 12)) for seed in range(100)]
        small, large = (sum(find_event(times(12), curve, least) is not None for curve in curves) for least in (1, 5e-3))
        assert large <= small + 3


class TestReference:
    def track(self, amount: np.ndarray, present: np.ndarray | None = None) -> FaceTrack:
        """A face whose mouth moves by `amount` px in each frame, with the detector's jitter."""
        rng = np.random.default_rng(0)
        mesh = np.zeros((478, 3), np.float32)
        mesh[:, :2] = rng.uniform(100, 300, (478, 2))
        mesh[33, :2], mesh[263, :2] = (150, 150), (250, 150)
        points = np.repeat(mesh[None], len(amount), 0) + rng.normal(0, 0.02, (len(amount), 478, 3)).astype(np.float32)
        points[:, 300:, 1] += amount[:, None]
        shown = np.ones(len(amount), bool) if present is None else present
        return FaceTrack(times(len(amount)), points, np.zeros((len(amount), 52), np.float32), ("",) * 52, shown)

    def test_before_the_expression(self):
        amount = 4 * pulse(times(36), 0.5, 0.8, 1.2)
        assert choose_reference(self.track(amount)).index < 11

    def test_not_in_the_movement_that_the_clip_begins_with(self):
        amount = np.concatenate([np.linspace(5, 0, 7), np.zeros(29)])
        chosen = choose_reference(self.track(amount))
        assert 6 < chosen.index < 12
        assert chosen.chosen == "automatic"

    def test_a_held_apex_later_is_not_neutral(self):
        amount = np.concatenate([0.2 * np.arange(10) % 0.4, np.linspace(0, 5, 5), np.full(21, 5.0)])
        assert choose_reference(self.track(amount)).index < 12

    def test_frames_without_the_face_are_no_candidates(self):
        present = np.ones(20, bool)
        present[:3] = False
        assert choose_reference(self.track(np.zeros(20), present)).index == 4

    def test_given_seconds_take_the_nearest_frame_that_shows_the_face(self):
        present = np.ones(20, bool)
        present[10] = False
        track = self.track(np.zeros(20), present)
        given_ = choose_reference(track, 7.4 / float(FILM))
        assert (given_.index, given_.seconds, given_.chosen) == (7, 7 / FILM, "given")
        assert choose_reference(track, 10.2 / float(FILM)).index == 11
        assert choose_reference(track, 99).index == 19

    @pytest.mark.parametrize("count", [1, 2, 3])
    def test_very_short_clips(self, count):
        assert 0 <= choose_reference(self.track(np.zeros(count))).index < count

    def test_real_clip(self, real_clip):
        with FaceLandmarker() as landmarker:
            track = follow_face(VideoReader(real_clip, trim=(6.6, 7.4)), landmarker)
        assert choose_reference(track).index < len(track) / 3


@pytest.mark.parametrize("frames", [2, 171, 172, 1100, 5000])
def test_a_clip_of_any_length_has_its_event(frames: int) -> None:
    """Counts of its frames' orders are beyond any float in a clip of some seconds."""
    seconds = np.arange(frames) / 24
    apex = frames // 2
    motion = np.maximum(1 - np.abs(np.arange(frames) - apex) / 8, 0) if frames > 2 else np.zeros(frames)
    event = find_event(seconds, motion)
    assert event is None if frames == 2 else event is not None and event.apex == seconds[apex]
