# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole pipeline: one real person's brows, raised by a known amount, on another real person's picture."""

import dataclasses
import shutil
import threading
from fractions import Fraction

import cv2
import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from magplus.backend_bridge.files.errors import CancelledError, InputError
from magplus.backend_bridge.files.hashing import hash_file
from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Magnification, Outputs, Rig
from magplus.backend_bridge.job.stages import Stage
from magplus.backend_bridge.rig.basis import Control, RigBasis
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.models.backends import Animated, FlowTransfer, registry
from magplus.models.face import FaceLandmarker
from magplus.models.magnification.magnifier import WEIGHTS
from magplus.models.pipeline import clip_cache, frame_maker, probes
from magplus.models.pipeline.driver import Driver
from magplus.models.pipeline.outputs.comparison import CAPTION, SIDE
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.video import Mp4Writer, VideoReader
from magplus.models.warp import move

SIZE = (640, 360)
# How far the brows are raised in each frame, in units of the control that raises them.
RAISED = (0, 0, 0.05, 0.12, 0.15, 0.1, 0.05, 0.02)
APEX = 4

pytestmark = pytest.mark.slow


class Quiet:
    """Events that only remember; cancels when `limit` frames are animated."""

    def __init__(self, limit=None):
        self.limit, self.warnings, self.stages, self.animated = limit, [], [], 0
        self.steps = []  # of the frames, how many are animated each time that it is said

    def progress(self, stage, done, total):
        self.stages.append(stage)
        if stage == "animate":
            self.animated = done
            self.steps.append(done)

    def warning(self, text):
        self.warnings.append(text)

    def check_cancelled(self):
        if self.limit is not None and self.animated >= self.limit:
            raise CancelledError("Stopped on request.")


@pytest.fixture(scope="module")
def session():
    return Session()


@pytest.fixture(scope="module")
def avatar(other_person):
    """Another person's still at the result's size, opaque in the middle, transparent at the left edge."""
    image = next(iter(VideoReader(other_person))).image
    pixels = cv2.cvtColor((image * 255 + 0.5).astype(np.uint8), cv2.COLOR_RGB2BGRA)
    pixels = cv2.resize(pixels, SIZE, interpolation=cv2.INTER_AREA)
    pixels[:, :40, 3] = 0
    return pixels


@pytest.fixture(scope="module")
def landmarks(avatar):
    rgb = cv2.cvtColor(avatar[..., :3], cv2.COLOR_BGR2RGB).astype(np.float32) / 255
    return detected(rgb)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, real_clip):
    """The first frame of the real clip, its brows raised by a known motion, with a camera's noise, as H.264."""
    image = next(iter(VideoReader(real_clip))).image
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    raise_brows = effects(detected(image), np.stack([x, y], -1).reshape(-1, 2))["browsUp"]
    flow = torch.from_numpy(raise_brows.reshape(*image.shape[:2], 2).transpose(2, 0, 1)).float()[None]
    still = torch.from_numpy(image.transpose(2, 0, 1))[None]
    noise = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("clip") / "brows.mp4"
    with Mp4Writer(path, Fraction(24000, 1001), SIZE) as writer:
        for share in RAISED:
            frame = move(still, share * flow)[0].permute(1, 2, 0).numpy()
            writer.write(frame + noise.normal(0, 1.5 / 255, frame.shape))
    return path


def detected(rgb):
    with FaceLandmarker() as landmarker:
        (face,) = landmarker.detect(rgb)
    return face.points


def effects(points, at):
    """What four controls of a face with these landmarks do at places `at` [P, 2], in px per unit: {name: [P, 2]}."""
    width = np.ptp(points[:468, 0])

    def push(vertices, x, y, reach=0.12):
        centre = points[vertices, :2].mean(0)
        falloff = np.exp(-((at - centre) ** 2).sum(1) / (2 * (reach * width) ** 2))
        return falloff[:, None] * np.array([x, y]) * 0.05 * width

    right_brow, left_brow, mouth, chin = [70, 63, 105, 66, 107], [300, 293, 334, 296, 336], [61, 291], [152, 175]
    return {
        "browsUp": push(right_brow, 0, -1) + push(left_brow, 0, -1),
        "mouthLeft": push(mouth, 1, 0),
        "jawOpen": push(chin, 0, 1, 0.2),
        "nothing": np.zeros(at.shape),
    }


def measured_rig(points):
    """A rig of four controls on the face mesh's own vertices."""
    controls = effects(points, points[:468, :2])
    return RigBasis(
        image_size=SIZE,
        controls=tuple(Control(name, "shape_key", "Head", f'key_blocks["{name}"].value', 0, 0, 1) for name in controls),
        positions=points[:468, :2].astype(np.float32),
        depth=points[:468, 2].astype(np.float32),
        visible=np.ones(468, bool),
        displacement=np.stack(list(controls.values())).astype(np.float32),
        triangles=Delaunay(points[:468, :2]).simplices.astype(np.int32),
    )


def make_job(path, clip, picture, landmarks, **changes):
    folder = JobFolder.create(path)
    folder.write("avatar/avatar.png", cv2.imencode(".png", picture)[1].tobytes())
    measured_rig(landmarks).save(folder.avatar_dir / "rig_basis.npz")
    spec = JobSpec(
        driving=Driving(str(clip)),
        avatar=Avatar("avatar/avatar.png", rig_basis="avatar/rig_basis.npz"),
        outputs=Outputs(frames=True, weights=True),
    )
    folder.write_spec(dataclasses.replace(spec, **changes))
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory, clip, avatar, landmarks, session):
    folder = make_job(tmp_path_factory.mktemp("job") / "brows.magplus", clip, avatar, landmarks)
    report = run_job(folder, session, Quiet())
    return folder, report


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_there_is_a_frame_of_the_avatars_size_for_every_frame_of_the_clip(finished):
    folder, report = finished
    names = sorted(path.name for path in (folder.path / "frames").iterdir())
    assert names == [f"{number:06d}.png" for number in range(1, 9)]
    assert report.frames.count == 8
    assert read(folder.path / "frames" / names[0]).shape == (SIZE[1], SIZE[0], 4)
    assert report.timing.rate == Fraction(24000, 1001)
    assert report.timing.seconds[:3] == (0, Fraction(1001, 24000), Fraction(1001, 12000))


def test_the_reference_frame_gives_back_the_avatar_and_the_others_do_not(finished, avatar):
    folder, report = finished
    reference = report.reference.index + 1
    seen = avatar[..., 3] > 0
    change = [
        np.abs(read(folder.path / "frames" / f"{number:06d}.png")[seen].astype(int) - avatar[seen]).max()
        for number in range(1, 9)
    ]
    assert change[reference - 1] <= 1
    assert max(change) > 20


def test_background_and_transparency_stay_the_avatars_own(finished, avatar):
    folder, _ = finished
    last = read(folder.path / "frames" / "000008.png")
    assert (last[..., 3] == avatar[..., 3]).all()
    assert (last[:40, 40:] == avatar[:40, 40:]).all()


def test_the_right_control_comes_back_at_the_right_time_and_size(finished):
    folder, report = finished
    curves = ControlCurves.load(folder.weights_npz)
    peaks = dict(zip(curves.names, np.abs(curves.values).max(0), strict=True))
    assert max(peaks, key=peaks.get) == "browsUp"
    assert peaks["browsUp"] == pytest.approx(RAISED[APEX], rel=0.3)
    assert peaks["browsUp"] > 4 * max(value for name, value in peaks.items() if name != "browsUp")
    assert curves.values[:, 0].argmax() == APEX
    assert np.corrcoef(curves.values[:, 0], RAISED)[0, 1] > 0.97
    assert report.events.apex == pytest.approx(APEX * 1001 / 24000)
    assert report.weights.unseen == ("nothing",)
    columns = (folder.path / artefacts.WEIGHTS_CSV).read_text().splitlines()[0].split(",")
    assert columns[:3] == ["seconds", "residual", "residual brows"]
    assert columns[-4:] == ["browsUp", "mouthLeft", "jawOpen", "nothing"]


def test_the_result_moves_as_much_as_the_driver(finished):
    _, report = finished
    assert report.magnification.chosen == "automatic"
    assert 1 <= report.magnification.alpha <= 16
    assert report.restoration.intensity_measured == pytest.approx(1, abs=0.2)


def test_magnification_cancels_out_for_the_built_in_backend(finished, tmp_path, clip, avatar, landmarks, session):
    """What is magnified by 4 and restored by 1/4 is the micro-expression itself."""
    folder = make_job(tmp_path / "four.magplus", clip, avatar, landmarks, magnification=Magnification(alpha=4.0))
    report = run_job(folder, session, Quiet())
    assert report.magnification.alpha == 4
    assert report.restoration.factor == pytest.approx(0.25)
    one, other = (ControlCurves.load(each.weights_npz).values for each in (finished[0], folder))
    assert np.abs(one - other).max() < 0.02


class FramesOnly(FlowTransfer):
    """A backend that only shows what it did, as published ones do: the motion has to be found in its frames."""

    def animate(self, state, driving):
        return Animated(super().animate(state, driving).frames)


def test_the_rig_is_read_off_generated_frames_where_a_backend_only_shows_its_motion(
    tmp_path, clip, avatar, landmarks, monkeypatch
):
    monkeypatch.setitem(registry, "flow_transfer", FramesOnly)
    folder = make_job(tmp_path / "shown.magplus", clip, avatar, landmarks, outputs=Outputs(frames=False, weights=True))
    run_job(folder, Session(), Quiet())
    curves = ControlCurves.load(folder.weights_npz)
    assert curves.values[APEX, 0] == pytest.approx(RAISED[APEX], rel=0.3)
    assert curves.values[APEX, 0] > 4 * curves.values[APEX, 1:].max()


def test_a_backend_that_takes_clips_is_shown_the_frames_in_their_order(
    tmp_path, clip, avatar, landmarks, session, monkeypatch
):
    class ByThrees(FlowTransfer):
        info = dataclasses.replace(FlowTransfer.info, clip_length=3)

    seen, observe = [], Driver.observe
    monkeypatch.setattr(Driver, "observe", lambda self, some: (seen.append(len(some.frames)), observe(self, some))[1])
    monkeypatch.setitem(registry, "flow_transfer", ByThrees)
    driving = Driving(str(clip), reference=0.0)
    folder = make_job(tmp_path / "threes.magplus", clip, avatar, landmarks, driving=driving)
    run_job(folder, Session(), Quiet())
    assert seen[-3:] == [3, 3, 2]
    values = ControlCurves.load(folder.weights_npz).values
    assert values[APEX, 0] == pytest.approx(RAISED[APEX], rel=0.3)


def test_a_locked_control_keeps_still_and_the_driver_alone_is_read_when_no_frames_are_wanted(
    tmp_path, clip, avatar, landmarks, session
):
    weights = Outputs(frames=False, weights=True)
    rig = Rig(locked=("browsUp",))
    folder = make_job(tmp_path / "locked.magplus", clip, avatar, landmarks, rig=rig, outputs=weights)
    report = run_job(folder, session, Quiet())
    values = ControlCurves.load(folder.weights_npz).values
    assert (values[:, 0] == 0).all()
    assert report.frames is None and not (folder.path / "frames").exists()
    rig = Rig(locked=("hat",))
    folder = make_job(tmp_path / "absent.magplus", clip, avatar, landmarks, rig=rig, outputs=weights)
    with pytest.raises(InputError, match="no control 'hat' in the captured rig"):
        run_job(folder, session, Quiet())


def test_a_strong_expression_is_not_cut_off_at_the_controls_range(tmp_path, clip, avatar, landmarks, session):
    weights = Outputs(frames=False, weights=True)
    folder = make_job(tmp_path / "strong.magplus", clip, avatar, landmarks, intensity=20.0, outputs=weights)
    run_job(folder, session, Quiet())
    basis = RigBasis.load(folder.path / folder.read_spec().avatar.rig_basis)
    values = ControlCurves.load(folder.weights_npz).values
    assert values[APEX, 0] == pytest.approx(20 * RAISED[APEX], rel=0.3)
    assert values[APEX, 0] > basis.controls[0].high


def test_controls_can_be_asked_for_once_the_frames_are_there(tmp_path, clip, avatar, landmarks, session):
    short = Driving(str(clip), trim=(0.0, 0.2))
    folder = make_job(tmp_path / "later.magplus", clip, avatar, landmarks, driving=short, outputs=Outputs(frames=True))
    assert run_job(folder, session, Quiet()).weights is None
    folder.write_spec(dataclasses.replace(folder.read_spec(), outputs=Outputs(frames=True, weights=True)))
    run_job(folder, session, Quiet())
    assert ControlCurves.load(folder.weights_npz).values[APEX, 0] == pytest.approx(RAISED[APEX], rel=0.3)
    assert (folder.path / artefacts.CURVES).is_file()


def test_a_cancelled_run_resumes_after_its_finished_frames(finished, tmp_path, clip, avatar, landmarks, session):
    folder = make_job(tmp_path / "cancelled.magplus", clip, avatar, landmarks)
    with pytest.raises(CancelledError):
        run_job(folder, session, Quiet(limit=4))
    made = sorted((folder.path / "frames").glob("*.png"))
    assert made
    kept = made[:4]
    for path in made[4:]:  # the clip is one group of frames, of which a crash may leave a part
        path.unlink()
    before = [path.stat().st_mtime_ns for path in kept]
    (folder.path / "frames" / "000002.png").write_bytes(b"damaged by a crash")

    events = Quiet()
    report = run_job(folder, session, events)

    assert report.frames.resumed == 3
    assert events.steps == [0, 8], "also of a clip that is one group of frames it is said before they are made"
    after = [path.stat().st_mtime_ns for path in kept]
    assert [new == old for new, old in zip(after, before, strict=True)] == [True, False, True, True]
    for number in range(1, 9):
        name = f"{number:06d}.png"
        resumed, whole = ((each.path / "frames" / name).read_bytes() for each in (folder, finished[0]))
        assert resumed == whole, "to the last bit"
    assert (folder.path / artefacts.SET_ASIDE / "frames_000002.png").read_bytes() == b"damaged by a crash"
    assert "was not what MagPlus had written" in report.warnings[-1]


def test_a_resumed_run_computes_the_same_frames_together(tmp_path, clip, avatar, landmarks, session, monkeypatch):
    """Probe frames are made from what was measured of them, in groups of their own, the others without them."""
    monkeypatch.setattr(probes, "PROBES", 3)
    whole, resumed = (make_job(tmp_path / f"{name}.magplus", clip, avatar, landmarks) for name in ("whole", "resumed"))
    run_job(whole, session, Quiet())
    with pytest.raises(CancelledError):
        run_job(resumed, session, Quiet(limit=5))
    resumed.file_of(artefacts.EQUATIONS, APEX).unlink()
    run_job(resumed, session, Quiet())
    for kind in (artefacts.FRAMES, artefacts.EQUATIONS, artefacts.OBSERVED):
        one, other = ([each.file_of(kind, index).read_bytes() for index in range(8)] for each in (whole, resumed))
        assert one == other, "to the last bit"


def test_every_frame_is_measured_once_and_of_a_resumed_run_those_that_lack(
    tmp_path, clip, avatar, landmarks, session, monkeypatch
):
    monkeypatch.setattr(probes, "PROBES", 3)
    monkeypatch.setattr(probes, "frames_at_a_time", lambda device: 2)
    monkeypatch.setattr(frame_maker, "frames_at_a_time", lambda device: 2)
    seen, observe = [], Driver.observe
    monkeypatch.setattr(Driver, "observe", lambda self, some: (seen.append(len(some.frames)), observe(self, some))[1])
    driving = Driving(str(clip), reference=0.0)
    folder = make_job(tmp_path / "some.magplus", clip, avatar, landmarks, driving=driving)
    run_job(folder, session, Quiet())
    assert seen == [2, 1, 2, 2, 1]
    folder.file_of(artefacts.EQUATIONS, APEX).unlink()
    seen.clear()
    run_job(folder, session, Quiet())
    assert len(seen) == 1


def test_a_run_that_ends_early_leaves_no_thread_at_work(tmp_path, clip, avatar, landmarks, session):
    class Stopped(Quiet):
        def check_cancelled(self):
            if Stage.MEASURE in self.stages:
                raise CancelledError("Stopped on request.")

    folder = make_job(tmp_path / "early.magplus", clip, avatar, landmarks)
    with pytest.raises(CancelledError):
        run_job(folder, session, Stopped())
    assert not [each for each in threading.enumerate() if each.name == "magplus-ahead"]


def test_a_job_that_was_moved_keeps_its_frames_whatever_device_goes_on_with_it(finished, tmp_path, clip, session):
    folder = JobFolder.open(shutil.copytree(finished[0].path, tmp_path / "farm" / "moved.magplus"))
    spec = folder.read_spec()
    video = shutil.copy(clip, tmp_path / "the same video.mp4")
    picture = shutil.copy(folder.path / spec.avatar.image, folder.avatar_dir / "renamed.png")
    moved = dataclasses.replace(
        spec,
        driving=dataclasses.replace(spec.driving, path=str(video)),
        avatar=dataclasses.replace(spec.avatar, image=f"avatar/{picture.name}"),
        device="cpu",
        allow_cpu=True,
        created_by={"blender": "another"},
    )
    folder.write_spec(moved)
    report = run_job(folder, session, Quiet())
    assert report.frames.resumed == report.frames.count == 8


def test_a_finished_job_is_looked_over_and_not_computed_again(finished, tmp_path, monkeypatch):
    folder = JobFolder.open(shutil.copytree(finished[0].path, tmp_path / "again.magplus"))
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*") if path.suffix in (".png", ".npz")}
    monkeypatch.setattr(clip_cache, "open_clip", None)  # nothing is looked for in the clip
    quiet = Quiet()
    report = run_job(folder, Session(), quiet)
    assert report.frames.resumed == report.frames.count == 8
    again = dataclasses.replace(report, frames=dataclasses.replace(report.frames, resumed=0))
    assert again == finished[1] and list(report.warnings) == quiet.warnings
    assert folder.read_report() == report
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(
    "part", [artefacts.WEIGHTS, artefacts.DRIVER_APEX, artefacts.KEYED_APEX, artefacts.EQUATIONS.unit(3)]
)
def test_a_finished_job_of_which_something_is_gone_is_run(finished, tmp_path, session, part):
    folder = JobFolder.open(shutil.copytree(finished[0].path, tmp_path / "again.magplus"))
    whole = (folder.path / part).read_bytes()
    (folder.path / part).unlink()
    run_job(folder, session, Quiet())
    assert (folder.path / part).read_bytes() == whole


@pytest.mark.parametrize(
    ("role", "resumed"),
    [("magplus", 0), pytest.param("demagplus", 8, id="demagplus, which flow transfer has no use for")],
)
def test_another_network_makes_its_frames_again_and_the_report_names_both(finished, tmp_path, session, role, resumed):
    assert finished[1].magnification.weights == {
        name: hash_file(WEIGHTS / f"{name}.safetensors") for name in ("magplus", "demagplus")
    }
    other = Session()
    for name in ("magplus", "demagplus"):
        other.magnifier(name, torch.device("cpu"))
    other.magnifier(role, torch.device("cpu")).weights_sha256 = "another network's"
    folder = JobFolder.open(shutil.copytree(finished[0].path, tmp_path / "renewed.magplus"))
    report = run_job(folder, other, Quiet())
    other.landmarker().close()
    assert report.frames.resumed == resumed and report.magnification.weights[role] == "another network's"


def test_a_comparison_shows_driver_magnified_driver_result_and_stronger_result(
    tmp_path, clip, avatar, landmarks, session
):
    outputs = Outputs(frames=True, compare=True)
    folder = make_job(tmp_path / "compared.magplus", clip, avatar, landmarks, outputs=outputs)
    report = run_job(folder, session, Quiet())
    count = report.frames.count
    strips = [cv2.imread(str(folder.file_of(artefacts.COMPARE, index))).astype(float) for index in range(count)]
    assert {strip.shape for strip in strips} == {(SIDE + CAPTION, 4 * SIDE, 3)}
    faces = [strip[:SIDE].reshape(SIDE, 4, SIDE, 3) for strip in strips]
    change = np.max([np.abs(face - faces[0]).mean((0, 2, 3)) for face in faces], 0)
    assert change[1] > change[0], "the driver moves more when magnified"
    assert change[3] > change[2] > 0, "and so does the result at four times the strength"
    window = folder.read_report().avatar.window
    step = window.scale * window.crop_size / SIDE
    across, down = step * np.cos(window.angle), step * np.sin(window.angle)
    places = np.array([[across, -down, window.origin[0]], [down, across, window.origin[1]]])
    frame = cv2.imread(str(folder.file_of(artefacts.FRAMES, 0)))
    there = cv2.warpAffine(frame, places, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    middle = slice(SIDE // 4, -SIDE // 4)
    away = np.abs(faces[0][:, 2] - there)[middle, middle].mean()
    assert away < 5, "the result is seen where the face is in the finished frame"

    window = report.avatar.window
    step = window.scale * window.crop_size / SIDE
    cos, sin = step * np.cos(window.angle), step * np.sin(window.angle)
    place = np.array([[cos, -sin, window.origin[0]], [sin, cos, window.origin[1]]])
    frame = cv2.imread(str(folder.file_of(artefacts.FRAMES, 0))).astype(float)
    face = cv2.warpAffine(frame, place, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    difference = np.abs(face - faces[0][:, 2])[SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4].mean()
    assert difference < 8.0, "the result is the face of the finished frame"


def test_what_an_earlier_longer_run_left_is_gone_of_every_kind(tmp_path, clip, avatar, landmarks, session):
    everything = Outputs(frames=True, weights=True, magnified=True, compare=True)
    folder = make_job(tmp_path / "shorter.magplus", clip, avatar, landmarks, outputs=everything)
    run_job(folder, session, Quiet())
    (folder.path / "frames" / "notes.txt").write_text("the user's own")
    short = Driving(str(clip), trim=(0.0, 0.2))
    folder.write_spec(dataclasses.replace(folder.read_spec(), driving=short))
    count = run_job(folder, session, Quiet()).frames.count
    for kind in set(artefacts.FRAME_KINDS) - {artefacts.MOTION}:
        names = {kind.unit(index).split("/")[1] for index in range(count)}
        own = {"notes.txt"} if kind is artefacts.FRAMES else set()
        assert {entry.name for entry in (folder.path / kind.folder).iterdir()} == names | own


def test_a_changed_option_makes_every_frame_again(finished, tmp_path, session):
    folder = JobFolder.open(shutil.copytree(finished[0].path, tmp_path / "stronger.magplus"))
    folder.write_spec(dataclasses.replace(folder.read_spec(), intensity=2.0))
    report = run_job(folder, session, Quiet())
    assert report.frames.resumed == 0
    assert report.restoration.intensity_measured == pytest.approx(2, abs=0.4)


def test_frames_without_the_face_hold_and_are_reported(tmp_path, clip, avatar, landmarks, session):
    """The face is covered for two frames: they repeat the one before, and nothing shifts in time."""
    frames = [frame.image for frame in VideoReader(clip)]
    for covered in (4, 5):
        frames[covered] = np.full_like(frames[covered], 0.2)
    with Mp4Writer(tmp_path / "covered.mp4", Fraction(24), SIZE) as writer:
        for frame in frames:
            writer.write(frame)
    folder = make_job(tmp_path / "job.magplus", tmp_path / "covered.mp4", avatar, landmarks)
    events = Quiet()
    report = run_job(folder, session, events)
    assert report.face.missing_seconds == pytest.approx([4 / 24, 5 / 24])
    assert "0.167-0.208 s (no face)" in events.warnings[0]
    assert "untrusted frames" in {reason.concern for reason in report.quality.reasons}
    held = [read(folder.path / "frames" / f"{number:06d}.png") for number in (4, 5, 6)]
    assert np.array_equal(held[0], held[1])
    assert np.array_equal(held[0], held[2])
    assert report.frames.count == 8
    values = ControlCurves.load(folder.weights_npz).values
    assert np.allclose(values[3], values[4], atol=1e-3)


def test_a_single_frame_gives_the_avatar_itself(tmp_path, clip, avatar, landmarks, session):
    folder = make_job(tmp_path / "one.magplus", clip, avatar, landmarks, driving=Driving(str(clip), trim=(0.0, 0.03)))
    report = run_job(folder, session, Quiet())
    assert report.frames.count == 1
    assert report.events is None
    assert np.array_equal(read(folder.path / "frames" / "000001.png")[..., 3], avatar[..., 3])


def test_a_tiny_face_and_no_face_are_one_sentence_each(tmp_path, clip, avatar, landmarks, session):
    small = [cv2.resize(frame.image, (64, 36), interpolation=cv2.INTER_AREA) for frame in VideoReader(clip)]
    with Mp4Writer(tmp_path / "small.mp4", Fraction(24), (64, 36)) as writer:
        for frame in small:
            writer.write(frame)
    folder = make_job(tmp_path / "small.magplus", tmp_path / "small.mp4", avatar, landmarks)
    with pytest.raises(InputError, match=r"px wide|No face was found"):
        run_job(folder, session, Quiet())
    blank = np.full_like(avatar, 90)
    folder = JobFolder.create(tmp_path / "blank.magplus")
    folder.write("avatar/avatar.png", cv2.imencode(".png", blank)[1].tobytes())
    folder.write_spec(JobSpec(Driving(str(clip)), Avatar("avatar/avatar.png")))
    with pytest.raises(InputError, match="No face was found in the avatar's picture"):
        run_job(folder, session, Quiet())


def test_a_face_that_no_detector_knows_is_placed_by_its_rig(tmp_path, clip, avatar, landmarks, session):
    """The avatar is noise to the detector; the rig says where it moves, and the job says what it did."""
    abstract = np.random.default_rng(0).integers(0, 255, avatar.shape, np.uint8)
    abstract[..., 3] = 255
    folder = make_job(tmp_path / "abstract.magplus", clip, abstract, landmarks)
    report = run_job(folder, session, Quiet())
    assert not report.avatar.face_detected
    assert any("No face was recognised" in warning for warning in report.warnings)
    values = ControlCurves.load(folder.weights_npz)
    peaks = dict(zip(values.names, values.values.max(0), strict=True))
    assert max(peaks, key=peaks.get) == "browsUp"


def test_every_picture_names_the_job_as_the_report_does(finished):
    folder, report = finished
    pictures = [*(folder.path / "frames").iterdir(), folder.path / "curves.png"]
    for picture in pictures:
        assert report.provenance.identity.encode() in picture.read_bytes()
        assert b"cv.iptc.org/newscodes/digitalsourcetype/" in picture.read_bytes()
    assert b"digitalsourcetype" not in (folder.avatar_dir / "avatar.png").read_bytes()


def test_a_reference_outside_the_clip_and_a_box_outside_the_picture_are_refused(
    tmp_path, clip, avatar, landmarks, session
):
    late = make_job(tmp_path / "a.magplus", clip, avatar, landmarks, driving=Driving(str(clip), reference=30.0))
    with pytest.raises(InputError, match=r"at 30.000 s lies outside the clip, which goes from 0.000 to 0.292 s"):
        run_job(late, session, Quiet())
    out = Avatar("avatar/avatar.png", face_box=(5000, 5000, 50, 50))
    outside = make_job(tmp_path / "b.magplus", clip, avatar, landmarks, avatar=out, outputs=Outputs(frames=True))
    with pytest.raises(InputError, match="face box lies outside its picture"):
        run_job(outside, session, Quiet())


def test_a_trim_that_begins_raised_is_measured_against_a_reference_before_it(
    finished, tmp_path, clip, avatar, landmarks, session
):
    """Frames and curves are the trim's, and the same as those of the whole clip."""
    within = Driving(str(clip), trim=(0.07, 0.35), reference=0.0)  # without the first two frames, which are at rest
    folder = make_job(tmp_path / "trim.magplus", clip, avatar, landmarks, driving=within)
    report = run_job(folder, session, Quiet())
    assert (report.reference.index, report.reference.chosen) == (-1, "given")
    assert report.reference.seconds == pytest.approx(-2 * 1001 / 24000)
    assert report.frames.count == 6 and report.timing.seconds[0] == 0
    whole, values = (ControlCurves.load(each.weights_npz).values for each in (finished[0], folder))
    assert np.abs(values - whole[2:]).max() < 0.02
    assert values[:, 0].argmax() == APEX - 2
    assert report.restoration.intensity_measured == pytest.approx(1, abs=0.2)


def test_the_report_is_the_returned_one(finished):
    folder, report = finished
    assert folder.read_report() == report
    assert report.status == "finished"
