"""The job scripts are shell, and their signals are those that a launch ends by."""

import re
import subprocess
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parents[1] / "examples" / "slurm").glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_job_script_is_shell_and_passes_its_signal_on_to_the_launch(script: Path) -> None:
    done = subprocess.run(["bash", "-n", str(script)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = script.read_text()
    (sent,) = re.findall(r"^#SBATCH --signal=B:(\w+)@\d+$", text, re.MULTILINE)
    assert re.search(rf"kill -{sent} \"\$launch\"", text)
