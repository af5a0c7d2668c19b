# SPDX-License-Identifier: GPL-3.0-or-later
"""What the avatar's rig is, and what the camera sees of it."""
