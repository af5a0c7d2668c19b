# SPDX-License-Identifier: GPL-3.0-or-later
"""The contract between Blender and the worker: what a job folder holds, typed and versioned."""
