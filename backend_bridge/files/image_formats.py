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
    """Return, as a sentence, that a file or all pictures of a folder are of a kind that can't be read, or nothing."""
    try:
        files = path.iterdir() if path.is_dir() else (path,)
        suffixes = {file.suffix.lower() for file in files if not file.name.startswith("._")}  # macOS's side files
    except OSError:
        return ""  # whoever reads it says why
    others = sorted(suffixes & OTHER_PICTURES)
    if not others or suffixes & SEQUENCE_SUFFIXES:
        return ""
    if path.is_dir():
        return f"MagPlus can't read {others[0]} pictures; save those in {path.name} as PNG or TIFF."
    return f"MagPlus can't read {others[0]} pictures; save {path.name} as PNG or TIFF."
