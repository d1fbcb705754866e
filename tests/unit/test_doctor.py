"""gear doctor: what is missing, and how to get it.

Files and programs are taken away or pretended one by one; each must be named with its cure.
"""

import shutil
from collections import namedtuple

import pytest
from pretended_slurm import CONFIG, SINFO, program

from gear.cli import doctor, weights
from gear.cli import main as cli
from gear.launch import slurm
from gear.study.registry import Study

FILES = (
    "weights/vq_ds16_c2i.pt",
    "weights/dinov2_vitb14_pretrain.pth",
    "weights/pt_inception-2015-12-05-6726825d.pth",
    "weights/VIRTUAL_imagenet256_labeled.npz",
)
VJEPA2 = "848a77c33cc9e6649ed2119c9bea1e2c569bcdab9539ff3e7c02ccc2959ddf4d"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder with the profile in it, and a PATH without SLURM."""
    profile = tmp_path / slurm.PROFILE
    profile.parent.mkdir(parents=True)
    shutil.copy(slurm.PROFILE, profile)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    return tmp_path


def said(capsys, *arguments):
    """(exit status, {subject: lines}) of gear doctor."""
    status = cli.main(["doctor", *arguments])
    lines = capsys.readouterr().out.splitlines()
    found = {}
    for line in lines[1:-1]:
        state, subject, text = line.split(maxsplit=2)
        found.setdefault(subject, []).append((state, text))
    return status, found, lines[-1]


def test_the_demo_needs_nothing(here, capsys):
    status, found, last = said(capsys, "--study", "demo")
    assert (status, last) == (0, "nothing is missing")
    assert found["data"] == [("ok", "data/digits is made by the rule prepare_data")]
    assert list(found)[-2:] == ["remote", "SLURM"] and found["remote"][0][0] == "note"
    ((state, text),) = found["SLURM"]
    assert state == "note" and text.endswith("; a run on this machine needs none")
    assert len(text) < 80


def test_each_missing_thing_has_its_cure(here, capsys):
    status, found, last = said(capsys, "--study", "paper", "--target", "temperature")
    assert status == 1
    missing = [text for lines in found.values() for state, text in lines if state == "missing"]
    assert last == f"{len(missing)} missing"
    for path in FILES:
        (text,) = [text for text in missing if text.startswith(f"{path} ")]
        assert "put the file there (" in text and "link http" in text and "licence " in text
    (text,) = [text for text in missing if "data/imagenet" in text]
    assert text.startswith("settings.data.path: data/imagenet does not exist; put the images")
    assert "ImageNet" in text and "link http" in text
    assert any("no file of VGG16 is named" in text for text in missing)
    assert found["SLURM"][0][0] == "note" and "there is no SLURM here" in found["SLURM"][0][1]


def test_a_target_asks_for_its_own_teachers_alone(here, capsys):
    _, found, _ = said(capsys, "--study", "paper", "--target", "teacher")
    (said_,) = [text for _, text in found["weights"] if "V-JEPA" in text]
    assert said_ == (
        "weights/vjepa2_1_vitb_dist_vitG_384.pt (teacher V-JEPA 2.1-B) is not there; put the file "
        "there (facebookresearch/vjepa2, link "
        "https://dl.fbaipublicfiles.com/vjepa2/vjepa2_1_vitb_dist_vitG_384.pt, 1,664,223,428 "
        "bytes, sha256 848a77c33cc9e6649ed2119c9bea1e2c569bcdab9539ff3e7c02ccc2959ddf4d, licence "
        "unknown, size and sha256 as third parties who had the file state them), or change "
        "teachers.vjepa2.weights."
    )
    _, found, _ = said(capsys, "--study", "paper", "--target", "reconstruction")
    assert not any("V-JEPA" in text or "DINOv3" in text for _, text in found["weights"])


def test_a_teachers_file_of_another_size_or_hash_is_said(here, capsys, monkeypatch):
    """An interrupted download: the size alone tells, the file is not read."""
    path = here / "weights/vjepa2_1_vitb_dist_vitG_384.pt"
    path.parent.mkdir()
    path.write_bytes(b"PK")
    _, found, _ = said(capsys, "--study", "paper", "--target", "teacher")
    ((state, text),) = [line for line in found["weights"] if "V-JEPA" in line[1]]
    assert state == "missing" and "has 2 bytes, not 1,664,223,428; download it again" in text
    with path.open("r+b") as file:
        file.truncate(1_664_223_428)  # sparse: no such bytes are written
    for digest, state in (("0" * 64, "missing"), (VJEPA2, "ok")):
        monkeypatch.setattr(weights, "sha256", lambda _, digest=digest: digest)
        _, found, _ = said(capsys, "--study", "paper", "--target", "teacher")
        ((found_state, text),) = [line for line in found["weights"] if "V-JEPA" in line[1]]
        assert found_state == state and f"sha256 {digest}" in text


def test_what_is_there_is_ok(here, capsys):
    for name in FILES:
        path = here / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    for split in ("train", "val"):
        for number in range(1000):
            (here / "data/imagenet" / split / f"n{number:08}").mkdir(parents=True)
    _, found, _ = said(capsys, "--study", "paper", "--target", "temperature")
    assert [state for state, _ in found["data"]] == ["ok", "ok", "missing"]
    assert "hold no images; remove them or fill them" in found["data"][2][1]
    known = [line for line in found["weights"] if "VGG16" not in line[1]]
    assert [state for state, _ in known] == ["ok", "ok", "missing"]
    assert "sha256 e3b0c442" in known[0][1] and "not known before" in known[0][1]
    assert "has sha256 e3b0c442" in known[2][1] and "not 6726825d" in known[2][1]  # Inception's
    assert found["reference"][0][0] == "ok"


def test_what_was_imported_is_not_asked_for(here, capsys):
    for folder in ("public/vq", "teacher/dinov2", "features"):
        path = here / "results/paper" / folder / "weights.safetensors"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"")
    _, found, _ = said(capsys, "--study", "paper", "--target", "temperature")
    assert "reference" not in found
    assert all("VGG16" in text for _, text in found["weights"])


def test_a_full_disk_is_said(here, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2e9, 1e9, 1e9))
    _, found, _ = said(capsys, "--study", "paper", "--target", "temperature")
    ((state, text),) = found["disk"]
    assert state == "missing" and text.startswith("1.0 GB are free at ")
    assert "free some, or work in a clone on a larger disk" in text and "link" not in text


def test_results_behind_a_link_are_said(here, capsys):
    (here / "large").mkdir()
    (here / "results").symlink_to("large")
    _, found, _ = said(capsys, "--study", "demo")
    state, text = found["disk"][1]
    assert state == "note" and "results is a link, and git and DVC do not go through links" in text
    (here / ".dvc").mkdir()
    with pytest.raises(SystemExit, match="gear: results is a link.*mount --bind"):
        cli.main(["artifacts", "save", "results/demo"])


def test_a_cluster_that_cannot_run_the_jobs_is_said(here):
    study = Study("paper")
    for name in slurm.PROGRAMS:
        program(here / "bin", name, "exit 1")
    program(here / "bin", "sinfo", f"printf '%s' '{SINFO}'")
    program(here / "bin", "scontrol", f"printf '%s' '{CONFIG}'")
    found = doctor.cluster(study)
    assert {f.state for f in found} == {"missing"}
    assert any("train_ar asks for 8 GPUs of a node, but partition 'batch'" in f.said for f in found)
    program(here / "bin", "sinfo", "echo 'big*|infinite|9|64|512000|gpu:8'")
    (found,) = doctor.cluster(study)
    assert found.state == "ok" and "no accounting, squeue is asked" in found.said
    profile = here / slurm.PROFILE
    text = profile.read_text()
    profile.write_text(text + "set-resources:\n  draw: {slurm_partition: bigg}\n")
    (found,) = doctor.cluster(study)
    assert "draw asks for partition 'bigg'" in found.said and "Did you mean 'big'" in found.said
    profile.write_text(text.replace("status-command: squeue", "status-command: sacct"))
    (found,) = doctor.cluster(study)
    assert "keeps no accounting" in found.said


def test_mistakes_are_one_sentence(here):
    with pytest.raises(SystemExit, match="gear: study 'paper' has no target 'tempreture'"):
        cli.main(["doctor", "--study", "paper", "--target", "tempreture"])


def test_elsewhere_it_says_where_to_go(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="gear doctor works in the repository's top folder; go"):
        cli.main(["doctor", "--study", "smoke"])
