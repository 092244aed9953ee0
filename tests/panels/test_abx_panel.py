"""The ABX panel: the sounds to choose from, A and B at one level, X, and the count of answers."""

from base64 import b64decode
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from ssenv_core.panels.abx import AbxPanel

RATE = 24_000


def noise(level: float, seed: int) -> np.ndarray:
    return (
        (level * np.random.default_rng(seed).standard_normal(4800)).clip(-1, 1).astype(np.float32)
    )


@pytest.fixture
def panel() -> AbxPanel:
    return AbxPanel(
        RATE,
        {"loud": noise(0.3, 0), "quiet": noise(0.05, 1), "nothing": np.zeros(4800, np.float32)},
    )


def heard(panel: AbxPanel) -> dict[str, np.ndarray]:
    return {
        sound["key"]: soundfile.read(BytesIO(b64decode(sound["url"].partition(",")[2])))[0]
        for sound in panel.player.sounds
    }


def compare(panel: AbxPanel, a: str, b: str) -> None:
    panel.menus[0].value, panel.menus[1].value = a, b
    panel.compare.click()


def test_a_and_b_have_one_level_and_x_is_one_of_them(panel: AbxPanel) -> None:
    compare(panel, "loud", "quiet")
    wavs = heard(panel)
    loudness = {key: float(np.sqrt(np.mean(wav**2))) for key, wav in wavs.items()}
    assert loudness["a"] == pytest.approx(loudness["b"], rel=0.02)
    assert loudness["b"] == pytest.approx(0.05, rel=0.05)
    np.testing.assert_array_equal(wavs["x"], wavs["ab"[panel.trials.x]])
    assert "equal RMS" in panel.box.children[0].value


def test_answers_are_counted_and_x_is_what_the_next_trial_drew(panel: AbxPanel) -> None:
    compare(panel, "loud", "quiet")
    for count in range(1, 4):
        panel.answers[panel.trials.x].click()
        assert f"Right: {count} of {count} so far" in panel.verdict.value
        wavs = heard(panel)
        np.testing.assert_array_equal(wavs["x"], wavs["ab"[panel.trials.x]])
    panel.answers[1 - panel.trials.x].click()
    assert "Wrong: 3 of 4 so far, p 0.31" in panel.verdict.value


def test_every_answer_resets_the_player_so_that_it_does_not_tell_whether_x_is_the_same(
    panel: AbxPanel,
) -> None:
    compare(panel, "loud", "quiet")
    resets = []
    panel.player.observe(lambda change: resets.append(panel.trials.x), names="sounds")
    for _ in range(20):
        panel.answers[0].click()
    assert len(resets) == 20
    assert any(one == other for one, other in pairwise(resets))  # also where it is


@pytest.mark.parametrize(
    ("a", "b", "line"), [("loud", "loud", "two different"), ("loud", "nothing", "silent")]
)
def test_what_cannot_be_compared_is_one_line_and_leaves_nothing_to_play_or_answer(
    panel: AbxPanel, a: str, b: str, line: str
) -> None:
    compare(panel, "loud", "quiet")
    compare(panel, a, b)
    assert line in panel.verdict.value
    assert panel.player.sounds == []
    assert all(button.disabled for button in panel.answers)


def test_a_sound_on_offer_is_a_and_what_is_withdrawn_is_gone(panel: AbxPanel) -> None:
    panel.offer("new", noise(0.1, 2), against="quiet")
    assert [menu.value for menu in panel.menus] == ["new", "quiet"]
    panel.offer("newer", noise(0.1, 3))
    assert [menu.value for menu in panel.menus] == ["newer", "quiet"]
    panel.withdraw("newer")
    assert panel.menus[1].value == "quiet"
    assert panel.menus[0].options == ("new", "loud", "quiet", "nothing")
    assert panel.menus[0].value == "new"


def test_without_sounds_it_says_what_is_missing() -> None:
    panel = AbxPanel(RATE, {})
    panel.compare.click()
    assert "two different" in panel.verdict.value
    panel.offer("first", noise(0.1, 0))
    assert [menu.value for menu in panel.menus] == ["first", "first"]
