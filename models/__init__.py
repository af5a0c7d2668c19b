# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's side: video, face geometry, magnification, backends, rig solver and the pipeline. Never imports bpy."""
