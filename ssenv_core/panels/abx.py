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
    """Waveforms (S,) float of equal RMS, that of the quietest: they are only ever turned down, so that none clips. The shorter ones are
    padded with silence to the length of the longest, which does not count in their RMS.

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
    """Blind trials: which of the two X is, and how often it was named rightly.

    Attributes:
        x: 0 or 1, what X is now.
        right, answered: counts of the trials so far.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.random = random.Random(seed)
        self.right = self.answered = 0
        self.x = self.random.randrange(2)

    def answer(self, choice: int) -> bool:
        """Whether X was this one, 0 or 1; the next trial draws X anew."""
        right = choice == self.x
        self.right, self.answered = self.right + right, self.answered + 1
        self.x = self.random.randrange(2)
        return right

    @property
    def p(self) -> float:
        """The probability of as many right answers, or more, by guessing; 1 before the first answer."""
        return (
            float(binomtest(self.right, self.answered, alternative="greater").pvalue)
            if self.answered
            else 1.0
        )


WORDS = "A, B and X have equal RMS: the louder ones are turned down. Click into the row, then A, B and X switch, space stops."


class AbxPanel:
    """Two menus of sounds, a player that switches, and two answers. A change of a menu takes effect with Compare.

    Attributes:
        box: the widget on show.
    """

    def __init__(self, sample_rate: int, sounds: Mapping[str, np.ndarray]) -> None:
        self.sample_rate, self.sounds = sample_rate, dict(sounds)
        self.menus = [
            ipywidgets.Dropdown(options=list(self.sounds), description=f"{letter}:")
            for letter in "AB"
        ]
        self.compare = ipywidgets.Button(description="Compare", tooltip="A with B, at equal RMS")
        self.player, self.verdict, self.trials = SwitchPlayer(), ipywidgets.HTML(), Trials()
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
        """Put a sound (S,) first into the menus, and choose it as A; as B the one that is named, if one is."""
        self.sounds = {name: wav} | {
            other: sound for other, sound in self.sounds.items() if other != name
        }
        self._refill()
        self.menus[0].value = name
        if against is not None:
            self.menus[1].value = against

    def withdraw(self, name: str) -> None:
        """Take a sound out of the menus."""
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
        right, trials = self.trials.answer(choice), self.trials
        said = f"{'Right' if right else 'Wrong'}: {trials.right} of {trials.answered} so far, p {trials.p:.2g} by guessing. X is new."
        self._show([sound["url"] for sound in self.player.sounds[:2]], said)

    def _show(self, urls: list[str], words: str) -> None:
        hidden = [urls[self.trials.x]] if urls else []
        # the trial's number, or where X is the sound that it was nothing would change, and the player, going on, would tell
        keys, number = zip("abx", urls + hidden, strict=False), self.trials.answered
        self.player.sounds = [
            {"key": key, "name": key.upper(), "url": url, "trial": number} for key, url in keys
        ]
        for button in self.answers:
            button.disabled = not urls
        self.verdict.value = f"<p>{html.escape(words)}</p>"
