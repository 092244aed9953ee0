"""What a listener hears, and in which order. Two tests, because a generated clip is nobody's copy and has no reference:

- `mushra`, after ITU-R BS.1534-3: a real clip as open reference; to rate against it, blind, that clip again (the hidden reference), two
  low-pass anchors, and the clip through codecs. Listeners, their training and the room are whoever and whatever they are.
- `fit` and `diversity`, in the style of DCASE 2023 Task 7 (Choi et al. 2023, "Foley Sound Synthesis at the DCASE 2023 Challenge"): real
  and generated clips of a class, mixed and blind, rated for how well they fit the class and for quality; then all of each side as a set,
  rated for variety. Scores are 0 to 100 in place of that challenge's ten steps.

No sound's level is changed: not the anchors', which keep the reference's below their cutoff, nor any other.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.signal import fftconvolve, firwin, kaiserord

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.files import sha256_json
from ssenv_core.metrics.spectrotemporal import is_constant

REFERENCE = "reference"
ANCHORS = {"low anchor 3.5 kHz": 3500.0, "mid anchor 7 kHz": 7000.0}  # Hz
MOST_STIMULI = 12  # on a page: BS.1534-3, section 6
LETTERS = "ABCDEFGHIJKL"

SCALES = {
    "mushra": ("quality",),
    "fit": ("fit", "quality"),
    "diversity": ("diversity",),
}  # what is rated in each test
WORDS = {  # for the fifths of a scale, from 0 on
    "quality": ("bad", "poor", "fair", "good", "excellent"),
    "fit": ("none", "little", "some", "good", "perfect"),
    "diversity": ("all alike", "similar", "mixed", "varied", "all different"),
}
QUESTIONS = {
    "mushra": "How good is each sound beside the reference? One of them is the reference itself: give that one 100.",
    "fit": "How well does each sound fit the class “{}”, and how good is its quality?",
    "diversity": "Each letter plays several sounds of the class “{}”. How varied are they among themselves?",
}


class Recording(NamedTuple):
    """A clip that may be played: its class, its name, and the sound (S,) float in [-1, 1]."""

    label: str
    name: str
    wav: np.ndarray


@dataclass(frozen=True)
class Stimulus:
    """What one letter of a page plays: one sound (S,), or a set of them one after another.

    `name` is blind: a hash. `condition` and `clips` (the names of the recordings) are for the key alone.
    """

    name: str
    condition: str
    clips: tuple[str, ...]
    wavs: tuple[np.ndarray, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """The name of the file of each sound."""
        return (
            (f"{self.name}.wav",)
            if len(self.wavs) == 1
            else tuple(f"{self.name}-{i}.wav" for i in range(1, len(self.wavs) + 1))
        )


@dataclass(frozen=True)
class Page:
    """What is rated at once.

    Attributes:
        name: "mushra-1"; nothing about what is on it.
        test: a key of SCALES.
        question: what the listener is asked.
        reference: open to the listener; None outside of mushra.
        stimuli: in the order of their blind names.
    """

    name: str
    test: str
    question: str
    reference: Stimulus | None
    stimuli: tuple[Stimulus, ...]


@dataclass(frozen=True)
class ListeningTest:
    """Everything that is played. `training` is a page of mushra whose ratings nobody keeps; sample_rate in Hz."""

    seed: int
    sample_rate: int
    training: Page
    pages: tuple[Page, ...]

    @cached_property
    def version(self) -> str:
        """Eight hex digits that change with any sound, page, question or word: ratings of one version are not pooled with another's."""
        pages = (self.training, *self.pages)
        said = [
            [page.name, page.test, page.question, *(stimulus.name for stimulus in page.stimuli)]
            for page in pages
        ]
        return sha256_json([self.seed, self.sample_rate, SCALES, WORDS, said])[:8]

    def sounds(self) -> dict[str, np.ndarray]:
        """Every sound (S,) by the name of its file, in the order of these names, which says nothing."""
        stimuli = [
            stimulus
            for page in (self.training, *self.pages)
            for stimulus in (page.reference, *page.stimuli)
            if stimulus
        ]
        played = [
            pair for stimulus in stimuli for pair in zip(stimulus.files, stimulus.wavs, strict=True)
        ]
        return dict(sorted(played, key=lambda pair: pair[0]))


class Coded(NamedTuple):
    """Recordings through a codec: a hash of what it is, its weights included, and the sound (S,) by the name of the recording.

    The hash stands for the sounds: they may differ in their last bits from machine to machine, and are then the same test all the same.
    """

    identity: str
    wavs: Mapping[str, np.ndarray]


class Choice(NamedTuple):
    """The recordings of a test: no real clip has two parts. `classes`: real and generated ones, equally many, by class."""

    training: Recording
    items: list[Recording]
    classes: dict[str, tuple[list[Recording], list[Recording]]]


def choose_recordings(
    real: Sequence[Recording],
    generated: Sequence[Recording],
    *,
    mushra_items: int,
    fit_classes: int,
    fit_clips: int,
    seed: int,
) -> Choice:
    """Draw the recordings of a test: for mushra one real clip of each of `mushra_items` classes and of one more, to train with; for the
    other test at most `fit_clips` real ones, of those left, and as many generated ones, of each of at most `fit_classes` classes.

    Real clips that are silent throughout are not drawn. Generated ones are taken as they come, silent or not.

    Raises:
        SsenvError: too few classes have an audible real clip, or no class has both a real clip left and a generated one.
    """
    rng = np.random.default_rng(seed)
    by_class: dict[str, list[Recording]] = {}
    for i in rng.permutation(len(real)):
        if not is_constant(real[i].wav):
            by_class.setdefault(real[i].label, []).append(real[i])
    if len(by_class) <= mushra_items:
        raise SsenvError(
            f"mushra_items = {mushra_items}, and one to train with: only {len(by_class)} classes have a clip that sounds"
        )
    rated = [
        by_class[label].pop() for label in rng.permutation(sorted(by_class))[: mushra_items + 1]
    ]
    made: dict[str, list[Recording]] = {}
    for recording in generated:
        made.setdefault(recording.label, []).append(recording)
    both = [str(label) for label in rng.permutation(sorted(made)) if by_class.get(label)][
        :fit_classes
    ]
    if not both:
        raise SsenvError(
            f"no class has a generated clip and a real one beside the {mushra_items + 1} of mushra: lower mushra_items"
        )
    count = {label: min(fit_clips, len(by_class[label]), len(made[label])) for label in both}
    return Choice(
        rated[0],
        rated[1:],
        {label: (by_class[label][: count[label]], made[label][: count[label]]) for label in both},
    )


def make_test(
    choice: Choice, through: Mapping[str, Coded], sample_rate: int, seed: int
) -> ListeningTest:
    """Pages of recordings that are all at `sample_rate` (Hz).

    Args:
        through: the recordings of mushra by condition, such as "melrvq_24khz 6 kbps".

    Raises:
        SsenvError: a page would have more than 12 stimuli, or the rate is too low for the anchors.
    """

    def mushra(name: str, item: Recording) -> Page:
        stimuli = [_stimulus(seed, name, REFERENCE, [item])]
        for anchor, cutoff in ANCHORS.items():
            stimuli.append(
                replace(
                    _stimulus(seed, name, anchor, [item]),
                    wavs=(low_pass(item.wav, sample_rate, cutoff),),
                )
            )
        for condition, coded in through.items():
            stimuli.append(
                replace(
                    _stimulus(seed, name, condition, [item], coded.identity),
                    wavs=(coded.wavs[item.name],),
                )
            )
        return _page(name, "mushra", "", stimuli, _stimulus(seed, name, "open", [item]))

    pages = [mushra(f"mushra-{i}", item) for i, item in enumerate(choice.items, 1)]
    for i, (label, sides) in enumerate(choice.classes.items(), 1):
        shortest = min(
            len(recording.wav) for recordings in sides for recording in recordings
        )  # a length would tell which is which
        cut = (
            [recording._replace(wav=recording.wav[:shortest]) for recording in recordings]
            for recordings in sides
        )
        named = list(zip(("real", "generated"), cut, strict=True))
        clips = [
            _stimulus(seed, f"fit-{i}", side, [recording])
            for side, recordings in named
            for recording in recordings
        ]
        pages.append(_page(f"fit-{i}", "fit", label, clips))
        if len(sides[0]) > 1:  # one sound alone has no variety
            sets = [
                _stimulus(seed, f"diversity-{i}", side, recordings) for side, recordings in named
            ]
            pages.append(_page(f"diversity-{i}", "diversity", label, sets))
    return ListeningTest(seed, sample_rate, mushra("training", choice.training), tuple(pages))


def _page(
    name: str, test: str, label: str, stimuli: Sequence[Stimulus], reference: Stimulus | None = None
) -> Page:
    if len(stimuli) > MOST_STIMULI:
        raise SsenvError(
            f"page {name} would have {len(stimuli)} sounds to rate, and {MOST_STIMULI} is the most: take fewer codecs or clips"
        )
    named: dict[str, Stimulus] = {}
    for stimulus in stimuli:
        own, again = stimulus.name, 0
        while own in named:  # equal sounds, such as two silent ones
            again += 1
            own = hashlib.sha256(f"{stimulus.name}/{again}".encode()).hexdigest()[:12]
        named[own] = replace(stimulus, name=own)
    question = QUESTIONS[test].format(label.replace("_", " "))
    return Page(name, test, question, reference, tuple(named[own] for own in sorted(named)))


def _stimulus(
    seed: int, page: str, condition: str, recordings: Sequence[Recording], codec: str = ""
) -> Stimulus:
    """Recordings as they are, under a name that is a hash of their sound, of their place in the test, and of the codec they are to pass:
    the same sound has another name wherever it is used again."""
    digest = hashlib.sha256(f"{seed}/{page}/{condition}/{codec}".encode())
    for recording in recordings:
        digest.update(np.asarray(recording.wav, np.float32).tobytes())
    names, wavs = (
        tuple(recording.name for recording in recordings),
        tuple(recording.wav for recording in recordings),
    )
    return Stimulus(digest.hexdigest()[:12], condition, names, wavs)


def low_pass(wav: np.ndarray, sample_rate: int, cutoff: float) -> np.ndarray:
    """(S,) float at sample_rate (Hz) -> (S,) float32 without what lies above `cutoff` (Hz): undelayed, at the same level below it.

    A linear-phase Kaiser window filter (scipy). BS.1534-3 asks of the 3.5 kHz anchor a pass band that is flat within 0.1 dB, 25 dB less at
    4 kHz, and 50 dB less at 4.5 kHz; this one is flat up to the cutoff, and from a seventh above it on, here 4 kHz, 60 dB down.

    Raises:
        SsenvError: nothing would be left out at this rate.
    """
    width = cutoff / 7
    if cutoff + width >= sample_rate / 2:
        raise SsenvError(
            f"an anchor at {cutoff:g} Hz needs sound at more than {2 * (cutoff + width):g} Hz, not {sample_rate} Hz"
        )
    taps, beta = kaiserord(60.0, width / (sample_rate / 2))
    kernel = firwin(taps | 1, cutoff + width / 2, window=("kaiser", beta), fs=sample_rate)
    return fftconvolve(np.pad(wav, len(kernel) // 2), kernel, mode="valid").astype(np.float32)


def listener_pages(test: ListeningTest, listener: str) -> list[Page]:
    """A listener's pages: those of mushra, then of fit, then of diversity, each of the three in an order of the listener's own."""
    pages = {page.name: page for page in test.pages}
    ordered = [pages[name] for name in listener_order(test.seed, listener, pages)]
    return sorted(ordered, key=lambda page: list(SCALES).index(page.test))


def listener_order(seed: int, listener: str, names: Iterable[str]) -> list[str]:
    """Names in the order in which one listener meets them: sorted by a hash of "seed/listener/name", 32-bit FNV-1a, then MurmurHash3's
    finalizer. page/listening.js computes the same; browsers have no SHA-256 for a page that is not served over https.
    """
    return sorted(names, key=lambda name: (_hash32(f"{seed}/{listener}/{name}"), name))


def _hash32(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
