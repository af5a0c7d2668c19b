# SPDX-License-Identifier: GPL-3.0-or-later
"""A clip that is run as a job of the pipeline, with and without its guards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from magplus.backend_bridge.job import artefacts
from magplus.backend_bridge.job.folder import JobFolder
from magplus.backend_bridge.job.report import Report
from magplus.backend_bridge.job.spec import Avatar, Driving, JobSpec, Outputs
from magplus.backend_bridge.rig.curves import ControlCurves
from magplus.backend_bridge.rig.footage import Fault as Footage
from magplus.models.face import Visibility, track
from magplus.models.pipeline.notes import Unheard
from magplus.models.pipeline.run import run_job
from magplus.models.pipeline.session import Session
from magplus.models.training.actors import Actor
from magplus.models.video import encode_png

from .._codecs import Codec, write
from .._faults import Values


@dataclass(frozen=True)
class Clip:
    """Frames [N, 3, S, S], their places in time, frames a second, and how they are coded (None: as PNGs)."""

    frames: Tensor
    numbers: tuple[int, ...]
    rate: int
    codec: Codec | None


def run(clip: Clip, avatar: Actor, session: Session) -> tuple[Report, Values]:
    """Key an avatar from a clip; return the report and the controls' values [N, K]."""
    with tempfile.TemporaryDirectory(suffix=".magplus") as name, tempfile.TemporaryDirectory() as clips:
        driving = write(Path(clips) / "driver", clip.frames, clip.rate, clip.codec)
        if driving.is_dir():
            for index, number in reversed(list(enumerate(clip.numbers))):
                (driving / f"{index:04d}.png").rename(driving / f"{number:04d}.png")
        folder = JobFolder.create(Path(name))
        folder.write(artefacts.AVATAR_IMAGE, encode_png(avatar.neutral[0].permute(1, 2, 0).numpy()))
        avatar.basis.save(folder.path / artefacts.AVATAR_BASIS)
        folder.write_spec(
            JobSpec(
                Driving(str(driving), sequence_rate=str(clip.rate)),
                Avatar(artefacts.AVATAR_IMAGE, rig_basis=artefacts.AVATAR_BASIS),
                outputs=Outputs(frames=False, weights=True),
                device="cpu",
            )
        )
        report = run_job(folder, session, Unheard())
        return report, ControlCurves.load(folder.weights_npz).values.astype(np.float64)


@contextmanager
def unguarded() -> Iterator[None]:
    """Trust every frame with a face, and take all of the picture for the face."""

    def trusting(summaries: list[object], *_: object, **__: object) -> list[Footage | None]:
        return [None if summary else Footage.MISSING for summary in summaries]

    def everything(_: Visibility, frames: Tensor, *__: object) -> tuple[Tensor, Tensor]:
        return frames, torch.ones_like(frames[:, :1])

    with mock.patch.object(track, "judge", trusting), mock.patch.object(Visibility, "__call__", everything):
        yield
