"""An audition session: generate sounds one at a time, vary, extend and inpaint them, keep them.

The audition panel uses it; so can a script. There are no threads and no widgets, and the only files
are the sounds that are kept.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ssenv_core.base.devices import resolve_device
from ssenv_core.base.files import sha256_json
from ssenv_core.classification.judge import Judge
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.controls import file_level
from ssenv_core.data.tokens import require_codec
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.file import (
    TrainedGenerator,
    class_index,
    load_generator,
    shipped_generator,
)
from ssenv_core.generator.generation import decode_clip, generate_codes
from ssenv_core.generator.recipes import provenance, recipe, write_sound
from ssenv_core.soundstorm.sampling import Confidence, Sampling

DURATION = 5.0  # seconds
SETTINGS = (*(field.name for field in fields(Sampling)), "choice_temperature")
STARTS = ("continue", "inpaint", "vary")
NOT_THE_SOUND = ("checkpoint", "environment", "parent")  # parts of a recipe that do not change it
Envelope = Path | Sequence[float]
Watch = Callable[[float], None]


class Stopped(Exception):
    """Raise this in a `watch` to stop making a take."""


@dataclass(frozen=True, eq=False)
class Take:
    """One generated sound, and how it was made.

    Attributes:
        name: class, seed and a hash of the recipe; another recipe gives another name.
        codes: (1, Q, T) int64, on the CPU.
        wav: (S,) float32 at the codec's rate, as long as the recipe says.
        recipe: see `recipes.recipe`; one made from another take has its recipe as "parent".
        controls: (1, T, C) float, its conditioning per frame, or None.
        silence: (1, T) bool, frames that its plan left silent, or None; they stay silent in takes
            made from this one.
        probabilities: of the judge's classes, the most likely first; None without a judge.
    """

    name: str
    codes: torch.Tensor
    wav: np.ndarray
    recipe: dict[str, Any]
    controls: torch.Tensor | None
    silence: torch.Tensor | None
    probabilities: dict[str, float] | None


class AuditionSession:
    """A generator with its codec, ready to make takes.

    Every method that makes a take calls `watch` with the share that is done, in (0, 1]. If that
    raises (`Stopped`, say), no take is made.

    Attributes:
        checkpoint: the generator's file.
        judge: classifies takes; None leaves them unclassified.

    Raises:
        SsenvError: the generator was trained on the tokens of another codec.
    """

    def __init__(
        self,
        checkpoint: Path,
        generator: TrainedGenerator,
        codec: Codec,
        judge: Judge | None = None,
        *,
        device: str | torch.device = "auto",
        precision: str = "auto",
    ) -> None:
        require_codec(generator.format, codec)
        self.checkpoint = checkpoint
        self.generator = generator
        self.codec = codec
        self.judge = judge
        self.device = resolve_device(device)
        self.precision = precision
        self.provenance = provenance(checkpoint, generator, codec, self.device, precision)

    @classmethod
    def open(
        cls, checkpoint: Path | None = None, device: str | torch.device = "auto"
    ) -> "AuditionSession":
        """Load a generator (None: the shipped one) and its codec.

        Raises:
            SsenvError: a file is missing or damaged, or the codec's weights are unavailable.
        """
        checkpoint = checkpoint or shipped_generator()
        device = resolve_device(device)
        generator = load_generator(checkpoint, device)
        codec = generator.format.load_codec(device)
        return cls(checkpoint, generator, codec, device=device)

    @property
    def takes_controls(self) -> bool:
        """Whether the generator was trained with onsets and loudness as conditioning."""
        return bool(self.generator.model.config.controls)

    @property
    def has_plans(self) -> bool:
        """Whether the generator's file holds plans."""
        return self.generator.plans is not None

    @property
    def default_settings(self) -> dict[str, Any]:
        """The sampling that `ssenv generate` uses by default, as `Sampling.of` reads it."""
        steps = (12, *(1,) * (self.generator.format.n_q - 1))
        return Sampling(steps, guidance=2.0, sampler=Confidence(8.0)).settings()

    def generate(
        self,
        class_name: str,
        *,
        seed: int,
        duration: float = DURATION,
        settings: Mapping[str, Any] | None = None,
        onsets: Sequence[float] | None = None,
        envelope: Envelope | None = None,
        plan: bool | None = None,
        watch: Watch | None = None,
    ) -> Take:
        """Generate a take of a class.

        Args:
            duration: seconds.
            settings: as `Sampling.of` reads them, other names are ignored; None:
                `default_settings`.
            onsets: seconds at which an event begins; at all other moments none does.
            envelope: a file whose loudness the take follows, stretched to its duration; or levels
                (dB re full scale), evenly spaced over the take.
            plan: follow the loudness and onsets of a training clip of the class. None: if there
                are no onsets and no envelope, and the generator has plans.

        Raises:
            SsenvError: no such class; a setting, the duration or an onset out of range; a file that
                cannot be read; onsets or an envelope for a generator without controls; a plan for
                one without plans.
            ValueError: a plan together with onsets or an envelope.
        """
        free = onsets is None and envelope is None
        if plan is None:
            plan = free and self.has_plans
        if plan and not free:
            raise ValueError("a plan has its own onsets and loudness")
        canvas = Canvas.blank(self.generator, 1, duration)
        if plan:
            label = class_index(self.generator.class_names, class_name)
            canvas = canvas.with_plans(self.generator, [label], seed)
        elif not free:
            canvas = canvas.with_onsets_and_loudness(
                self.generator, onsets=onsets, level=_level(envelope)
            )
        card = recipe(
            self.provenance,
            class_name,
            duration,
            {name: (settings or self.default_settings)[name] for name in SETTINGS},
            seed,
            onsets=None if onsets is None else ",".join(f"{onset:g}" for onset in onsets),
            envelope=str(envelope) if isinstance(envelope, Path) else _listed(envelope),
            plan=plan,
        )
        return self._take(canvas, card, watch)

    def vary(self, take: Take, share: float, *, seed: int, watch: Watch | None = None) -> Take:
        """Generate a random `share` of a take's tokens again; frames that a plan left silent stay.

        Raises:
            SsenvError: no such share.
        """
        canvas = Canvas.varying(take.codes, share, seed)
        return self._from(take, canvas, {"vary": [take.name, share]}, seed, watch)

    def inpaint(
        self, take: Take, start: float, stop: float, *, seed: int, watch: Watch | None = None
    ) -> Take:
        """Generate a take again from `start` to `stop` seconds; silence of a plan there is lifted.

        Raises:
            SsenvError: no frame lies there.
        """
        canvas = Canvas.inpainting(self.generator, take.codes, start, stop)
        if take.silence is not None:
            hole = ~canvas.given[:, 0]
            controls = take.controls.masked_fill((take.silence & hole)[..., None], torch.nan)
            take = replace(take, silence=take.silence & ~hole, controls=controls)
        return self._from(take, canvas, {"inpaint": [take.name, start, stop]}, seed, watch)

    def extend(self, take: Take, seconds: float, *, seed: int, watch: Watch | None = None) -> Take:
        """Continue a take for `seconds`, unconditional but for the class.

        Raises:
            SsenvError: `seconds` is not more than 0.
        """
        duration = take.recipe["duration"] + seconds
        canvas = Canvas.continuing(self.generator, take.codes, duration)
        unconditional = {"onsets": None, "envelope": None, "plan": False}
        changed = {"continue": take.name, "duration": duration, **unconditional}
        return self._from(replace(take, controls=None, silence=None), canvas, changed, seed, watch)

    def keep(self, take: Take, folder: Path) -> Path:
        """Write a take into a folder as NAME.wav, with its recipe as NAME.json.

        Raises:
            SsenvError: the file system refuses the write.
        """
        path = folder / f"{take.name}.wav"
        return write_sound(path, take.wav, self.codec.sample_rate, take.recipe)

    def keep_all(self, takes: Iterable[Take], folder: Path) -> list[Path]:
        """`keep` several takes."""
        return [self.keep(take, folder) for take in takes]

    def _from(
        self, take: Take, canvas: Canvas, changed: Mapping[str, Any], seed: int, watch: Watch | None
    ) -> Take:
        """A take made from another with the same conditioning; `changed` is new in its recipe."""
        dropped = (*STARTS, "parent")
        kept = {name: value for name, value in take.recipe.items() if name not in dropped}
        given = canvas.given if take.silence is None else canvas.given | take.silence[:, None]
        canvas = replace(canvas, given=given, controls=take.controls, silence=take.silence)
        return self._take(canvas, {**kept, **changed, "seed": seed, "parent": take.recipe}, watch)

    def _take(self, canvas: Canvas, card: dict[str, Any], watch: Watch | None) -> Take:
        seed = card["seed"]
        rate = self.codec.sample_rate
        codes = generate_codes(
            self.generator,
            [class_index(self.generator.class_names, card["class"])],
            Sampling.of(card),
            canvas,
            seed=seed,
            device=self.device,
            precision=self.precision,
            watch=watch or (lambda share: None),
        )
        wav = decode_clip(self.codec, codes[0], seed=seed, index=0)
        wav = wav[: round(card["duration"] * rate)]
        probabilities = None
        if self.judge is not None:
            values = self.judge.probabilities(wav, rate).tolist()
            pairs = zip(self.judge.class_names, values, strict=True)
            probabilities = dict(sorted(pairs, key=lambda pair: -pair[1]))
        sound = {name: value for name, value in card.items() if name not in NOT_THE_SOUND}
        name = f"{card['class']}_{seed}_{sha256_json(sound)[:8]}"
        controls, silence = canvas.controls, canvas.silence
        return Take(name, codes.cpu(), wav, card, controls, silence, probabilities)


def _level(envelope: Envelope | None) -> np.ndarray | None:
    """Levels in dB, evenly spaced, of a file or a list."""
    if envelope is None:
        return None
    return file_level(envelope) if isinstance(envelope, Path) else np.asarray(envelope, float)


def _listed(envelope: Sequence[float] | None) -> list[float] | None:
    return None if envelope is None else np.asarray(envelope, float).tolist()
