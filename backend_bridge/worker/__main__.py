# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's entry: by its path, as Blender starts it, or as a module of the installed package.

python -I .../backend_bridge/worker/__main__.py run FOLDER
python -m magplus.backend_bridge.worker run FOLDER
"""

import importlib.util
import os
import sys
from pathlib import Path

# Beside a busy Blender, threads that spin while they wait take the processor from the ones that work: a job of 18 s
# took 191 s. The OpenMP runtime reads this when torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# PyTorch's threads are for what the threads of a job (`models/ahead.py`) leave idle: half of the processors.
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
# NumPy's and SciPy's OpenBLAS has threads of its own, which spin too; our systems of equations are too small to share.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def load_package(root: Path) -> None:
    """Make the folder that we are in the package `magplus`, whatever it is called and wherever it lies.

    An isolated Python started by path knows neither our packages nor the working directory.
    """
    spec = importlib.util.spec_from_file_location(
        "magplus", root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec is not None and spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules["magplus"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    if "magplus" not in sys.modules:
        load_package(Path(__file__).resolve().parents[2])
    from magplus.backend_bridge.worker.command_line import main
    from magplus.backend_bridge.worker.memory import keep_freed_memory
    from magplus.backend_bridge.worker_client.process import is_foreign

    # Started by hand or by a farm it has that machine's variables; no library that reads them is loaded yet.
    for name in [name for name in os.environ if is_foreign(name)]:
        del os.environ[name]
    # OpenCV's calls are too short to share: its second thread waited for work in 97 % of the time that it took.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    if sys.prefix != sys.base_prefix:  # compiled once for all workers of this environment
        os.environ["NUMBA_CACHE_DIR"] = str(Path(sys.prefix) / "magplus-compiled")  # or where Numba can write
    keep_freed_memory()

    main(sys.argv[1:])
