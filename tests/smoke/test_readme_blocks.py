"""The README's blocks fenced `sh` and `python` are executed in order, with smoke for demo."""

import subprocess
import sys

from documents import blocks


def test_the_blocks_run_in_order(checkout):
    text = (checkout.folder / "README.md").read_text(encoding="utf-8")
    (checkout.folder / ".venv").symlink_to(sys.prefix)
    environment = checkout.environment() | {"STUDY": "smoke"}
    ran = []
    for language, block in blocks(text.replace("demo", "smoke"), ("sh", "python")):
        program = ["bash", "-ec"] if language == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*program, block], cwd=checkout.folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        ran.append((language, done.stdout))
    assert [language for language, _ in ran].count("python") == 1
    assert "torch.Size([16, " in dict(ran)["python"]
    assert (checkout.folder / "reproduced/smoke/tables/overview.md").is_file()
