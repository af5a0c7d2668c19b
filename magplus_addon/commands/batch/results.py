# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a batch keeps what it makes, and the record of what each step of a shot was made from.

- `captures/`: renders and measurements, kept for shots that need the same ones; safe to delete
- `measurements/`: what workers have measured of clips, shared by them; safe to delete
- `NAME/job.magplus/`: the shot's job folder
- `NAME/NAME.blend`: the file with the result, where the list names no other place
- `NAME/render/`: the rendered frames
- `NAME/shot.json`: what each step was made from
- `written.jsonl`, here and in each shot: what was written; anything else is somebody's own and is set aside
- `batch.json`, `batch.csv`, `contact_sheet.html`: what came out
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from ....backend_bridge.files.disk import explained
from ....backend_bridge.files.errors import InputError, MagPlusError
from ....backend_bridge.files.hashing import KnownHashes, fingerprint_of, hash_file
from ....backend_bridge.files.plain import check_plain, read_plain
from ....backend_bridge.files.typed_json import Format
from ....backend_bridge.job import artefacts
from ....backend_bridge.job.earlier_result import result_of_another
from ....backend_bridge.job.folder import JobFolder
from ....backend_bridge.job.journal import Journal, JournalEntry
from ....backend_bridge.job.own_files import OwnFiles
from ....backend_bridge.job.report import Report
from ....backend_bridge.job.shot import plate_of
from ....backend_bridge.job.spec import JobSpec
from ....operators.animation.scene_time import LAST_FRAME, SourceTime
from ....operators.avatar.outside_files import changed_since
from .shots import Shot

# The options that say where a result goes, and which worker carries a job out; all the others decide what the job is.
PLACING = ("start_frame", "stretch", "keep_apex", "animation", "show_as", "release")
WORKERS = ("python", "checkpoints")

CAPTURES = "captures"
WRITTEN = "written.jsonl"
MOST_BYTES = 16 << 20  # of a record; it has some thousand
MOST_FRAMES = 1_000_000

PREVIEW = "preview"  # a folder in the rendered frames, as `frame_renderer` has it
SHOWN_BY_BROWSERS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})

Inputs = dict[str, str]
Captioned = tuple[str, Path]  # a picture, with a word of what it shows


class Step(Enum):
    """A step of a shot. Each needs those before it; each is a command of its own for a farm."""

    CAPTURE = "capture"
    RUN = "run"
    IMPORT = "import"
    RENDER = "render"


@dataclass(frozen=True)
class Failed:
    """How the last attempt ended: at which step, with which exit code, and why."""

    step: str
    exit_code: int
    sentence: str


@dataclass(frozen=True)
class Record:
    """What the steps of a shot were made from, each as names and values (hashes, options, versions).

    A step is finished when what it would be made from now is what it was made from. outside: of the capture, the files
    that the .blend reads; see `outside_files`. saved: where the file with the result is. Paths are as `Place.portable`
    has them. scene: in which of its scenes. frames: the scene frames, first and last, that the clip fills there.
    apex_frame: the one nearest to the apex, or in the middle where nothing stands out. failed: how the last attempt
    ended, None after a success. seconds: how long each step took by the clock. listed: the name of the list that the
    shot is of.
    """

    captured: Inputs | None = None
    outside: Inputs = field(default_factory=dict)
    imported: Inputs | None = None
    rendered: Inputs | None = None
    saved: str | None = None
    scene: str | None = None
    frames: tuple[int, int] | None = None
    apex_frame: int | None = None
    failed: Failed | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    listed: str | None = None

    def validated(self) -> Record:
        """Return self, or raise `InputError` for frames that no clip can fill."""
        if self.frames is not None:
            first, last = self.frames
            if not (-LAST_FRAME <= first <= last <= LAST_FRAME and last - first < MOST_FRAMES):
                raise InputError(f"{RECORD.name} has frames that no scene has; {RECORD.remedy}.")
        return self


RECORD = Format(Record, "shot.json", "a record of a shot", "delete it, and the shot is made again")


@dataclass(frozen=True)
class Place:
    """The folder of one shot in the results."""

    path: Path
    shot: Shot

    @property
    def own(self) -> OwnFiles:
        """What is MagPlus's in the shot's folder."""
        return OwnFiles(self.path, Journal(self.path / WRITTEN))

    def check(self) -> None:
        """Raise `InputError` where a folder that results go to is a link: they would be written elsewhere."""
        for folder in (self.path, self.job.path, self.render):
            check_plain(folder)

    @property
    def job(self) -> JobFolder:
        """The job folder, whether it is there or not."""
        return JobFolder(self.path / "job.magplus")

    @property
    def render(self) -> Path:
        """Where the rendered frames go."""
        return self.path / "render"

    @property
    def saved(self) -> Path:
        """The file with the result."""
        return self.shot.save or self.path.parent / self.shot.group / f"{self.shot.group}.blend"

    def portable(self, path: Path) -> str:
        """Return a path relative to the list where it lies below its folder: a production may be moved as a whole."""
        return portable(path, self.shot.row.file.parent)

    def changed_outside(self, record: Record, hashes: FileHashes) -> list[str]:
        """Return the paths of the files that the .blend read when it was captured and that have other content now."""
        base = self.shot.row.file.parent
        return changed_since({str(base / path): text for path, text in record.outside.items()}, hashes.files)

    def check_is_of_this_list(self, spec: JobSpec) -> None:
        """Raise `InputError` where another list has left a finished result of another clip or avatar than `spec` has.

        Within one list it is replaced: whoever names another clip in a shot wants the shot made from that.
        """
        row, listed = self.shot.row, self.record().listed
        if listed in (None, row.file.name):
            return
        if held := result_of_another(self.job, spec):
            row.refuse(
                f"{self.path} holds the result of {held}, a shot of {listed}, which would be lost; give other "
                "--results or rename the shot.",
                "name",
            )

    def is_in_file(self) -> bool:
        """Whether an import has put the shot into the file with the result, which is still there."""
        record = self.record()
        return record.imported is not None and record.saved == self.portable(self.saved) and self.saved.is_file()

    def pictures(self, report: Report | None) -> list[Captioned]:
        """Return what there is to look at, with a caption: the driver and the result at the apex, and the curves.

        report: of the job, None for none.
        """
        found = [("driver at the apex", self.job.path / artefacts.DRIVER_APEX)]
        record = self.record()
        apex = None if report is None or report.timing is None else SourceTime.from_report(report).apex
        if apex is not None and report is not None and report.frames is not None:
            found.append(("result at the apex", self.job.file_of(artefacts.FRAMES, apex)))
        if report is not None and (shot := report.shot) is not None and (nearest := shot.nearest_to_apex) is not None:
            frame = self.job.file_of(artefacts.SHOT_PNG, nearest - 1)
            exr = shot.pattern != artefacts.SHOT_PNG.pattern
            caption = "result at the apex" if nearest == shot.apex_frame else "result nearest to the apex"
            found.append((caption, self.job.path / artefacts.SHOT_APEX if exr else frame))
        if record.apex_frame is not None and self.render.is_dir():
            name = f"*_{record.apex_frame:04d}.*"
            rendered = sorted(self.render.glob(name)) + sorted(self.render.glob(f"{PREVIEW}/{name}"))
            found += [("rendered", each) for each in rendered if each.suffix.lower() in SHOWN_BY_BROWSERS]
        keys = (("keys at the apex", artefacts.KEYED_APEX), ("curves", artefacts.CURVES))
        return [*found, *((caption, self.job.path / name) for caption, name in keys)]

    def record(self) -> Record:
        """Return what was done so far; a record that can't be read counts as none, as everything can be made again."""
        try:
            with explained(self.path):
                return RECORD.decode(read_plain(self.path / RECORD.name, MOST_BYTES)).validated()
        except (FileNotFoundError, MagPlusError):
            return Record()

    def note(self, record: Record) -> None:
        """Keep the record."""
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        self.own.write(RECORD.name, RECORD.encode(record))

    def note_seconds(self, step: Step, seconds: float) -> None:
        """Keep how long a step took by the clock."""
        record = self.record()
        self.note(replace(record, seconds={**record.seconds, step.value: round(seconds, 3)}))

    def report(self) -> Report | None:
        """Return the job's report, None where there is none that can be read."""
        try:
            return self.job.read_report()
        except MagPlusError:
            return None


class FileHashes:
    """Hashes of a shot's inputs, files and folders, each file read once; `files` may be shared."""

    def __init__(self) -> None:
        self.files = KnownHashes()

    def of(self, path: Path) -> str:
        """Return the hash of a file, or of a folder's files by their names. Raises `MagPlusError` for none."""
        with explained(path, reading=True):
            if path.exists() and not (path.is_dir() or path.is_file()):
                raise InputError(f"{path} is a pipe or a device instead of a file; choose a file.")
            if path.is_dir():
                files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
                return fingerprint_of([(each.name, self.of(each)) for each in files])
            return self.files.of(path)


def set_aside(saved: Path, places: Sequence[Place]) -> list[str]:
    """Rename a saved file that somebody has changed since, or that never was a batch's; return what to say of it.

    places: the shots that are saved there. Raises `InputError` where a link is in the way.
    """
    with explained(saved):
        if check_plain(saved) is None or any(place.own.are_bytes_of(saved) for place in places):
            return []
        number = 1
        while check_plain(kept := saved.with_stem(f"{saved.stem}_kept_{number}")) is not None:
            number += 1
        saved.rename(kept)
    return [f"{saved.name} was not what MagPlus had saved; it was kept as {kept.name}."]


def note_saved(saved: Path, places: Sequence[Place]) -> None:
    """Enter the saved file into the journals of the shots that are in it."""
    with explained(saved):
        entry = JournalEntry(saved.name, saved.stat().st_size, hash_file(saved), "")
    for place in places:
        place.own.journal.append(entry)


def capture_inputs(shot: Shot, hashes: FileHashes, version: str) -> Inputs:
    """Return what the shot's job is made from: the file, the clip, and every option that says what to do."""
    inputs = {"MagPlus": version, "the file": hashes.of(shot.file), "the clip": hashes.of(Path(shot.options.driving))}
    if shot.scene is not None:
        inputs["scene"] = shot.scene
    if shot.options.anchors is not None:
        inputs["the anchors"] = hashes.of(shot.options.anchors)
    if files := shot.backend_files:
        inputs["the backend's files"] = fingerprint_of([(name, hashes.of(file)) for name, file in files])
    interval = shot.options.frames  # of a moving shot, whose job says where the clip lies
    if interval and shot.options.plates:
        plates = range(interval[0], interval[-1] + 1)
        inputs["the plates"] = fingerprint_of([hashes.of(plate_of(shot.options.plates, number)) for number in plates])
    aside = WORKERS if interval else PLACING + WORKERS
    asked = {key: value for key, value in shot.given.items() if key not in aside}
    return inputs | _as_text(asked, shot.row.file.parent)


def import_inputs(place: Place, hashes: FileHashes) -> Inputs:
    """Return what a shot's result in the file is made from, beside the file itself: the job's result and its place."""
    report = place.job.report_path
    inputs = {"the file": hashes.of(place.shot.file), "the job's result": hashes.of(report) if report.is_file() else ""}
    asked = {key: value for key, value in place.shot.given.items() if key in PLACING}
    return inputs | _as_text(asked, place.shot.row.file.parent)


def changed(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return which inputs differ, in words, or an empty string."""
    names = [name for name in sorted({*before, *now}, key=str.casefold) if before.get(name) != now.get(name)]
    return ", ".join(_difference(name, before.get(name), now.get(name)) for name in names)


def _difference(name: str, before: str | None, now: str | None) -> str:
    if name.startswith("the "):
        return f"{name} has changed"
    return f"{name} is {now if now is not None else 'no longer given'}" + ("" if before is None else f", was {before}")


def portable(path: Path, base: Path) -> str:
    """Return a path relative to a folder where it lies below it."""
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else str(path)


def _as_text(options: Mapping[str, object], base: Path) -> Inputs:
    """Return options as a person wrote them: `trim 5.7 5.9`."""
    return {key.replace("_", " "): " ".join(_words(value, base)) for key, value in options.items()}


def _words(value: object, base: Path) -> Iterator[str]:
    if isinstance(value, tuple):  # a name and its value
        yield "=".join(" ".join(_words(each, base)) for each in value)
    elif isinstance(value, list):
        for each in value:
            yield from _words(each, base)
    else:
        yield portable(Path(value), base) if isinstance(value, Path | str) and Path(value).is_absolute() else str(value)
