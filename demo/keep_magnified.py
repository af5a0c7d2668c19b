# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask a finished job for the magnified driver as well: change its spec and run the worker by hand (worker's Python)."""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "checkout"))

from magplus.backend_bridge.job.folder import JobFolder

WORKER = Path(__file__).resolve().parents[1] / "backend_bridge" / "worker" / "__main__.py"


def main() -> int:
    """Return the worker's exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("job", type=Path, help="the job folder")
    folder = JobFolder.open(parser.parse_args().job)
    spec = folder.read_spec()
    folder.write_spec(dataclasses.replace(spec, outputs=dataclasses.replace(spec.outputs, magnified=True)))
    return subprocess.run([sys.executable, "-I", WORKER, "run", folder.path], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
