"""The report in a real browser. Skipped where no Chromium is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ruie_components import Extraction, report
from ruie_components.extraction import ExtractionResult, Usage

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--virtual-time-budget=5000", "--enable-logging=stderr",
]  # fmt: skip

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")

ATTACK = "</script><script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"


def attacked(number: int) -> ExtractionResult:
    text = f"Ada {number} {ATTACK} Bob"
    ada = {"type": f"knows{ATTACK}", "text": "Ada", "start": 0, "end": 3}
    found = Extraction(task="NER", text=text, labels=[f"knows{ATTACK}"], entities=[ada], answer=ATTACK)
    return ExtractionResult(found, None, Usage(), ATTACK if number % 2 else None)


def browse(page: Path, profile: Path, *flags: str) -> tuple[str, str]:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout, ended.stderr


def test_markup_in_texts_labels_and_answers_stays_inert(tmp_path):
    page = report.write(tmp_path / "page.html", [attacked(number) for number in range(4)], title="safe", lead=ATTACK)
    dom, log = browse(page, tmp_path / "profile", "--dump-dom")
    assert re.search(r"<title>safe</title>", dom)
    assert "<img" not in dom
    assert "4 of 4 shown" in dom  # the page's own script ran
    assert not re.search(r"CONSOLE.*(error|Refused|blocked)", log, re.IGNORECASE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_has_the_colours_of_the_scheme(tmp_path, scheme):
    page = report.write(tmp_path / "page.html", [attacked(0)])
    picture = tmp_path / "page.png"
    forced = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=900,700", *forced)
    image = pytest.importorskip("PIL.Image")
    red, green, blue = image.open(picture).convert("RGB").getpixel((5, 5))
    assert (red + green + blue > 700) == (scheme == "light")
