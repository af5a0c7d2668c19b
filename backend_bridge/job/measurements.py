# SPDX-License-Identifier: GPL-3.0-or-later
"""Where workers keep what they have measured of clips, so that shots of one clip measure it once."""

from __future__ import annotations

FOLDER_VARIABLE = "MAGPLUS_MEASUREMENTS"  # names the folder; without it nothing is kept beyond a worker's end
FOLDER = "measurements"  # its name beside a batch's results
