"""Every Python snippet of the README runs as it stands, and prints what stands below it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"
SNIPPET = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL)
SNIPPETS = [(found["code"], found["output"]) for found in SNIPPET.finditer(README.read_text("utf-8"))]


def test_there_are_snippets_and_they_show_their_output():
    assert len(SNIPPETS) >= 4
    assert all(output for _, output in SNIPPETS)


@pytest.mark.parametrize(("code", "output"), SNIPPETS, ids=range(len(SNIPPETS)))
def test_a_snippet_prints_what_the_readme_says(code, output, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(code, "utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text("utf-8")):
        assert (README.parent / target).exists(), target
