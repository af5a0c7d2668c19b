# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run leaves in the job folder, one module an output."""
