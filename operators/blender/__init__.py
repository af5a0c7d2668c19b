# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's Python interface as the rest of the code wants it: with types."""
