"""Sounds made one at a time, to be heard and worked on: generated, varied, extended, made anew in part, kept with their recipes.

This is what the panel of 03 does, without a widget: no threads, nothing shown, no files but the sounds that are kept.
"""

from collections.abc import Callable, Mapping, Sequence
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
from ssenv_core.generator.file import TrainedGenerator, class_index
from ssenv_core.generator.generation import decode_clip, generate_codes
from ssenv_core.generator.recipes import makers, recipe, write_sound
from ssenv_core.soundstorm.sampling import Sampling

SETTINGS = (*(field.name for field in fields(Sampling)), "choice_temperature")
STARTS = ("continue", "inpaint", "vary")
NOT_THE_SOUND = (
    "checkpoint",
    "environment",
    "parent",
)  # in a recipe: where and on what it was made; a parent is named by its sound
Envelope = Path | Sequence[float]
Watch = Callable[[float], None]


class Stopped(Exception):
    """For a `watch` to raise where a take is no longer wanted: it goes through to who asked for the take."""


@dataclass(frozen=True, eq=False)
class Take:
    """One sound, and how it came about.

    Attributes:
        name: of its class and seed, and of its recipe's hash: another recipe has another name.
        codes: (1, Q, T) int64, on the CPU.
        wav: (S,) float32 at the codec's rate, as long as the recipe says.
        recipe: see `recipes.recipe`; of one made from another, with that one's as "parent".
        controls: (1, T, 2) float, what was asked of each frame (see `controls`), or None.
        silence: (1, T) bool, where a plan was silent, which stays so in what is made from this, or None.
        probabilities: of the judge's classes, likeliest first; None without a judge.
    """

    name: str
    codes: torch.Tensor
    wav: np.ndarray
    recipe: dict[str, Any]
    controls: torch.Tensor | None
    silence: torch.Tensor | None
    probabilities: dict[str, float] | None


class AuditionSession:
    """A generator and a codec, ready to make takes.

    Every method that makes one tells `watch` which share is done, in (0, 1]; what that raises, `Stopped` say, ends it, and no take is made.

    Attributes:
        judge: names what it hears in the takes; None leaves them unnamed.

    Raises:
        SsenvError: the codec is not the one whose tokens the generator was trained on.
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
        self.generator, self.codec, self.judge = generator, codec, judge
        self.device, self.precision = resolve_device(device), precision
        self.made_by = makers(checkpoint, generator, codec, self.device, precision)

    @property
    def can_be_asked(self) -> bool:
        """Whether the generator was trained to be told of onsets and loudness."""
        return bool(self.generator.model.config.controls)

    @property
    def has_plans(self) -> bool:
        """Whether its file holds what happens when in training clips."""
        return self.generator.plans is not None

    def generate(
        self,
        class_name: str,
        *,
        seed: int,
        duration: float,
        settings: Mapping[str, Any],
        onsets: Sequence[float] | None = None,
        envelope: Envelope | None = None,
        plan: bool = False,
        watch: Watch | None = None,
    ) -> Take:
        """A take out of nothing.

        Args:
            duration: seconds.
            settings: as `Sampling.of` takes them; other names are left out.
            onsets: seconds at which something is to begin, and at no others.
            envelope: a file whose loudness it is to have, stretched, or levels (dB re full scale), evenly spaced over the clip.
            plan: ask for the loudness and the onsets of a training clip of the class instead.

        Raises:
            SsenvError: no such class, a setting, the duration or an onset out of range, a file that cannot be read, onsets or an
                envelope for a generator without controls, or a plan of one without plans.
            ValueError: a plan beside onsets or an envelope.
        """
        if plan and not (onsets is None and envelope is None):
            raise ValueError("a plan says itself when something begins, and how loud it is")
        canvas, level = Canvas.blank(self.generator, 1, duration), None
        if plan:
            canvas = canvas.with_plans(
                self.generator, [class_index(self.generator.class_names, class_name)], seed
            )
        if envelope is not None:
            level = (
                file_level(envelope) if isinstance(envelope, Path) else np.asarray(envelope, float)
            )
        if onsets is not None or level is not None:
            canvas = canvas.with_onsets_and_loudness(self.generator, onsets=onsets, level=level)
        asked = {
            "onsets": None if onsets is None else ",".join(f"{onset:g}" for onset in onsets),
            "envelope": str(envelope)
            if isinstance(envelope, Path)
            else None
            if level is None
            else level.tolist(),
            "plan": plan,
        }
        kept = {name: settings[name] for name in SETTINGS}
        return self._take(
            canvas, recipe(self.made_by, class_name, duration, kept, seed, **asked), watch
        )

    def vary(self, take: Take, share: float, *, seed: int, watch: Watch | None = None) -> Take:
        """More like this: a random `share` of its tokens made anew, with its own settings, but for a plan's silence.

        Raises:
            SsenvError: no such share.
        """
        return self._from(
            take, Canvas.varying(take.codes, share, seed), {"vary": [take.name, share]}, seed, watch
        )

    def inpaint(
        self, take: Take, start: float, stop: float, *, seed: int, watch: Watch | None = None
    ) -> Take:
        """The same, from `start` to `stop` seconds made anew: what was silent there, is asked for nothing now.

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
        """The same, and `seconds` more; of the whole nothing is asked. Raises SsenvError where these are not more than 0."""
        duration = take.recipe["duration"] + seconds
        canvas = Canvas.continuing(self.generator, take.codes, duration)
        start = {
            "continue": take.name,
            "duration": duration,
            "onsets": None,
            "envelope": None,
            "plan": False,
        }
        return self._from(replace(take, controls=None, silence=None), canvas, start, seed, watch)

    def keep(self, take: Take, folder: Path) -> Path:
        """Write a take into a folder as NAME.wav, with its recipe as NAME.json.

        Raises:
            SsenvError: the file system refuses the write.
        """
        return write_sound(
            folder / f"{take.name}.wav", take.wav, self.codec.sample_rate, take.recipe
        )

    def _from(
        self, take: Take, canvas: Canvas, changed: Mapping[str, Any], seed: int, watch: Watch | None
    ) -> Take:
        """A take from another, which is asked for the same; `changed` is what its recipe says otherwise."""
        of = {name: value for name, value in take.recipe.items() if name not in (*STARTS, "parent")}
        given = canvas.given if take.silence is None else canvas.given | take.silence[:, None]
        canvas = replace(canvas, given=given, controls=take.controls, silence=take.silence)
        return self._take(canvas, {**of, **changed, "seed": seed, "parent": take.recipe}, watch)

    def _take(self, canvas: Canvas, card: dict[str, Any], watch: Watch | None) -> Take:
        seed, label, sampling = (
            card["seed"],
            class_index(self.generator.class_names, card["class"]),
            Sampling.of(card),
        )
        where = {"device": self.device, "precision": self.precision}
        codes = generate_codes(
            self.generator,
            [label],
            sampling,
            canvas,
            seed=seed,
            **where,
            watch=watch or (lambda share: None),
        )
        rate = self.codec.sample_rate
        wav = decode_clip(self.codec, codes[0], seed=seed, index=0)[
            : round(card["duration"] * rate)
        ]
        heard = None
        if self.judge is not None:
            named = zip(
                self.judge.class_names, self.judge.probabilities(wav, rate).tolist(), strict=True
            )
            heard = dict(sorted(named, key=lambda pair: -pair[1]))
        digest = sha256_json(
            {name: value for name, value in card.items() if name not in NOT_THE_SOUND}
        )[:8]
        return Take(
            f"{card['class']}_{seed}_{digest}",
            codes.cpu(),
            wav,
            card,
            canvas.controls,
            canvas.silence,
            heard,
        )
