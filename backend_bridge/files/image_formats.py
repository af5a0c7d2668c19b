# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are pictures of an image sequence, for Blender, which offers them, and the worker, which reads them."""

from __future__ import annotations

from pathlib import Path

SEQUENCE_SUFFIXES: frozenset[str] = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".exr"})
# Pictures to Blender and to people, and not to us.
OTHER_PICTURES: frozenset[str] = frozenset(
    {
        *(".avif", ".cin", ".dds", ".dpx", ".hdr", ".j2c", ".jp2", ".pdd", ".psb", ".psd", ".rgb", ".rgba"),
        *(".sgi", ".tga", ".tx", ".heic", ".heif", ".hif", ".jxl"),
        # Cameras' own; several are TIFF files whose first picture is a thumbnail.
        *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos"),
        *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".rw2", ".rwl", ".srw", ".x3f"),
    }
)


def unreadable_pictures(path: Path) -> str:
    """Return, as a sentence, that a file or all of a folder is nothing that can be read as pictures, or nothing."""
    try:
        files = path.iterdir() if path.is_dir() else (path,)
        suffixes = {file.suffix.lower() for file in files if not file.name.startswith("._")}  # macOS's side files
    except OSError:
        return ""  # whoever reads it says why
    others = sorted(suffixes & OTHER_PICTURES)
    if path.is_dir() and not suffixes & (SEQUENCE_SUFFIXES | OTHER_PICTURES):
        return no_images(path)
    if not others or suffixes & SEQUENCE_SUFFIXES:
        return ""
    if path.is_dir():
        return f"MagPlus can't read {others[0]} pictures; save those in {path.name} as PNG or TIFF."
    return f"MagPlus can't read {others[0]} pictures; save {path.name} as PNG or TIFF."


def no_images(folder: Path) -> str:
    """Return the sentence for a folder without an image sequence."""
    return f"The folder {folder.name} holds no numbered images; choose a video or an image sequence."
