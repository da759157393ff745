"""The page of all commands is the one that Typer writes."""

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"


def test_the_page_of_all_commands_is_current(tmp_path):
    arguments = ["utils", "docs", "--name", "ruie", "--title", "Command line", "--output", str(tmp_path / "cli.md")]
    subprocess.run(
        [sys.executable, "-m", "typer", "ruie_components.cli.app", *arguments], check=True, cwd=PAGE.parents[2]
    )
    assert PAGE.read_text("utf-8") == (tmp_path / "cli.md").read_text("utf-8"), (
        f"write it again: python -m typer ruie_components.cli.app {' '.join(map(repr, arguments[:-1]))} {PAGE}"
    )
