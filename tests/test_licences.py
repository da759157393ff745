"""docs/licences.md has every extra of pyproject.toml. ``make release-check`` compares versions and licences too."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}
UNLISTED = {"dev", "all"}


def listed() -> dict[str, set[str]]:
    """The packages in each section of the page: of the base install under an empty name."""
    _, *sections = (ROOT / "docs" / "licences.md").read_text("utf-8").split("\n## ")
    names = [re.match(r"(?:Base install|Extra \[(.+)\])\n", section)[1] or "" for section in sections]
    rows = [re.findall(r"^\| (\S+) \| [^ |]+ \|", section, re.MULTILINE) for section in sections]
    return {name: set(map(canonicalize_name, of_section)) for name, of_section in zip(names, rows, strict=True)}


def test_the_page_has_a_section_for_every_extra_and_no_other():
    assert set(listed()) == set(EXTRAS) - UNLISTED


@pytest.mark.parametrize("extra", sorted(set(EXTRAS) - UNLISTED))
def test_what_an_extra_names_is_listed_under_it_or_in_the_base_install(extra):
    sections = listed()
    required = {canonicalize_name(Requirement(line).name) for line in EXTRAS[extra]}
    assert required
    assert required <= sections[""] | sections[extra]
