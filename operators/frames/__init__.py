# SPDX-License-Identifier: GPL-3.0-or-later
"""A job's pictures in the file: as a clip at the scene's rate, and the places where a clip can be shown."""
