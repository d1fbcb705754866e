"""The demo's images and hardly trained networks, for benchmarks of its steps.

How long a network was trained changes no cost.
"""

import dataclasses
import json

from gear import config
from gear.alignment.teachers import standin
from gear.data import digits
from gear.runtime import checkpoint
from gear.study import jobs
from gear.study.stages import STAGES


def images_and_teacher(study):
    """The demo's images, and the folder `teacher`, in this folder."""
    spec = study.spec["data"]
    digits.prepare(study.data.path, study.data.resolution, spec["train"], 100, spec["seed"])
    task = json.loads(jobs.teacher(study, "dinov2"))
    task["spec"]["steps"] = 1
    standin.train(config.build(task["settings"]), task["spec"], "teacher")


def tokenizer(study):
    """The folder `tokenizer`, in this folder: VQ's at its start."""
    settings = study.runs["vq"].settings
    exports = STAGES["tokenizer"].trainer(settings).exports()
    record = {"settings": dataclasses.asdict(settings), "status": "finished"}
    checkpoint.save_folder("tokenizer", exports, record)
