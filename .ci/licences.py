"""Lists the licences of everything that ruie-components installs, in docs/licences.md.

Run it in an environment with every extra:  python .ci/licences.py [--check]

With --check nothing is written; the exit status is 1 where the file is not current or a licence is not allowed.
"""

import re
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "licences.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
UNLISTED = ("dev", "all")  # the tools of this project's developers, and the union of other extras
EXTRAS = ("", *(extra for extra in PROJECT["optional-dependencies"] if extra not in UNLISTED))
COPYLEFT = re.compile(r"\b(A?GPL|GNU (Affero )?General Public)", re.IGNORECASE)
SHORT = {
    **dict.fromkeys(
        ("Apache Software License", "Apache 2.0", "Apache License 2.0", "Apache License, Version 2.0", "Apache2.0"),
        "Apache-2.0",
    ),
    **dict.fromkeys(("Apache-2", "Apache License", "Apache 2.0 License", "Apache"), "Apache-2.0"),
    **dict.fromkeys(["3-Clause BSD License", "BSD 3-Clause License"], "BSD-3-Clause"),
    **dict.fromkeys(["MIT License", "MIT license"], "MIT"),
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
    "The Unlicense (Unlicense)": "Unlicense",
}
HEAD = """\
# Licences

ruie-components is under the MIT licence, its starter pool under CC0. This is everything that it installs, at the versions of
`constraints.txt`, on Linux with the CPU build of torch; the CUDA build brings NVIDIA's libraries under their own terms. What an
extra adds to the base install is listed under it. `python .ci/licences.py` writes the page from the packages' own metadata;
`make release-check` refuses a page that is not current, and licences of the GPL family.
"""


def main() -> int:
    """Write or check the page."""
    page, refused = write()
    for name, licence in refused:
        print(f"{name}: {licence} is not allowed", file=sys.stderr)
    if "--check" not in sys.argv:
        PAGE.write_text(page, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != page:
        print(f"{PAGE} is not current: run python .ci/licences.py", file=sys.stderr)
        return 1
    return bool(refused)


def write() -> tuple[str, list[tuple[str, str]]]:
    """The page, and the packages whose licence is not allowed."""
    parts, listed, refused = [HEAD], set[str](), []
    for extra in EXTRAS:
        new = {name: found for name, found in closure(extra).items() if name not in listed}
        if not extra:
            listed |= set(new)
        rows = []
        for found in sorted(new.values(), key=lambda one: one.name.lower()):
            licence = licence_of(found)
            rows.append(f"| {found.name} | {found.version} | {licence} |")
            if COPYLEFT.search(licence) and " OR " not in licence and "LGPL" not in licence:
                refused.append((found.name, licence))
        title = f"Extra [{extra}]" if extra else "Base install"
        table = ["| package | version | licence |", "|---|---|---|", *rows] if rows else ["Nothing more."]
        parts.append("\n".join([f"\n## {title}\n", *table]) + "\n")
    return "".join(parts), list(dict.fromkeys(refused))


def closure(extra: str) -> dict[str, Distribution]:
    """All packages that the base install and an extra need, by name."""
    needed: dict[str, set[str]] = defaultdict(set)
    waiting = [named(line) for line in PROJECT["dependencies"] + PROJECT["optional-dependencies"].get(extra, [])]
    while waiting:
        name, extras = waiting.pop()
        if extras <= needed[name]:
            continue
        needed[name] |= extras
        try:
            found = distribution(name)
        except PackageNotFoundError:
            sys.exit(f"{name} is not installed: run this in an environment with every extra")
        for line in found.requires or ():
            marker = Requirement(line).marker
            if marker is None or any(marker.evaluate({"extra": each}) for each in extras):
                waiting.append(named(line))
    return {name: distribution(name) for name in needed}


def named(line: str) -> tuple[str, frozenset[str]]:
    """A requirement's name and extras; the empty extra stands for what is needed always."""
    requirement = Requirement(line)
    return canonicalize_name(requirement.name), frozenset({"", *requirement.extras})


def licence_of(found: Distribution) -> str:
    """The licence by its SPDX expression, else by classifiers, else by the first line of the free text."""
    metadata = found.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    licences = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    classifiers = [SHORT.get(one, one) for one in licences if one != "OSI Approved"]
    if classifiers:
        return ", ".join(dict.fromkeys(classifiers))
    text = (metadata.get("License") or "").strip().splitlines()
    first = text[0].strip() if text else "not stated"
    return SHORT.get(first, first)[:60]


if __name__ == "__main__":
    sys.exit(main())
