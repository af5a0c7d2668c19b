# SPDX-License-Identifier: GPL-3.0-or-later
"""A list of shots as a job of the engines that studios run: Open Job Description, Flamenco.

Shots are named by their numbers in the list, from 1, so that an engine can cut them into chunks. Every task is the
command `magplus batch` with one step and some numbers, so that whatever is killed or sent back goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .results import Place, Step

CANCEL = {"mode": "NOTIFY_THEN_TERMINATE", "notifyPeriodInSeconds": 30}  # a worker ends within seconds
SEVERAL = {Step.CAPTURE: 10, Step.RUN: 5}  # shots a task: one start of Blender, one loading of the models
JOB_TYPE = "magplus-batch"  # as farm/flamenco/ has it


@dataclass(frozen=True)
class FarmJob:
    """A list of shots as a farm sees it, each by its number from 1.

    shots: how many there are. saved: the first shot of each saved file. rendered: those that are rendered.
    """

    name: str
    shots: int
    saved: tuple[int, ...]
    rendered: tuple[int, ...]

    @classmethod
    def of(cls, name: str, places: Sequence[Place]) -> FarmJob:
        """Return the job of all shots of a list."""
        first: dict[Path, int] = {}
        for number, place in enumerate(places, 1):
            first.setdefault(place.saved, number)
        rendered = tuple(number for number, place in enumerate(places, 1) if place.shot.render)
        return cls(name, len(places), tuple(first.values()), rendered)


def open_job_description(job: FarmJob) -> str:
    """Return a job template of the specification 2023-09, as JSON."""
    steps = [
        _step("Capture", Step.CAPTURE, f"1-{job.shots}"),
        _step("Run", Step.RUN, f"1-{job.shots}", after="Capture"),
        _step("Import", Step.IMPORT, list(job.saved), after="Run"),
    ]
    if job.rendered:
        steps.append(_step("Render", Step.RENDER, list(job.rendered), after="Import"))
    template = {
        "specificationVersion": "jobtemplate-2023-09",
        "extensions": ["TASK_CHUNKING"],
        "name": f"MagPlus {job.name}"[:128],
        "parameterDefinitions": [
            _path("ShotList", "FILE", "IN", "The list of shots, .toml or .csv"),
            _path(
                "Results",
                "DIRECTORY",
                "INOUT",
                "Where results go; all machines must see it",
            ),
            {"name": "Blender", "type": "STRING", "default": "blender", "description": "Blender with MagPlus in it"},
        ],
        "steps": steps,
    }
    return json.dumps(template, indent=2) + "\n"


def job_parameters(shots: Path, results: Path) -> str:
    """Return the values of the template's paths, as JSON: it may hold none that lie outside its own folder."""
    return json.dumps({"ShotList": str(shots), "Results": str(results)}, indent=2) + "\n"


def flamenco(job: FarmJob, shots: Path, results: Path) -> str:
    """Return what is posted to a Flamenco Manager to submit the job (`POST /api/v3/jobs`), as JSON."""
    submitted = {
        "name": f"MagPlus {job.name}",
        "type": JOB_TYPE,
        "priority": 50,
        "submitter_platform": "manager",
        "settings": {
            "shot_list": str(shots),
            "results": str(results),
            "shots": f"1-{job.shots}",
            "saved": _numbers(job.saved),
            "rendered": _numbers(job.rendered),
            "capture_chunk": SEVERAL[Step.CAPTURE],
            "run_chunk": SEVERAL[Step.RUN],
        },
        "metadata": {"project": job.name},
    }
    return json.dumps(submitted, indent=2) + "\n"


def _step(name: str, step: Step, numbers: str | list[int], after: str | None = None) -> Mapping[str, Any]:
    several = SEVERAL.get(step)
    parameter: dict[str, Any] = {"name": "Shots", "type": "INT", "range": numbers}
    if several is not None:
        chunks = {"defaultTaskCount": several, "rangeConstraint": "CONTIGUOUS"}
        parameter |= {"type": "CHUNK[INT]", "chunks": chunks}
    command = ["--background", "--command", "magplus", "batch", "{{Param.ShotList}}", "--results", "{{Param.Results}}"]
    command += ["--step", step.value, "--numbers", "{{Task.Param.Shots}}", "--keep-going", "--progress", "openjd"]
    found: dict[str, Any] = {
        "name": name,
        "parameterSpace": {"taskParameterDefinitions": [parameter]},
        "script": {"actions": {"onRun": {"command": "{{Param.Blender}}", "args": command, "cancelation": CANCEL}}},
    }
    return found if after is None else found | {"dependencies": [{"dependsOn": after}]}


def _path(name: str, kind: str, flow: str, description: str) -> Mapping[str, str]:
    return {
        "name": name,
        "type": "PATH",
        "objectType": kind,
        "dataFlow": flow,
        "description": description,
    }


def _numbers(numbers: Sequence[int]) -> str:
    return ",".join(map(str, numbers))
