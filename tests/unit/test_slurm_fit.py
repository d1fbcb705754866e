"""What SLURM would never run is said before it is queued (gear/launch/slurm.py).

Requests are compared with nodes that a recorded sinfo describes; each sentence is compared.
"""

import math

import pytest
from pretended_slurm import CONFIG, SINFO, program

from gear.launch import slurm
from gear.launch.slurm import Cluster, Need, Nodes


@pytest.fixture
def cluster():
    return slurm.parse(SINFO, CONFIG)


def problems(cluster, *needs, **options):
    return list(cluster.problems(needs, **options))


def test_partitions_are_read(cluster):
    assert cluster.default == "batch" and not cluster.accounting and cluster.min_job_age == 300
    assert cluster.partitions["batch"] == [Nodes(3, 4, 8000, 2, math.inf)]
    assert cluster.partitions["gpu"][0] == Nodes(4, 64, 256000, 8, 1440)
    assert cluster.partitions["debug"] == [Nodes(1, 8, 16000, 0, 30)]
    counted = CONFIG.replace("storage/none", "storage/slurmdbd")
    assert slurm.parse(SINFO, counted).accounting
    assert not slurm.parse(SINFO, CONFIG.replace("accounting_storage/none", "(null)")).accounting


@pytest.mark.parametrize(
    "text, minutes",
    [("infinite", math.inf), ("30:00", 30), ("4:00:00", 240), ("2-12:00:00", 3600), ("7", 7)],
)
def test_time_limits_are_read(text, minutes):
    assert slurm.parse(f"p|{text}|1|1|1|(null)", "").partitions["p"][0].runtime == minutes


def test_what_fits_has_no_problem(cluster):
    fits = Need("train_ar", "gpu", nodes=4, cpus=64, mem_mb=256000, gpus=8, runtime=1440)
    smaller = Need("draw", "gpu", nodes=6, cpus=32, mem_mb=128000, gpus=4, runtime=60)
    either = Need("draw", "debug,gpu", runtime=60)
    assert problems(cluster, fits, smaller, either, Need("make_table")) == []


@pytest.mark.parametrize(
    "need, sentence",
    [
        (Need("draw", "gpuu"), "partition 'gpuu', which this cluster does not have. Did you mean"),
        (
            Need("draw", gpus=3),
            "draw asks for 3 GPUs of a node, but partition 'batch' has 2; lower",
        ),
        (Need("draw", "gpu", cpus=80), "80 CPUs of a node, but partition 'gpu' has 64"),
        (Need("draw", "gpu", mem_mb=512000), "512000 MB of a node's memory, but"),
        (Need("draw", "debug", runtime=60), "60 minutes, but partition 'debug' has 30"),
        (
            Need("draw", "gpu", nodes=7),
            "7 nodes, but partition 'gpu' has 6; lower it where it is set (`nodes`",
        ),
        (Need("draw", "gpu", nodes=5, gpus=8), "5 nodes, but partition 'gpu' has 4"),
        (
            Need("draw", account="lab"),
            "asks for account 'lab', but this cluster counts no accounts",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(cluster, need, sentence):
    (said,) = problems(cluster, need, need)
    assert sentence in said


def test_a_cluster_without_a_default_partition_says_so():
    cluster = Cluster({"gpu": [Nodes(1, 1, 1, 0, 60)]})
    (said,) = problems(cluster, Need("draw"))
    assert "no default partition" in said and "(gpu)" in said


def test_the_end_of_a_job_must_be_seen(cluster):
    (said,) = problems(cluster, status_command="sacct")
    assert "keeps no accounting" in said and "set slurm-status-command: squeue" in said
    (said,) = problems(Cluster(min_job_age=60), wait=40)
    assert "MinJobAge of 60 s is too short for a wait of 40 s" in said
    assert problems(Cluster(min_job_age=60, accounting=True), wait=40) == []


def test_a_jobs_resources_are_read():
    given = {"slurm_partition": "gpu", "nodes": 2, "gpus_per_node": 8, "cpus_per_task": 64}
    given |= {"mem_mb": 1000, "runtime": 60, "mpi": "srun", "processes": 0}
    assert Need.of("train_ar", given) == Need("train_ar", "gpu", None, 2, 64, 1000, 8, 60)
    assert Need.of("draw", {"gpu": 4, "gpus_per_node": 8}).gpus == 4  # the profile's wins
    assert Need.of("draw", {"slurm_partition": 7, "runtime": "12h"}) == Need("draw", "7")


def test_no_slurm_a_part_of_it_and_a_silent_one_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="there is no SLURM here .sinfo is not on the PATH"):
        slurm.ask()
    program(tmp_path, "sinfo", "echo 'slurm_load_partitions: Unable to contact' >&2; exit 1")
    program(tmp_path, "squeue", "exit 1")
    with pytest.raises(ValueError, match="not complete here: scontrol, sbatch, scancel not found"):
        slurm.ask()
    for name in ("scontrol", "sbatch", "scancel"):
        program(tmp_path, name, "exit 1")
    with pytest.raises(ValueError, match="SLURM does not answer .slurm_load_partitions"):
        slurm.ask()
    program(tmp_path, "sinfo", f"echo '{SINFO.splitlines()[0]}'")
    program(tmp_path, "scontrol", f"echo '{CONFIG.splitlines()[2]}'")
    assert slurm.ask().default == "batch"
