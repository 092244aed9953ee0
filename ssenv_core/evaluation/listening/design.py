"""The design of a listening test: what is played, and in which order.

There are two tests, because a generated clip is not a copy of a recording and has no reference:

- `mushra`, after ITU-R BS.1534-3: a real clip is the open reference. Rated against it, blind, are
  the same clip (the hidden reference), two low-pass anchors, and the clip through codecs. Unlike in
  the recommendation, listeners, their training and the room are not controlled.
- `fit` and `diversity`, in the style of DCASE 2023 Task 7 (Choi et al. 2023, "Foley Sound Synthesis
  at the DCASE 2023 Challenge"): real and generated clips of a class, mixed and blind, are rated for
  fit to the class and for quality; then all clips of each side are rated as a set, for variety.
  Scores are 0 to 100, not that challenge's ten steps.

No level is changed. The anchors keep the reference's level below their cutoff.
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
MOST_STIMULI = 12  # per page: BS.1534-3, section 6
LETTERS = "ABCDEFGHIJKL"

SCALES = {"mushra": ("quality",), "fit": ("fit", "quality"), "diversity": ("diversity",)}
WORDS = {  # for the fifths of a scale, from 0 to 100
    "quality": ("bad", "poor", "fair", "good", "excellent"),
    "fit": ("none", "little", "some", "good", "perfect"),
    "diversity": ("all alike", "similar", "mixed", "varied", "all different"),
}
QUESTIONS = {
    "mushra": (
        "How good is each sound beside the reference? "
        "One of them is the reference itself: give that one 100."
    ),
    "fit": "How well does each sound fit the class “{}”, and how good is its quality?",
    "diversity": (
        "Each letter plays several sounds of the class “{}”. How varied are they among themselves?"
    ),
}


class Recording(NamedTuple):
    """A clip that can be played: class, name, and sound (S,) float in [-1, 1]."""

    label: str
    name: str
    wav: np.ndarray


@dataclass(frozen=True)
class Stimulus:
    """What one letter of a page plays: one sound (S,), or a set of sounds one after another.

    Attributes:
        name: blind, a hash.
        condition: for the key only.
        clips: names of the recordings, for the key only.
        wavs: the sounds.
    """

    name: str
    condition: str
    clips: tuple[str, ...]
    wavs: tuple[np.ndarray, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """File name of each sound."""
        return (
            (f"{self.name}.wav",)
            if len(self.wavs) == 1
            else tuple(f"{self.name}-{i}.wav" for i in range(1, len(self.wavs) + 1))
        )


@dataclass(frozen=True)
class Page:
    """One page of a test.

    Attributes:
        name: "mushra-1"; it does not depend on the page's content.
        test: a key of SCALES.
        question: for the listener.
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
    """All pages. `training` is a page of mushra for practice, not recorded; sample_rate in Hz."""

    seed: int
    sample_rate: int
    training: Page
    pages: tuple[Page, ...]

    @cached_property
    def version(self) -> str:
        """Eight hex digits that change with any sound, page, question or word.

        Ratings of different versions are not pooled.
        """
        pages = (self.training, *self.pages)
        content = [
            [page.name, page.test, page.question, *(stimulus.name for stimulus in page.stimuli)]
            for page in pages
        ]
        return sha256_json([self.seed, self.sample_rate, SCALES, WORDS, content])[:8]

    def sounds(self) -> dict[str, np.ndarray]:
        """Every sound (S,) by file name, in the order of these names, which reveals nothing."""
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
    """Recordings through a codec, by name, (S,) each; and a hash of the codec and its weights.

    The hash replaces the sounds in the version of the test, because their last bits may differ
    between machines.
    """

    identity: str
    wavs: Mapping[str, np.ndarray]


class Choice(NamedTuple):
    """The recordings of a test; no real clip occurs twice.

    Attributes:
        training: the clip of the practice page.
        items: the clips of mushra.
        classes: by class, real and generated recordings, equally many.
    """

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
    """Draw the recordings of a test.

    Args:
        real: those that are silent throughout are never drawn.
        generated: drawn in this order, silent or not.
        mushra_items: number of clips in mushra, each of another class; one more is for practice.
        fit_classes: largest number of classes in the other test.
        fit_clips: largest number of real clips per class, of those that are left; the number of
            generated ones is the same.
        seed: of the draw.

    Raises:
        SsenvError: too few classes have an audible real clip, or no class has both a real clip left
            and a generated one.
    """
    rng = np.random.default_rng(seed)
    by_class: dict[str, list[Recording]] = {}
    for i in rng.permutation(len(real)):
        if not is_constant(real[i].wav):
            by_class.setdefault(real[i].label, []).append(real[i])
    if len(by_class) <= mushra_items:
        raise SsenvError(
            f"mushra_items = {mushra_items}, and one for practice: "
            f"only {len(by_class)} classes have an audible clip"
        )
    rated = [
        by_class[label].pop() for label in rng.permutation(sorted(by_class))[: mushra_items + 1]
    ]
    generated_by_class: dict[str, list[Recording]] = {}
    for recording in generated:
        generated_by_class.setdefault(recording.label, []).append(recording)
    labels = [str(label) for label in rng.permutation(sorted(generated_by_class))]
    classes = {}
    for label in [label for label in labels if by_class.get(label)][:fit_classes]:
        sides = (by_class[label], generated_by_class[label])
        count = min(fit_clips, *map(len, sides))
        classes[label] = (sides[0][:count], sides[1][:count])
    if not classes:
        raise SsenvError(
            "no class has a generated clip and a real one beside the "
            f"{mushra_items + 1} of mushra: lower mushra_items"
        )
    return Choice(rated[0], rated[1:], classes)


def make_test(
    choice: Choice, coded: Mapping[str, Coded], sample_rate: int, seed: int
) -> ListeningTest:
    """Build the pages of a test.

    Args:
        choice: the recordings, all at `sample_rate` (Hz).
        coded: the clips of mushra by condition, such as "melrvq_24khz 6 kbps".
        sample_rate: of all sounds.
        seed: of the blind names and of every listener's order.

    Raises:
        SsenvError: a page would have more than 12 stimuli, or the rate is too low for the anchors.
    """

    def mushra(name: str, item: Recording) -> Page:
        stimuli = [_stimulus(seed, name, REFERENCE, [item])]
        for anchor, cutoff in ANCHORS.items():
            filtered = low_pass(item.wav, sample_rate, cutoff)
            stimuli.append(replace(_stimulus(seed, name, anchor, [item]), wavs=(filtered,)))
        for condition, version in coded.items():
            stimulus = _stimulus(seed, name, condition, [item], version.identity)
            stimuli.append(replace(stimulus, wavs=(version.wavs[item.name],)))
        return _page(name, "mushra", "", stimuli, _stimulus(seed, name, "open", [item]))

    pages = [mushra(f"mushra-{i}", item) for i, item in enumerate(choice.items, 1)]
    for i, (label, sides) in enumerate(choice.classes.items(), 1):
        shortest = min(
            len(recording.wav) for recordings in sides for recording in recordings
        )  # the length must not reveal the side
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
        if len(sides[0]) > 1:  # a single sound has no variety
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
            f"page {name} would have {len(stimuli)} sounds to rate, more than {MOST_STIMULI}: "
            "take fewer codecs or clips"
        )
    named: dict[str, Stimulus] = {}
    for stimulus in stimuli:
        blind = stimulus.name
        copies = 0
        while blind in named:  # equal sounds, such as two silent ones
            copies += 1
            blind = hashlib.sha256(f"{stimulus.name}/{copies}".encode()).hexdigest()[:12]
        named[blind] = replace(stimulus, name=blind)
    question = QUESTIONS[test].format(label.replace("_", " "))
    return Page(name, test, question, reference, tuple(named[blind] for blind in sorted(named)))


def _stimulus(
    seed: int, page: str, condition: str, recordings: Sequence[Recording], codec: str = ""
) -> Stimulus:
    """Make a stimulus, named by a hash of its sounds, place in the test, and codec.

    The same sound has a different name wherever it is used.
    """
    digest = hashlib.sha256(f"{seed}/{page}/{condition}/{codec}".encode())
    for recording in recordings:
        digest.update(np.asarray(recording.wav, np.float32).tobytes())
    names = tuple(recording.name for recording in recordings)
    wavs = tuple(recording.wav for recording in recordings)
    return Stimulus(digest.hexdigest()[:12], condition, names, wavs)


def low_pass(wav: np.ndarray, sample_rate: int, cutoff: float) -> np.ndarray:
    """Remove frequencies above `cutoff` (Hz): (S,) float at sample_rate (Hz) -> (S,) float32.

    A linear-phase Kaiser window filter (scipy), without delay. BS.1534-3 requires of the 3.5 kHz
    anchor a pass band that is flat within 0.1 dB, -25 dB at 4 kHz, and -50 dB at 4.5 kHz. This
    filter is flat up to the cutoff, and at -60 dB from a seventh above it (here 4 kHz).

    Raises:
        SsenvError: the rate is so low that the filter would remove nothing.
    """
    width = cutoff / 7
    if cutoff + width >= sample_rate / 2:
        raise SsenvError(
            f"an anchor at {cutoff:g} Hz needs sound at more than {2 * (cutoff + width):g} Hz, "
            f"not {sample_rate} Hz"
        )
    taps, beta = kaiserord(60.0, width / (sample_rate / 2))
    kernel = firwin(taps | 1, cutoff + width / 2, window=("kaiser", beta), fs=sample_rate)
    return fftconvolve(np.pad(wav, len(kernel) // 2), kernel, mode="valid").astype(np.float32)


def listener_pages(test: ListeningTest, listener: str) -> list[Page]:
    """The pages of mushra, then fit, then diversity, each in the listener's own order."""
    pages = {page.name: page for page in test.pages}
    ordered = [pages[name] for name in listener_order(test.seed, listener, pages)]
    return sorted(ordered, key=lambda page: list(SCALES).index(page.test))


def listener_order(seed: int, listener: str, names: Iterable[str]) -> list[str]:
    """Sort names into one listener's order, by a hash of "seed/listener/name".

    The hash is 32-bit FNV-1a, then MurmurHash3's finalizer. page/listening.js computes the same;
    browsers have no SHA-256 for a page that is not served over https.
    """
    return sorted(names, key=lambda name: (_hash32(f"{seed}/{listener}/{name}"), name))


def _hash32(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    value = (value ^ value >> 16) * 0x85EBCA6B & 0xFFFFFFFF
    value = (value ^ value >> 13) * 0xC2B2AE35 & 0xFFFFFFFF
    return value ^ value >> 16
