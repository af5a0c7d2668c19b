// SPDX-License-Identifier: GPL-3.0-or-later
// A list of MagPlus shots as a Flamenco 3 job. Put this file into the `scripts` folder beside the Manager, and submit
// what `magplus batch LIST --flamenco FOLDER` writes. docs/farm.md says what the machines have to share.

const JOB_TYPE = {
    label: "MagPlus Batch",
    description: "Micro-expressions for a list of shots: capture, run, import, render",
    settings: [
        { key: "shot_list", type: "string", subtype: "file_path", required: true,
          description: "The list of shots, .toml or .csv" },
        { key: "results", type: "string", subtype: "dir_path", required: true,
          description: "Where results go; all Workers must see it" },
        { key: "shots", type: "string", required: true, description: "Numbers of the shots, as in 1-20" },
        { key: "saved", type: "string", default: "", visible: "submission",
          description: "Number of the first shot of each saved file; empty for all" },
        { key: "rendered", type: "string", default: "", visible: "submission",
          description: "Numbers of the shots that are rendered; empty for none" },
        { key: "capture_chunk", type: "int32", default: 10, visible: "submission",
          description: "Shots captured by one start of Blender" },
        { key: "run_chunk", type: "int32", default: 5, visible: "submission",
          description: "Shots run by one worker process" },
    ],
};

function compileJob(job) {
    const settings = job.settings;
    const captures = tasksOf(settings, "capture", "blender", settings.shots, settings.capture_chunk, []);
    const runs = tasksOf(settings, "run", "magplus", settings.shots, settings.run_chunk, captures);
    const imports = tasksOf(settings, "import", "blender", settings.saved || settings.shots, 1, runs);
    const renders = tasksOf(settings, "render", "blender", settings.rendered, 1, imports);
    for (const task of captures.concat(runs, imports, renders)) {
        job.addTask(task);
    }
}

// Tasks are copied when they are added to the job, so commands and dependencies come first.
function tasksOf(settings, step, taskType, numbers, chunk, after) {
    const tasks = [];
    if (!numbers) {
        return tasks;
    }
    for (const some of frameChunker(numbers, chunk)) {
        const task = author.Task(step + "-" + some, taskType);
        task.addCommand(author.Command("exec", {
            exe: "{blender}",
            args: ["--background", "--command", "magplus", "batch", settings.shot_list, "--results", settings.results,
                   "--step", step, "--numbers", some, "--keep-going"],
        }));
        for (const earlier of after) {
            task.addDependency(earlier);
        }
        tasks.push(task);
    }
    return tasks;
}
