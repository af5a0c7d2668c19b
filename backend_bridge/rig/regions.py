# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of a face that are distinguished: where magnification is weighted, and where motion is accounted for."""

REGIONS = ("brows", "lids", "nose", "cheeks", "mouth", "chin")
