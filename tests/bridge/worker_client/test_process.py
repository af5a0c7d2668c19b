# SPDX-License-Identifier: GPL-3.0-or-later
"""What a child of Blender sees of the surroundings that it is started in."""

from __future__ import annotations

import pytest

from magplus.backend_bridge.worker_client.process import popen_options

OTHERS = {
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",  # what Jupyter sets
    "MATPLOTLIBRC": "/home/somebody/paper.rc",
    "MPLCONFIGDIR": "/nowhere",
    "TF_CPP_MAX_VLOG_LEVEL": "3",
    "GLOG_v": "9",
    "MALLOC_PERTURB_": "85",
    "OPENBLAS_VERBOSE": "2",
    "OPENCV_IO_MAX_IMAGE_PIXELS": "100",
    "OPENCV_FOR_THREADS_NUM": "some",
    "SOURCE_DATE_EPOCH": "yesterday",
    "TORCH_LOGS_FORMAT": "x",
    "NPY_DISABLE_CPU_FEATURES": "AVX2",
    "PYTHONPATH": "/elsewhere",
}
OURS = {"MAGPLUS_C2PA_KEY": "/k", "HTTPS_PROXY": "http://p", "OMP_NUM_THREADS": "2", "OPENBLAS_CORETYPE": "Haswell"}


def test_what_is_set_for_other_programs_stays_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (OTHERS | OURS).items():
        monkeypatch.setenv(name, value)
    seen = popen_options()["env"]
    assert not OTHERS.keys() & seen.keys() and seen.items() >= OURS.items()
