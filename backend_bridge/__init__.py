# SPDX-License-Identifier: GPL-3.0-or-later
"""The boundary between Blender and the worker: the job folder, the messages, the client and the worker's environment.

Both processes import this package, so what Blender imports of it needs the standard library and numpy alone.
"""
