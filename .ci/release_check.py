"""Builds wheel and sdist, and tries each in a new environment without torch: ``make release-check``.

Checked are the files inside, sizes, metadata, the version, the demo, and the Python snippets of the README.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from collections.abc import Callable
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).parents[1]
MAX_MEGABYTES = {".whl": 20, ".gz": 20}
NEEDED = (
    "ruie_components/py.typed", "ruie_components/assets/encoder/vectors.npz", "ruie_components/assets/starter_pool/LICENSE",
    "ruie_components/prompts/instructions/NER.txt", "ruie_components/report/style.css", "ruie_training/py.typed",
)  # fmt: skip
UNWANTED = re.compile(r"(^|/)(tests?|benchmarks|notebooks|shared|\.git|__pycache__)/|\.(pyc|sqlite)$")
SNIPPET = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<output>.*?)```)?", re.DOTALL)
EXTRA_OF = {"llama_index": "llama-index"}  # snippets that need an extra, told by what they import


def main() -> None:
    """All checks, one after the other; the first that fails ends the run."""
    version = one_version()
    with tempfile.TemporaryDirectory() as folder:
        dist = Path(folder) / "dist"
        step("build wheel and sdist", lambda: run(sys.executable, "-m", "build", "--outdir", dist, ROOT))
        wheel, sdist = next(dist.glob("*.whl")), next(dist.glob("*.tar.gz"))
        for path in (wheel, sdist):
            step(f"contents of {path.name}", lambda path=path: check_contents(path, version))
        step("metadata", lambda: run(sys.executable, "-m", "twine", "check", "--strict", wheel, sdist))
        for path in (wheel, sdist):
            step(f"demo and snippets from {path.name}", lambda path=path: try_out(path, Path(folder), version))
    print(f"ruie-components {version} can be released")


def step(name: str, check: Callable[[], object]) -> None:
    """Run one check and say how it went."""
    start = time.monotonic()
    print(f"{name} ...", flush=True)
    check()
    print(f"{name}: passed, {time.monotonic() - start:.0f} s", flush=True)


def one_version() -> str:
    """The version of ``_version.py``; the changelog and the citation file must have the same."""
    version = re.search(r'__version__ = "(.+)"', (ROOT / "ruie_components" / "_version.py").read_text("utf-8"))[1]
    for name, line in (("CITATION.cff", f"\nversion: {version}\n"), ("CHANGELOG.md", version)):
        if line not in (ROOT / name).read_text("utf-8"):
            sys.exit(f"{name} does not name version {version} of ruie_components/_version.py")
    return version


def check_contents(path: Path, version: str) -> None:
    """What a distribution holds, its size and its version."""
    megabytes = path.stat().st_size / 1e6
    if megabytes > MAX_MEGABYTES[path.suffix]:
        sys.exit(f"{path.name} has {megabytes:.1f} MB; at most {MAX_MEGABYTES[path.suffix]} are allowed")
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            (metadata,) = (archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
    else:
        with tarfile.open(path) as archive:
            names = [name.partition("/")[2] for name in archive.getnames()]
            metadata = archive.extractfile(f"{path.name.removesuffix('.tar.gz')}/PKG-INFO").read().decode()
    fields = Parser().parsestr(metadata)
    if fields["Version"] != version or not fields["Requires-Python"] or fields["License-Expression"] != "MIT":
        sys.exit(f"{path.name}: wrong metadata: {fields.items()}")
    missing = [name for name in NEEDED if not any(name in (each, each.removeprefix("training/")) for each in names)]
    unwanted = [name for name in names if UNWANTED.search(name)]
    if missing or unwanted:
        sys.exit(f"{path.name}: missing {missing}, unwanted {unwanted[:10]}")
    print(f"  {megabytes:.1f} MB, {len(names)} files")


def try_out(path: Path, folder: Path, version: str) -> None:
    """Install a distribution in a new environment, and run the demo and the README's snippets from there."""
    environment, empty = folder / f"env{path.suffix}", folder / f"cwd{path.suffix}"
    venv.create(environment, with_pip=True)
    empty.mkdir()
    python, ruie = environment / "bin" / "python", environment / "bin" / "ruie"
    install(python, str(path))
    absent = (
        "import importlib.util as u, sys; sys.exit(any(map(u.find_spec, ['torch', 'transformers', 'llama_index'])))"
    )
    run(python, "-c", absent, cwd=empty)
    if version not in run(ruie, "--version", cwd=empty):
        sys.exit(f"ruie --version does not say {version}")
    run(ruie, "demo", "--model", "baseline", cwd=empty)
    if not (empty / "report.html").stat().st_size:
        sys.exit("the demo wrote no report")
    if "ruie-components[train]" not in run(ruie, "train", "small", "--data", ".", "--out", "x", cwd=empty, status=1):
        sys.exit("ruie train does not name the extra that it needs")
    installed = set()
    for match in sorted(SNIPPET.finditer((ROOT / "README.md").read_text("utf-8")), key=lambda one: bool(extras(one))):
        for extra in extras(match) - installed:
            install(python, f"{path}[{extra}]")
            installed.add(extra)
        output = run(python, "-c", match["code"], cwd=empty)
        if match["output"] and output != match["output"]:
            sys.exit(f"a snippet of the README printed\n{output}\ninstead of\n{match['output']}")


def extras(snippet: re.Match[str]) -> set[str]:
    """The extras that a snippet needs."""
    return {extra for module, extra in EXTRA_OF.items() if module in snippet["code"]}


def install(python: Path, *packages: str) -> None:
    """Install at the versions of constraints.txt."""
    run(python, "-m", "pip", "--disable-pip-version-check", "-q", "install", "-c", ROOT / "constraints.txt", *packages)


def run(*command: object, cwd: Path | None = None, status: int = 0) -> str:
    """Run a command without this checkout on its path; its output, with standard error where it should fail."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, cwd=cwd, env=environment
    )
    if done.returncode != status:
        sys.exit(f"{' '.join(map(str, command))[:300]}\nended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout if status == 0 else done.stdout + done.stderr


if __name__ == "__main__":
    main()
