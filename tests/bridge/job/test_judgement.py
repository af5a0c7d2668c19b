# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a result is good, by its report."""

from dataclasses import replace
from fractions import Fraction

import pytest

from magplus.backend_bridge.files.errors import ExitCode
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.judgement import quality_of
from magplus.backend_bridge.job.report import (
    REPORT,
    AvatarReport,
    FaceReport,
    MagnificationReport,
    ReferenceReport,
    RegionReport,
    Report,
    RestorationReport,
    SmoothingReport,
    Timing,
    WeightsReport,
    WindowReport,
)
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec
from magplus.backend_bridge.rig.events import MotionEvent
from magplus.backend_bridge.rig.footage import Compression, Span, Unseen, Untrusted
from magplus.backend_bridge.worker.command_line import strictly

TIMES = tuple(Fraction(index, 24) for index in range(24))
GOOD = Report(
    "finished",
    timing=Timing(TIMES, Fraction(24)),
    reference=ReferenceReport(0, 0.0, "automatic"),
    face=FaceReport((), 200.0, 256),
    avatar=AvatarReport((512, 512), True, (), WindowReport((0.0, 0.0), 1.0, 512)),
    magnification=MagnificationReport(8.0, "automatic", {}, 0.01, True),
    restoration=RestorationReport(1.0, 0.1, 1.0, 0.95),
    weights=WeightsReport(
        2, "the driver's picture", (), (), {"jawOpen": 0.2}, 0.2, {"mouth": 0.1}, SmoothingReport(0.0, 1.0), (), ()
    ),
    events=MotionEvent(0.2, 0.3, 0.5),
)


def test_a_result_without_anything_odd_is_good():
    assert quality_of(GOOD).verdict == "good"


def test_a_video_of_which_a_codec_copies_little_or_which_has_edges_alone_is_good():
    for compression in (Compression(0.34, 1.1), Compression(0.12, 2.0)):
        assert quality_of(changed("face", compression=compression)).verdict == "good"


def changed(section, **entries):
    return replace(GOOD, **{section: replace(getattr(GOOD, section), **entries)})


@pytest.mark.parametrize(
    ("report", "concern", "verdict"),
    [
        (replace(GOOD, events=None), "nothing moves", "failed"),
        (changed("events", onset=None), "no onset", "check"),
        (changed("events", offset=None), "no offset", "check"),
        (changed("timing", seconds=(Fraction(0), Fraction(5, 2))), "long clip", "check"),
        (
            changed("face", missing_seconds=(0.5,), untrusted=(Untrusted(0.5, 0.5, "a flash"),)),
            "untrusted frames",
            "check",
        ),
        (
            changed("face", missing_seconds=(0.5,) * 13, untrusted=(Untrusted(0.5, 1.0, "another or a covered face"),)),
            "untrusted frames",
            "failed",
        ),
        (changed("face", unseen=(Unseen("mouth", 0.0, 0.9, 1.0),)), "unseen regions", "check"),
        (changed("face", compression=Compression(copied=0.7)), "compression", "check"),
        (changed("face", compression=Compression(copied=0.3, block_edges=2.0)), "compression", "check"),
        (changed("face", blinks=(Span(0.5, 0.6),)), "blinks", "check"),
        (changed("face", head_turn=16.0), "head turn", "check"),
        (changed("reference", not_neutral="It smiles."), "reference not neutral", "check"),
        (changed("avatar", face_detected=False), "no face recognised", "check"),
        (changed("magnification", peak_share_of_face_width=0.06), "large motion", "check"),
        (changed("restoration", intensity_measured=0.4), "other intensity", "check"),
        (changed("weights", residual=0.6), "unexplained motion", "check"),
        (changed("weights", at_limit=("jawOpen",)), "control at its limit", "check"),
        (changed("weights", regions={"lids": RegionReport(0.004, 0.001, 1.0)}), "little shown", "check"),
    ],
)
def test_each_reason_is_reported_in_a_sentence_with_what_to_do(report, concern, verdict):
    quality = quality_of(report)
    (reason,) = quality.reasons
    assert (reason.concern, quality.verdict) == (concern, verdict)
    assert reason.sentence.endswith(".")


def test_a_region_that_is_carried_along_and_hardly_shown_is_no_reason():
    regions = {"brows": RegionReport(0.004, 0.0038, 1.1), "lids": RegionReport(0.0015, 0.0002, 1.0)}
    assert quality_of(changed("weights", regions=regions)).verdict == "good"


def test_what_little_is_shown_after_a_strong_codec_is_the_codecs():
    report = changed("weights", regions={"lids": RegionReport(0.004, 0.001, 1.0)})
    report = replace(report, face=replace(report.face, compression=Compression(0.6, 1.1)))
    assert [reason.concern for reason in quality_of(report).reasons] == ["compression"]


def test_a_face_that_moves_where_it_is_not_seen_is_not_said_to_rest():
    unseen = changed("face", unseen=(Unseen("brows", 0.1, 0.6, 0.5),))
    reasons = {reason.concern: reason for reason in quality_of(replace(unseen, events=None)).reasons}
    assert reasons["nothing moves"].verdict == "failed"
    assert "what is seen of the driver's face" in reasons["nothing moves"].sentence
    assert "no motion" not in reasons["nothing moves"].sentence


def test_anchors_that_a_person_placed_stand_in_for_a_face_that_is_not_recognised():
    assert quality_of(changed("avatar", face_detected=False, anchored=True)).verdict == "good"


def test_a_judged_report_survives_the_way_through_the_file():
    report = replace(GOOD, events=None)
    judged = replace(report, quality=quality_of(report))
    assert REPORT.decode(REPORT.encode(judged)) == judged


@pytest.mark.parametrize(("events", "status"), [(GOOD.events, ExitCode.OK), (None, ExitCode.NOT_GOOD)])
def test_a_strict_run_has_its_own_exit_status(tmp_path, capsys, events, status):
    folder = JobFolder.create(tmp_path / "job.magplus")
    folder.write_spec(JobSpec(Driving("clip.mp4"), Avatar("avatar/avatar.png")))
    report = replace(GOOD, events=events)
    folder.write_report(replace(report, quality=quality_of(report)))
    assert strictly(folder.path) is status
    assert ("Nothing moves" in capsys.readouterr().err) == (status is ExitCode.NOT_GOOD)
