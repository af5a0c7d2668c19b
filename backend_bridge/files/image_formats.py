# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files are pictures of an image sequence, for Blender, which offers them, and the worker, which reads them."""

from __future__ import annotations

SEQUENCE_SUFFIXES: frozenset[str] = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp"})
