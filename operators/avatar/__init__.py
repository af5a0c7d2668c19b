# SPDX-License-Identifier: GPL-3.0-or-later
"""The avatar as it is captured: its picture, what its rig does to it, and all that these depend on."""
