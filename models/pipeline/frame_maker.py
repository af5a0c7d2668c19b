# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the result a few frames at a time, each finished in the job folder while the next ones are made."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Generator, Iterable, Sequence
from contextlib import closing
from typing import TypeVar

from ...backend_bridge.job.artefacts import FRAME_KINDS, FrameKind
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.stages import Stage
from ..ahead import ahead
from ..device import frames_at_a_time
from .animated_avatar import AnimatedAvatar
from .batch import Batch
from .driver import Driver
from .notes import Notes
from .outputs import Made, Output
from .probes import Probed, probes_of

T = TypeVar("T")


class FrameMaker:
    """Makes each frame's files for a list of outputs, and leaves them finished in the folder.

    alpha: the magnification. probed: what is known of the frames that it was chosen by; each is let go when it is made.
    fingerprint: of everything a frame is made from.
    """

    def __init__(
        self,
        folder: JobFolder,
        outputs: Sequence[Output],
        driver: Driver,
        avatar: AnimatedAvatar,
        alpha: float,
        probed: list[Probed],
        notes: Notes,
        fingerprint: str,
    ) -> None:
        self._folder = folder
        self._outputs = outputs
        self._driver = driver
        self._avatar = avatar
        self._alpha = alpha
        self._probed = probed
        self._notes = notes
        self._fingerprint = fingerprint

    def run(self) -> Made:
        """Make what is not finished yet.

        Frames are computed in the same groups in every run, with those that are finished already: the last bit of a
        result depends on what is computed together.
        """
        clip = self._driver.clip
        lacking = {index for index in clip.present if not self._finished(index)}
        done = len(clip.present)
        wanted = []
        for size, frames in self._series():
            groups = [frames[first : first + size] for first in range(0, len(frames), size)]
            wanted.append((size, [index for group in groups if lacking.intersection(group) for index in group]))
            done -= len(wanted[-1][1])
        for size, frames in wanted:
            with (
                closing(self._beside(self._batches(size, frames))) as batches,
                closing(self._beside(self._made(batches, lacking))) as made,
            ):
                for count, files in made:
                    self._notes.check_cancelled()
                    self._folder.commit_all(files, self._fingerprint)
                    done += count
                    self._notes.progress(Stage.ANIMATE, done, len(clip.present))
        for index in clip.missing:
            self._hold(index)
        for kind in FRAME_KINDS:
            self._folder.keep_only(kind, clip.count)
        return Made(clip.count, len(clip.present) - len(lacking))

    def _beside(self, items: Generator[T, None, None]) -> Generator[T, None, None]:
        """Yield items that are made in another thread; but on Metal, whose commands one thread at a time encodes."""
        return items if self._avatar.device.type == "mps" else ahead(items)

    def _series(self) -> list[tuple[int, list[int]]]:
        """Return the frames in the order in which they are made, and how many of them are computed together.

        The probe frames come first, in the groups in which they were measured, unless the backend takes clips.
        """
        clip, together = self._driver.clip, self._avatar.backend.info.clip_length
        if together > 1:
            return [(together, clip.present)]
        size, probes = frames_at_a_time(self._avatar.device), probes_of(clip, self._avatar)
        return [(size, probes), (size, [index for index in clip.present if index not in set(probes)])]

    def _batches(self, size: int, frames: list[int]) -> Generator[tuple[list[int], Batch], None, None]:
        """Yield the frames in groups with their motion, those that were probed first."""
        known: set[int] = set()
        while self._probed:
            probed = self._probed.pop(0)
            known.update(probed.indices)
            batch = Batch(probed.seen, self._driver, self._avatar, self._alpha, probed.observed, probed.generated)
            if set(frames).issuperset(probed.indices):
                yield probed.indices, batch
        for indices, seen in self._driver.clip.batches(size, [index for index in frames if index not in known]):
            seen = seen.to(self._avatar.device)
            yield indices, Batch(seen, self._driver, self._avatar, self._alpha, self._driver.observe(seen))

    @property
    def _kinds(self) -> list[FrameKind]:
        """The kinds of files that make a frame a finished one."""
        return [kind for output in self._outputs for kind in output.kinds]

    def _finished(self, index: int) -> bool:
        return all(self._folder.finished(kind.unit(index), self._fingerprint) for kind in self._kinds)

    def _made(
        self, batches: Iterable[tuple[list[int], Batch]], lacking: Collection[int]
    ) -> Generator[tuple[int, dict[str, bytes]], None, None]:
        """Yield of each batch how many frames it has, and the files of those of them that lack theirs, by name."""
        for indices, batch in batches:
            files: dict[str, bytes] = {}
            remaining = iter(indices)
            for part in batch.parts():
                files |= self._files(list(itertools.islice(remaining, len(part.frames))), part, lacking)
            del batch, part  # tens of megabytes, which would be kept until there is another
            yield len(indices), files

    def _files(self, indices: list[int], batch: Batch, lacking: Collection[int]) -> dict[str, bytes]:
        """Return the files of those frames of a batch that lack theirs, by name."""
        return {
            kind.unit(index): data
            for output in self._outputs
            for kind, made in zip(output.kinds, output.make(batch), strict=True)
            for index, data in zip(indices, made, strict=True)
            if index in lacking
        }

    def _hold(self, index: int) -> None:
        """Give a frame without a face what the frame before it has: it holds, it never shifts."""
        present = self._driver.clip.present
        before = [each for each in present if each < index]
        source = before[-1] if before else next(each for each in present if each > index)
        files = {kind.unit(index): self._folder.file_of(kind, source).read_bytes() for kind in self._kinds}
        self._folder.commit_all(files, self._fingerprint)
