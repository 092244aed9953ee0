"""Progress in a log: of what this run did, the rate, the time and how much sound that is."""

from types import SimpleNamespace

import pytest

from ssenv_core.base import progress
from ssenv_core.base.progress import Progress


@pytest.fixture
def sleep(monkeypatch):
    """Moves the clock, which stands still otherwise."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: clock.now))
    monkeypatch.setattr(progress, "live_front_end", lambda: False)
    return lambda seconds: setattr(clock, "now", clock.now + seconds)


def test_a_line_every_so_often_and_one_at_the_end(sleep, capsys):
    with Progress(100, "train", "clip") as shown:
        for _ in range(50):
            sleep(1)
            shown.update(2, note="loss 4.21")
    assert capsys.readouterr().out.splitlines() == [
        "train: 40/100 clip, 2 clip/s, 30 s left, loss 4.21",
        "train: 80/100 clip, 2 clip/s, 10 s left, loss 4.21",
        "train: 100/100 clip, 2 clip/s, done in 50.0 s, loss 4.21",
    ]


def test_the_end_is_said_once_even_when_a_line_is_due(sleep, capsys):
    with Progress(2, "train", "clip") as shown:
        sleep(50)
        shown.update(2)
    assert capsys.readouterr().out.splitlines() == ["train: 2/2 clip, 0.04 clip/s, done in 50.0 s"]


def test_rates_are_those_of_this_run(sleep, capsys):
    with Progress(100, "tokenize", "clip", initial=90, sound=5.0) as shown:
        for _ in range(10):
            sleep(0.25)
            shown.update()
    sleep(1)
    assert (shown.rate, shown.elapsed) == (4.0, 2.5)
    assert (
        capsys.readouterr().out
        == "tokenize: 100/100 clip, 4 clip/s, done in 2.5 s, 20.0 x real time\n"
    )


def test_a_run_that_had_nothing_to_do_says_nothing(sleep, capsys):
    with Progress(10, "tokenize", "clip", initial=10, sound=5.0):
        sleep(1)
    assert capsys.readouterr().out == ""
