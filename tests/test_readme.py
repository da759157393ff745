"""Every Python snippet of the README and the documentation runs as it stands, and prints what stands below it."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
LINKING = [*PAGES, *(page for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("*/README.md")]) if page != README)]
SNIPPET = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL)


def snippets(*pages):
    return [
        pytest.param(match["code"], match["output"], id=f"{page.stem}-{number}")
        for page in pages
        for number, match in enumerate(SNIPPET.finditer(page.read_text("utf-8")))
    ]


def skip_without_its_package(code):
    if "llama_index" in code:
        pytest.importorskip("llama_index.core", reason="LlamaIndex is not installed")
    if "mcp" in code:
        pytest.importorskip("mcp", reason="the MCP SDK is not installed")


def test_there_are_snippets_and_they_show_their_output():
    assert snippets(README)
    assert len(snippets(*PAGES)) >= 17
    assert [snippet.id for snippet in snippets(*PAGES) if not snippet.values[1]] == []


@pytest.mark.parametrize(("code", "output"), snippets(README))
def test_a_snippet_prints_what_the_readme_says(code, output, tmp_path):
    skip_without_its_package(code)
    script = tmp_path / "snippet.py"
    script.write_text(code, "utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


@pytest.mark.parametrize(("code", "output"), snippets(*PAGES[1:]))
def test_a_snippet_prints_what_its_guide_says(code, output, tmp_path, monkeypatch, capsys):
    skip_without_its_package(code)
    script = tmp_path / "snippet.py"
    script.write_text(code, "utf-8")
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(script))  # in this process, which has loaded what all guides use
    assert capsys.readouterr().out == output


@pytest.mark.parametrize("page", LINKING, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files_and_headings(page):
    for target, heading in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)", page.read_text("utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        assert not heading or heading in headings(linked), f"{target}#{heading}"


def headings(page):
    """The anchors of a page, as MkDocs and GitHub make them of its headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
