# SPDX-License-Identifier: GPL-3.0-or-later
"""What is running at present: the one piece of run-time state, and work beside Blender."""
