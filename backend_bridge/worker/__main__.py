# SPDX-License-Identifier: GPL-3.0-or-later
"""Entry of the worker, started by its path: `python -I .../backend_bridge/worker/__main__.py run FOLDER`."""

import os
import sys
from pathlib import Path

# Beside a busy Blender, threads that spin while they wait take the processor from the ones that work: a job of 18 s
# took 191 s. The OpenMP runtime reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# An isolated Python started by path knows neither our packages nor the working directory.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

if __name__ == "__main__":
    from backend_bridge.worker.command_line import main

    main(sys.argv[1:])
