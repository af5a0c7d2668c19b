# SPDX-License-Identifier: GPL-3.0-or-later
"""Running a job: the driving clip, MagPlus, the backend, DeMagPlus, and what a run leaves in its folder."""
