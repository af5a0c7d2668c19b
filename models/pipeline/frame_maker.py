# SPDX-License-Identifier: GPL-3.0-or-later
"""Making the result a few frames at a time, each finished in the job folder while the next ones are made."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from typing import TypeAlias

from ...backend_bridge.job.artefacts import FRAME_KINDS, FrameKind
from ...backend_bridge.job.folder import JobFolder
from ...backend_bridge.job.stages import Stage
from ..ahead import ahead
from ..device import frames_at_a_time
from .batch import Batch
from .notes import Notes
from .outputs import Made, Output
from .probes import Probed, Probes

_Files: TypeAlias = tuple[int, dict[str, bytes]]  # how many frames were made, and their files by name


class FrameMaker:
    """Makes each frame's files for a list of outputs, and leaves them finished in the folder.

    probes: measure the frames. alpha: the magnification. probed: what is known of the frames that it was chosen by;
    each is let go when it is made. fingerprint: of everything a frame is made from.
    """

    def __init__(
        self,
        folder: JobFolder,
        outputs: Sequence[Output],
        probes: Probes,
        alpha: float,
        probed: list[Probed],
        notes: Notes,
        fingerprint: str,
    ) -> None:
        self._folder = folder
        self._outputs = outputs
        self._probes = probes
        self._driver = probes.driver
        self._avatar = probes.avatar
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
        size, series = self._series()
        wanted = []
        for frames in series:
            groups = [frames[first : first + size] for first in range(0, len(frames), size)]
            wanted.append([index for group in groups if lacking.intersection(group) for index in group])
            done -= len(wanted[-1])
        self._notes.progress(Stage.ANIMATE, done, len(clip.present))  # the first group is all of a short clip
        with closing(self._beside(self._made(self._batches(size, wanted), lacking))) as made:
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

    def _beside(self, items: Generator[_Files, None, None]) -> Generator[_Files, None, None]:
        """Yield items that are made in another thread; but on Metal, whose commands one thread at a time encodes."""
        return items if self._avatar.device.type == "mps" else ahead(items)

    def _series(self) -> tuple[int, list[list[int]]]:
        """Return how many frames are computed together, and the frames in the order in which they are made.

        The probe frames come first, in the groups in which they were measured, unless the backend takes clips.
        """
        clip, together = self._driver.clip, self._avatar.backend.info.clip_length
        if together > 1:
            return together, [clip.present]
        probes = self._probes.indices
        return frames_at_a_time(self._avatar.device), [probes, [n for n in clip.present if n not in {*probes}]]

    def _batches(self, size: int, wanted: list[list[int]]) -> Iterator[tuple[list[int], Batch]]:
        """Return the frames in groups with their motion, those that were probed first."""
        return ((each.indices, self._batch(each)) for each in self._measured(size, wanted))

    def _measured(self, size: int, wanted: list[list[int]]) -> Iterator[Probed]:
        known: set[int] = set()
        while self._probed:
            known.update(self._probed[0].indices)
            if any(set(frames).issuperset(self._probed[0].indices) for frames in wanted):
                yield self._probed.pop(0)
            else:
                del self._probed[0]
        yield from self._probes.besides(size, [[n for n in frames if n not in known] for frames in wanted])

    def _batch(self, each: Probed) -> Batch:
        known = each.observed, each.generated, each.equations
        return Batch(each.seen, self._driver, self._avatar, self._alpha, *known)

    @property
    def _kinds(self) -> list[FrameKind]:
        """The kinds of files that make a frame a finished one."""
        return [kind for output in self._outputs for kind in output.kinds]

    def _finished(self, index: int) -> bool:
        return all(self._folder.finished(kind.unit(index), self._fingerprint) for kind in self._kinds)

    def _made(
        self, batches: Iterable[tuple[list[int], Batch]], lacking: Collection[int]
    ) -> Generator[_Files, None, None]:
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
