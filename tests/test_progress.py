"""The bar: seen where work takes longer than a second, and only there."""

import threading
import time

import pytest

from ruie_components import progress
from ruie_components.progress import track


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.05)


def test_a_first_step_that_takes_long_shows_the_bar_while_it_is_under_way(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as in a terminal, where the bar is drawn at once
    with track("extract", total=3):
        end = time.monotonic() + 5
        shown = ""
        while "extract" not in shown and time.monotonic() < end:
            time.sleep(0.05)
            shown += capsys.readouterr().err
    assert "extract" in shown
    assert capsys.readouterr().out == ""


def test_steps_before_the_bar_are_counted(capsys):
    with track("index", total=3) as advance:
        advance(2)
        time.sleep(0.3)
    assert "2/3" in capsys.readouterr().err


@pytest.mark.parametrize("enabled", [True, False])
def test_short_work_and_work_that_wants_none_show_no_bar(capsys, monkeypatch, enabled):
    monkeypatch.setattr(progress, "PATIENCE", 30 if enabled else 0.01)
    before = threading.active_count()
    with track("index", total=3, enabled=enabled) as advance:
        advance(3)
        time.sleep(0.1)
    assert capsys.readouterr() == ("", "")
    for _ in range(100):
        if threading.active_count() <= before:
            return
        time.sleep(0.02)
    raise AssertionError("the bar's clock goes on")


def test_work_that_fails_takes_the_bar_along(capsys):
    def fail():
        time.sleep(0.3)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"), track("index"):
        fail()
    shown = capsys.readouterr().err
    time.sleep(0.3)
    assert "index" in shown
    assert capsys.readouterr().err == ""
