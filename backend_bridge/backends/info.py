# SPDX-License-Identifier: GPL-3.0-or-later
"""What there is to know of a backend without loading it: terms, files, options."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_PAGE = re.compile(r"(?:github\.com|huggingface\.co)/[\w.-]+/[\w.-]*\w")
FOLDER_VARIABLE = "MAGPLUS_CHECKPOINTS"  # names a store that several machines share


@dataclass(frozen=True)
class BackendOption:
    """Something that can be set of a backend in the sidebar; the command line and `job.json` can set more.

    `choices` are (value, title, description). Without them, `default` says what it is: a switch, a number, a file
    (None) or any number of files (an empty tuple). low, high: a number's limits.
    """

    name: str
    title: str
    description: str
    default: bool | float | str | tuple[str, ...] | None
    choices: tuple[tuple[int | str, str, str], ...] = ()
    low: float = 1
    high: float = 1 << 20


@dataclass(frozen=True)
class CheckpointFile:
    """One published file a backend needs: where the authors publish it, its size and hash where they are known.

    `parts` names the networks in it; several files may hold the same part, then any one of them will do. The backend
    works without an `optional` file, but does less.
    """

    name: str
    published_at: str
    parts: tuple[str, ...] = ()
    optional: bool = False
    size: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def page(self) -> str:
        """The address of the page where it is published, as a browser takes it, or an empty string."""
        found = _PAGE.search(self.published_at)
        return f"https://{found[0]}" if found is not None else ""


@dataclass(frozen=True)
class BackendInfo:
    """What a person must know before choosing a backend, and what the pipeline must know to run it.

    name: what the command line and `job.json` say. title, description: what people read. frame_size: the square, in
    px, at which it works; None means that it takes any size. checkpoints: the published files; none for a backend that
    needs no checkpoint. shares_files_of: the backend in whose folder its files are kept, where that is another one.
    clip_length: how many successive frames it looks at together; it is given them together, from the first on.
    options: what the sidebar offers; the command line and `job.json` can set more. path_words: words in a file's path
    by which it is this backend's where another has networks of the same names and shapes. needs_files: what it needs of
    the person besides checkpoints to be what its authors published; without it the result is approximate at best.
    """

    name: str
    title: str
    description: str
    frame_size: int | None
    code_licence: str
    weights_licence: str
    commercial_use: bool
    checkpoints: Sequence[CheckpointFile] = ()
    shares_files_of: str | None = None
    clip_length: int = 1
    options: tuple[BackendOption, ...] = ()
    path_words: tuple[str, ...] = ()
    needs_files: str = ""

    @property
    def folder(self) -> str:
        """The folder of the checkpoint store where the backend's files are."""
        return self.shares_files_of or self.name

    @property
    def parts(self) -> tuple[str, ...]:
        """The networks that must have been added before it works, kept as `<folder>/<part>.safetensors`."""
        return tuple(sorted({part for file in self.checkpoints for part in file.parts if not file.optional}))

    @property
    def optional_parts(self) -> tuple[str, ...]:
        """The networks that it can do without."""
        return tuple(sorted({part for file in self.checkpoints for part in file.parts if file.optional}))

    @property
    def pages(self) -> tuple[str, ...]:
        """The addresses of the pages where its files are published, each once."""
        return tuple(dict.fromkeys(file.page for file in self.checkpoints if file.page))

    @property
    def ready(self) -> bool:
        """Whether all the parts it needs have been added. Only looks at the disk."""
        places = (checkpoint_folder() / self.folder / f"{part}.safetensors" for part in self.parts)
        return all(place.is_file() for place in places)

    @property
    def caution(self) -> str:
        """What a person must know before using it for a living, or an empty string."""
        terms = "" if self.commercial_use else f"Not for commercial use (weights: {self.weights_licence})."
        return " ".join(filter(None, (terms, self.needs_files)))


def checkpoint_folder() -> Path:
    """Return where checkpoints are kept: what the variable says, or the user's own folder, outliving the extension."""
    given = os.environ.get(FOLDER_VARIABLE)
    return Path(given) if given else Path.home() / ".magplus" / "checkpoints"
