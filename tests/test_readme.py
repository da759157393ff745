"""Every Python snippet of the README and the how-to guides runs as it stands, and prints what stands below it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs" / "how-to").glob("*.md"))]
SNIPPET = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL)
SNIPPETS = [
    pytest.param(match["code"], match["output"], id=f"{page.stem}-{number}")
    for page in PAGES
    for number, match in enumerate(SNIPPET.finditer(page.read_text("utf-8")))
]


def test_there_are_snippets_and_they_show_their_output():
    assert len([snippet for snippet in SNIPPETS if snippet.id.startswith("README")]) >= 4
    assert [snippet.id for snippet in SNIPPETS if not snippet.values[1]] == []


@pytest.mark.parametrize(("code", "output"), SNIPPETS)
def test_a_snippet_prints_what_its_page_says(code, output, tmp_path):
    script = tmp_path / "snippet.py"
    script.write_text(code, "utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target
