# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's process: takes jobs, runs the pipeline of `models` on them, and answers for whatever happens."""
