# SPDX-License-Identifier: GPL-3.0-or-later
"""What a rig is to both sides: controls and their effect, solved curves, anchors, names of controls."""
