# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of `benchmarks.magnification`: methods, what they are tried on, the tracks, the tables and the goals."""
