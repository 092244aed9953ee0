"""Blind ABX comparison of two sounds: the trials, and their panel."""

import html
import random
from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
from scipy.stats import binomtest

from ssenv_core.base.audio import fit_length
from ssenv_core.base.errors import SsenvError
from ssenv_core.panels.clips import embedded
from ssenv_core.panels.widgets import SwitchPlayer


def level_matched(wavs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Turn waveforms (S,) float down to the RMS of the quietest, so that none clips.

    Shorter ones are padded with silence to the length of the longest; their RMS excludes it.

    Raises:
        SsenvError: one of them is silent.
    """
    loudness = [float(np.sqrt(np.mean(np.square(wav, dtype=np.float64)))) for wav in wavs]
    if not min(loudness) > 0:
        raise SsenvError("a silent sound cannot be compared at the level of another")
    longest = max(map(len, wavs))
    return [
        fit_length(wav * np.float32(min(loudness) / rms), longest)
        for wav, rms in zip(wavs, loudness, strict=True)
    ]


class Trials:
    """Blind trials: which of two sounds X is, and how many answers were correct.

    Attributes:
        x: 0 or 1, the sound that X is now.
        correct, answered: numbers of answers so far.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)
        self.correct = self.answered = 0
        self.x = self.random.randrange(2)

    def answer(self, choice: int) -> bool:
        """Check an answer, 0 or 1, and draw X for the next trial."""
        correct = choice == self.x
        self.correct += correct
        self.answered += 1
        self.x = self.random.randrange(2)
        return correct

    @property
    def p(self) -> float:
        """Probability of at least this many correct answers by guessing; 1 before any answer."""
        if not self.answered:
            return 1.0
        return float(binomtest(self.correct, self.answered, alternative="greater").pvalue)


WORDS = (
    "A, B and X have equal RMS: louder sounds are turned down. "
    "Click into the row; then the keys A, B and X switch, and space stops."
)


class AbxPanel:
    """Two menus of sounds, a player that switches between them, and two answers.

    A change in a menu takes effect with Compare.

    Attributes:
        box: the widget to display.
    """

    def __init__(self, sample_rate: int, sounds: Mapping[str, np.ndarray]) -> None:
        self.sample_rate = sample_rate
        self.sounds = dict(sounds)
        self.menus = [
            ipywidgets.Dropdown(options=list(self.sounds), description=f"{letter}:")
            for letter in "AB"
        ]
        self.compare = ipywidgets.Button(description="Compare", tooltip="A with B, at equal RMS")
        self.player = SwitchPlayer()
        self.verdict = ipywidgets.HTML()
        self.trials = Trials()
        self.answers = [
            ipywidgets.Button(description=f"X is {letter}", disabled=True) for letter in "AB"
        ]
        self.compare.on_click(lambda _: self._begin())
        for choice, button in enumerate(self.answers):
            button.on_click(lambda _, choice=choice: self._answer(choice))
        heads = ipywidgets.HTML(f"<b>Compare by ear</b><br>{WORDS}")
        row = ipywidgets.HBox([self.player, *self.answers], layout={"flex_flow": "row wrap"})
        self.box = ipywidgets.VBox(
            [heads, ipywidgets.HBox([*self.menus, self.compare]), row, self.verdict]
        )

    def offer(self, name: str, wav: np.ndarray, against: str | None = None) -> None:
        """Put a sound (S,) first in the menus; choose it as A, and `against`, if given, as B."""
        self.sounds = {name: wav} | {
            other: sound for other, sound in self.sounds.items() if other != name
        }
        self._refill()
        self.menus[0].value = name
        if against is not None:
            self.menus[1].value = against

    def withdraw(self, name: str) -> None:
        """Remove a sound from the menus."""
        self.sounds.pop(name, None)
        self._refill()

    def _refill(self) -> None:
        for menu in self.menus:
            chosen = menu.value
            menu.options = list(self.sounds)
            menu.value = chosen if chosen in self.sounds else next(iter(self.sounds), None)

    def _begin(self) -> None:
        names = [menu.value for menu in self.menus]
        self.trials = Trials()
        if None in names or names[0] == names[1]:
            return self._show([], "Choose two different sounds.")
        try:
            wavs = level_matched([self.sounds[name] for name in names])
        except SsenvError as error:
            return self._show([], str(error))
        self._show([embedded(wav, self.sample_rate) for wav in wavs], "Which one is X?")

    def _answer(self, choice: int) -> None:
        correct = self.trials.answer(choice)
        score = f"{self.trials.correct} of {self.trials.answered} so far"
        words = (
            f"{'Right' if correct else 'Wrong'}: {score}, p {self.trials.p:.2g} by guessing. "
            "X is new."
        )
        self._show([sound["url"] for sound in self.player.sounds[:2]], words)

    def _show(self, urls: list[str], words: str) -> None:
        hidden = [urls[self.trials.x]] if urls else []
        # With the trial's number the value always changes. Else, if X stays the same sound, the
        # player would go on and reveal it.
        self.player.sounds = [
            {"key": key, "name": key.upper(), "url": url, "trial": self.trials.answered}
            for key, url in zip("abx", urls + hidden, strict=False)
        ]
        for button in self.answers:
            button.disabled = not urls
        self.verdict.value = f"<p>{html.escape(words)}</p>"
