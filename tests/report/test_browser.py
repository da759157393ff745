"""The report in a real browser. Skipped where no Chromium is installed."""

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ruie_components import Demonstration, Example, Extraction, Query, report
from ruie_components.extraction import ExtractionResult, Usage
from ruie_components.prompts import build_prompt

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


def many(number: int) -> ExtractionResult:
    """One of many results: a label of seventeen, and every tenth without anything extracted."""
    text = f"Ada {number} wrote to Bob about the harbour of a town that has {'a very ' * 20}long name."
    labels = [*(f"label {index}" for index in range(16)), "a_label_without_a_space_that_is_wider_than_a_telephone"]
    ada = {"type": labels[number % 17], "text": "Ada", "start": 0, "end": 3}
    town = {"type": labels[-1], "text": text[30:], "start": 30, "end": len(text)}
    found = Extraction(task="NER", text=text, labels=labels, entities=[ada, town] if number % 10 else [])
    shown = Example(task="NER", text="Cy slept.", labels=labels, entities=[])
    prompt = build_prompt(Query(task="NER", text=text, labels=labels), [Demonstration(example=shown, score=0.5)])
    return ExtractionResult(found, prompt, Usage(demonstrations=1))


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
    scripted(page, "document.querySelector('.fold').click();" * clicks)
    assert expected in browse(page, tmp_path / "profile", "--dump-dom")[0]


def test_the_browser_s_search_shows_what_it_finds_in_folded_text(tmp_path):
    found = attacked(0).extraction.model_copy(update={"answer": "Zanzibar"})
    page = report.write(tmp_path / "page.html", [replace(attacked(0), extraction=found)])
    assert SHOWN in browse(page, tmp_path / "profile", "--dump-dom", fragment="#:~:text=Zanzibar")[0]


def scripted(page: Path, script: str) -> None:
    """Add a script to a page, and remove the policy that would refuse it."""
    html = re.sub(r"<meta http-equiv[^>]*>", "", page.read_text("utf-8"))
    page.write_text(html.replace("</body>", f"<script>{script}</script></body>"), "utf-8")


def test_two_hundred_results_have_totals_an_index_and_filters(tmp_path):
    page = report.write(tmp_path / "page.html", [many(number) for number in range(200)])
    html = page.read_text("utf-8")
    assert all(
        f"<b>{n}</b> {what}" in html for n, what in ((200, "results"), (360, "items"), (20, "nothing extracted"))
    )
    assert html.count('<li><a href="#r') == 200
    assert html.count('<div class="folded" hidden="until-found">') == 400  # demonstrations and prompt of each
    scripted(
        page,
        "const set = (id, value) => { const control = document.getElementById(id); control.value = value;"
        "  control.dispatchEvent(new Event('input')); return document.getElementById('status').textContent; };"
        "document.title = [set('label', 'label 3'), set('label', ''), set('problem', 'nothing-extracted'),"
        "  set('search', 'ADA 170'), document.querySelectorAll('article:not([hidden])').length,"
        "  document.querySelectorAll('.index li:not([hidden])').length].join('; ');",
    )
    dom, _ = browse(page, tmp_path / "profile", "--dump-dom")
    title = re.search(r"<title>(.*?)</title>", dom)[1].split("; ")
    expected = sum(number % 17 == 3 and number % 10 > 0 for number in range(200))
    shown = [f"{count} of 200 shown" for count in (expected, 200, 20, 1)]
    assert title == [*shown, "1", "1"]


def test_a_narrow_page_does_not_scroll_sideways(tmp_path):
    page = report.write(tmp_path / "page.html", [many(3)], gold=[None])
    clicks = "document.querySelectorAll('.fold').forEach((button) => button.click());"
    scripted(page, f"{clicks} parent.postMessage(`${{innerWidth}} ${{document.documentElement.scrollWidth}}`, '*');")
    phone = tmp_path / "phone.html"  # no window of Chromium is that narrow
    listen = "addEventListener('message', (event) => { document.title = event.data; });"
    phone.write_text(f"<title></title><script>{listen}</script><iframe width=360 height=800 src=page.html></iframe>")
    dom, _ = browse(phone, tmp_path / "profile", "--dump-dom")
    width, content = map(int, re.search(r"<title>(\d+) (\d+)</title>", dom).groups())
    assert width == 360
    assert content <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_screenshot_has_the_colours_of_the_scheme(tmp_path, scheme):
    page = report.write(tmp_path / "page.html", [attacked(0)])
    picture = tmp_path / "page.png"
    forced = ["--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    browse(page, tmp_path / "profile", f"--screenshot={picture}", "--window-size=900,700", *forced)
    image = pytest.importorskip("PIL.Image")
    red, green, blue = image.open(picture).convert("RGB").getpixel((5, 5))
    assert (red + green + blue > 700) == (scheme == "light")
