# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's end of the pipe: the messages, the worker's process, and the client that never waits for it."""
