# SPDX-License-Identifier: GPL-3.0-or-later
"""Driver, magnified driver, result and shape keys side by side: result.mp4, contact_sheet.png (worker's Python)."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeAlias

import av
import cv2
import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.models.pipeline.provenance import mark_of
from magplus.models.video.marks import marked_mp4, marked_png

PANEL = 480  # px, side of one panel of the video
CELL = 300  # px, side of one cell of the contact sheet
MARGIN = 34  # px for a line of text
HEAT = 8.0
PAPER, INK, FAINT, MARK = (24, 24, 26), (232, 232, 230), (150, 150, 150), (250, 180, 70)

Picture: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One kind of picture through the clip."""

    title: str
    pictures: list[Picture]


@dataclass(frozen=True)
class Clip:
    """What the report says: times in seconds from the clip's first frame, and where the face is.

    face: left, top and side, in px of the avatar's picture, of the square that the driver's crop was laid over.
    """

    seconds: list[Fraction]
    rate: Fraction
    reference: int
    alpha: float
    face: tuple[float, float, float]
    events: dict[str, float | None]

    @classmethod
    def of(cls, report: Report) -> Clip:
        """Take it from a finished job's report."""
        assert report.timing and report.reference and report.magnification and report.avatar, "not a finished job"
        window = report.avatar.window
        left, top = window.origin
        events = asdict(report.events) if report.events is not None else dict.fromkeys(("onset", "apex", "offset"))
        return cls(
            seconds=list(report.timing.seconds),
            rate=report.timing.rate,
            reference=report.reference.index,
            alpha=report.magnification.alpha,
            face=(left, top, window.crop_size / window.scale),
            events=events,
        )

    def nearest(self, second: float) -> int:
        """Return the number of the frame nearest to a time."""
        return int(np.abs(np.array([float(s) for s in self.seconds]) - second).argmin())


def read_rows(job: Path, keys: Path, clip: Clip) -> list[Row]:
    """Read the pictures of every frame from the job folder and from the folder of rendered shape keys."""
    count = len(clip.seconds)
    sources = (
        ("Driver", job / artefacts.DRIVER.folder, None),
        (f"Driver, magnified x{clip.alpha:.3g}", job / artefacts.MAGNIFIED.folder, None),
        ("Result, image sequence", job / artefacts.FRAMES.folder, clip.face),
        ("Result, shape keys", keys, clip.face),
    )
    return [
        Row(title, [around_face(read_picture(folder / f"{number:06d}.png"), face) for number in range(1, count + 1)])
        for title, folder, face in sources
    ]


def around_face(
    picture: Picture, face: tuple[float, float, float] | None, share: float = 0.8, below: float = 0.0
) -> Picture:
    """Cut out the same part of the face for everybody; the crop's rim may lie outside the driver's video.

    share, below: what is kept of the crop's side, and where it begins.
    """
    left, top, side = face or (0.0, 0.0, float(picture.shape[0]))
    kept = round(share * side)
    x, y = round(left + 0.5 * (1 - share) * side), round(top + below * side)
    return picture[max(y, 0) : max(y, 0) + kept, max(x, 0) : max(x, 0) + kept]


def read_picture(path: Path) -> Picture:
    """Read a picture as RGB of 8 bits, a transparent one on grey."""
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise FileNotFoundError(path)
    pixels = picture.astype(np.float32) / (65535 if picture.dtype == np.uint16 else 255)
    if pixels.shape[2] == 4:
        opacity = pixels[..., 3:]
        pixels = pixels[..., :3] * opacity + 0.35 * (1 - opacity)
    return np.asarray(pixels[..., ::-1] * 255 + 0.5, np.uint8)


def write_video(path: Path, rows: list[Row], clip: Clip) -> None:
    """Write the panels side by side: twice at the clip's own rate, twice at a quarter of it, twice at its own again."""
    panels = [[fit(picture, PANEL) for picture in row.pictures] for row in rows]
    width, height = PANEL * len(rows), PANEL + 2 * MARGIN
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=clip.rate)
        stream.width, stream.height = width, height + height % 2
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "15", "preset": "slow"}
        for index, slow in _playback(len(clip.seconds)):
            canvas = np.full((stream.height, width, 3), PAPER, np.uint8)
            for column, row in enumerate(rows):
                left = column * PANEL
                canvas[MARGIN : MARGIN + PANEL, left : left + PANEL] = panels[column][index]
                write_text(canvas, row.title, left + 12, MARGIN - 11)
            _timeline(canvas, clip, index, "1/4 speed" if slow else "real time")
            frame = av.VideoFrame.from_ndarray(canvas, format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _playback(count: int, hold: int = 8) -> Iterator[tuple[int, bool]]:
    """Yield the frames to show and whether they are shown slowly; every pass ends with a short hold."""
    for slow in (False, False, True, True, False, False):
        for index in range(count):
            for _ in range(4 if slow else 1):
                yield index, slow
        for _ in range(hold):
            yield count - 1, slow


def _timeline(canvas: Picture, clip: Clip, index: int, text: str) -> None:
    height, width = canvas.shape[:2]
    y, left, right = height - MARGIN // 2, 330, width - 20
    last = max(float(clip.seconds[-1]), 1e-6)

    def place(second: float) -> int:
        return round(left + (right - left) * second / last)

    write_text(canvas, f"{float(clip.seconds[index]):.3f} s", 12, height - 11)
    write_text(canvas, text, 150, height - 11, MARK if "1/4" in text else FAINT)
    cv2.line(canvas, (left, y), (right, y), FAINT, 1, cv2.LINE_AA)
    for name, second in clip.events.items():
        if second is not None:
            cv2.line(canvas, (place(second), y - 7), (place(second), y + 7), FAINT, 1, cv2.LINE_AA)
            write_text(canvas, name, min(place(second) + 5, right - 60), y - 3, FAINT, 0.38)
    cv2.circle(canvas, (place(float(clip.seconds[index])), y), 6, MARK, -1, cv2.LINE_AA)


def write_contact_sheet(path: Path, rows: list[Row], clip: Clip, columns: int = 6) -> None:
    """Write the pictures around the event, and how far driver and result are from their reference frame."""
    chosen = moments(clip, columns)
    shown = [
        *rows,
        Row(f"Driver: change since the reference, x{HEAT:g}", heat(rows[0].pictures, clip.reference)),
        Row(f"Image sequence: change, x{HEAT:g}", heat(rows[2].pictures, clip.reference)),
        Row(f"Shape keys: change, x{HEAT:g}", heat(rows[3].pictures, clip.reference)),
    ]
    height = MARGIN + (CELL + MARGIN) * len(shown)
    sheet = np.full((height, CELL * len(chosen), 3), PAPER, np.uint8)
    for column, index in enumerate(chosen):
        write_text(sheet, caption(clip, index), column * CELL + 10, MARGIN - 11, FAINT)
    for number, row in enumerate(shown):
        top = MARGIN + number * (CELL + MARGIN)
        write_text(sheet, row.title, 10, top + MARGIN - 11)
        for column, index in enumerate(chosen):
            left = column * CELL
            sheet[top + MARGIN : top + MARGIN + CELL, left : left + CELL] = fit(row.pictures[index], CELL)
    cv2.imwrite(str(path), sheet[..., ::-1])


def moments(clip: Clip, columns: int) -> list[int]:
    """Return the frames to show: the reference, the apex, the rest spread evenly."""
    fixed = {clip.reference}
    if (apex := clip.events["apex"]) is not None:
        fixed.add(clip.nearest(apex))
    for index in np.linspace(0, len(clip.seconds) - 1, columns).round().astype(int).tolist():
        if len(fixed) < min(columns, len(clip.seconds)) and all(abs(index - other) > 1 for other in fixed):
            fixed.add(index)
    for index in range(len(clip.seconds)):
        if len(fixed) < columns:
            fixed.add(index)
    return sorted(fixed)


def caption(clip: Clip, index: int) -> str:
    """Return when a frame is, and which of the clip's moments it shows."""
    names = ["reference"] if index == clip.reference else []
    names += [name for name, second in clip.events.items() if second is not None and clip.nearest(second) == index]
    return f"{float(clip.seconds[index]):.3f} s  {', '.join(names)}"


def heat(pictures: list[Picture], reference: int) -> list[Picture]:
    """Return how far each picture is from the reference one, black where nothing changed."""
    still = pictures[reference].astype(np.float32)
    maps = []
    for picture in pictures:
        change = cv2.GaussianBlur(np.abs(picture.astype(np.float32) - still).mean(2), (0, 0), 0.8)
        level = np.asarray(np.clip(change * HEAT, 0, 255), np.uint8)
        maps.append(np.asarray(cv2.applyColorMap(level, cv2.COLORMAP_INFERNO)[..., ::-1], np.uint8))
    return maps


def fit(picture: Picture, side: int) -> Picture:
    """Scale a picture into a square, the rest stays paper."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=method)
    square = np.full((side, side, 3), PAPER, np.uint8)
    top, left = (side - scaled.shape[0]) // 2, (side - scaled.shape[1]) // 2
    square[top : top + scaled.shape[0], left : left + scaled.shape[1]] = scaled
    return square


def write_text(
    canvas: Picture, text: str, x: int, y: int, colour: tuple[int, int, int] = INK, size: float = 0.55
) -> None:
    """Write a line of text whose baseline starts at (x, y)."""
    cv2.putText(canvas, text, (x, y), cv2.FONT_HERSHEY_DUPLEX, size, colour, 1, cv2.LINE_AA)


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True, help="the finished job folder, magnified driver included")
    parser.add_argument("--keys", type=Path, required=True, help="pictures of the keyed character")
    parser.add_argument("--out", type=Path, required=True, help="folder for the results")
    options = parser.parse_args()
    report = JobFolder.open(options.job).read_report()
    clip, mark = Clip.of(report), mark_of(report)
    rows = read_rows(options.job, options.keys, clip)
    video, sheet = options.out / "result.mp4", options.out / "contact_sheet.png"
    write_video(video, rows, clip)
    video.write_bytes(marked_mp4(video.read_bytes(), mark))
    write_contact_sheet(sheet, rows, clip)
    sheet.write_bytes(marked_png(sheet.read_bytes(), mark))


if __name__ == "__main__":
    main()
