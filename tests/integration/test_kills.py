"""A few kills of each command that writes; ``make stress`` makes 200 of each."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "stress" / "kills.py"


@pytest.mark.slow
@pytest.mark.parametrize("command", ["index", "extract"])
def test_a_killed_command_loses_nothing_and_resumes(tmp_path, encoder_folder, command):
    options = ["--kills", "3", "--rows", "600", "--encoder", str(encoder_folder)]
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *options, command],
        capture_output=True,
        text=True,
        timeout=280,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith(f"{command}: 3 kills")
