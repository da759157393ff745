"""Targets of the Makefile whose tests would skip where something is absent fail there instead."""

import shutil
import subprocess
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKE = shutil.which("make")

pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make(target: str, path: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    """``make target`` with only the programs in a folder."""
    command = [MAKE, target, *(f"{name}={value}" for name, value in variables.items())]
    return subprocess.run(command, cwd=ROOT, env={"PATH": str(path)}, capture_output=True, text=True, timeout=120)


@pytest.fixture
def programs(tmp_path):
    """A folder with a shell and a java that runs."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "sh").symlink_to(shutil.which("sh"))
    (folder / "java").symlink_to(shutil.which("true"))
    return folder


def test_the_cluster_tests_fail_without_java(programs, tmp_path):
    (programs / "java").unlink()
    ended = make("test-clusters", programs, CLUSTER_VENV=tmp_path / "clusters")
    assert ended.returncode != 0
    assert "Spark needs Java 17" in ended.stdout
    assert not (tmp_path / "clusters").exists()  # before anything is installed


def test_the_cluster_tests_fail_without_their_engines(programs, tmp_path):
    clusters = tmp_path / "clusters"
    venv.create(clusters, with_pip=False)
    (clusters / ".ready").touch()
    ended = make("test-clusters", programs, CLUSTER_VENV=clusters)
    assert ended.returncode != 0
    assert "Ray Data or Spark cannot be imported" in ended.stdout
    assert "bin/pytest" not in ended.stdout
