"""The report in a real browser. Skipped where no Chromium is installed."""

import re
import shutil
import subprocess
from dataclasses import replace
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


def browse(page: Path, profile: Path, *flags: str, fragment: str = "") -> tuple[str, str]:
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri() + fragment]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return ended.stdout, ended.stderr


def test_markup_in_texts_labels_and_answers_stays_inert(tmp_path):
    page = report.write(tmp_path / "page.html", [attacked(number) for number in range(4)], title="safe", lead=ATTACK)
    dom, log = browse(page, tmp_path / "profile", "--dump-dom")
    assert re.search(r"<title>safe</title>", dom)
    assert "<img" not in dom
    assert "4 of 4 shown" in dom  # the page's own script ran
    assert not re.search(r"CONSOLE.*(error|Refused|blocked)", log, re.IGNORECASE)


FOLDED = 'aria-expanded="false">The answer of the model</button><div class="folded" hidden="until-found">'
SHOWN = 'aria-expanded="true">The answer of the model</button><div class="folded">'


@pytest.mark.parametrize(("clicks", "expected"), [(0, FOLDED), (1, SHOWN), (2, FOLDED)], ids=["no click", "one", "two"])
def test_a_button_shows_and_hides_what_follows_it(tmp_path, clicks, expected):
    page = report.write(tmp_path / "page.html", [attacked(0)])
    # without the page's policy, which would refuse the clicks of the test
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text("utf-8"))
    click = "<script>document.querySelector('.fold').click()</script>"
    page.write_text(html.replace("</body>", click * clicks + "</body>"), "utf-8")
    assert expected in browse(page, tmp_path / "profile", "--dump-dom")[0]


def test_the_browser_s_search_shows_what_it_finds_in_folded_text(tmp_path):
    found = attacked(0).extraction.model_copy(update={"answer": "Zanzibar"})
    page = report.write(tmp_path / "page.html", [replace(attacked(0), extraction=found)])
    assert SHOWN in browse(page, tmp_path / "profile", "--dump-dom", fragment="#:~:text=Zanzibar")[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_has_the_colours_of_the_scheme(tmp_path, scheme):
    page = report.write(tmp_path / "page.html", [attacked(0)])
    picture = tmp_path / "page.png"
    forced = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=900,700", *forced)
    image = pytest.importorskip("PIL.Image")
    red, green, blue = image.open(picture).convert("RGB").getpixel((5, 5))
    assert (red + green + blue > 700) == (scheme == "light")
