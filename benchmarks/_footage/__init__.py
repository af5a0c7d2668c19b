# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of `benchmarks.footage`: who is filmed, how a clip is run as a job, and how a result is judged."""
