"""The start of a generation: given codes, loudness and onsets of a batch of clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ssenv_core.base.errors import SsenvError
from ssenv_core.base.seeds import Purpose, derive_seed
from ssenv_core.data.controls import build_controls
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.generator.plans import silent_where
from ssenv_core.soundstorm.masking import keep_outside, keep_prompt, keep_random


@dataclass(frozen=True, eq=False)
class Canvas:
    """The given part of N clips, and the controls of all of their frames.

    Attributes:
        codes: (N, Q, T) int64, read where given.
        given: (N or 1, Q, T) bool, True = kept verbatim.
        controls: (N or 1, T, C) float, see `CONTROLS`, NaN = unspecified; None: all unspecified.
        silence: (N or 1, T) bool, frames whose given codes are silence because their controls are
            silent; None: there are none.
    """

    codes: torch.Tensor
    given: torch.Tensor
    controls: torch.Tensor | None = None
    silence: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def on(self, device: torch.device) -> "Canvas":
        """A copy on a device, in which each of the N clips has its own part of every tensor."""
        parts = (self.codes, self.given, self.controls, self.silence)
        return Canvas(
            *(
                None if x is None else x.expand(len(self), *x.shape[1:]).to(device, copy=True)
                for x in parts
            )
        )

    @property
    def padding(self) -> torch.Tensor | None:
        """The silence after the last sound, (N or 1, T) bool; None where there is none.

        As in training, the model does not see it.
        """
        behind = None if self.silence is None else self.silence.flip(1).cumprod(1).flip(1).bool()
        return behind if behind is not None and behind.any() else None

    def with_onsets_and_loudness(
        self,
        generator: TrainedGenerator,
        *,
        onsets: Sequence[float] | None = None,
        level: np.ndarray | None = None,
    ) -> "Canvas":
        """The same canvas with onsets (s) and a loudness (dB) for all clips.

        See `controls.build_controls`.

        Raises:
            SsenvError: the generator was trained without controls, or they do not fit the clips.
        """
        if not generator.model.config.controls:
            raise SsenvError(
                "this generator was trained without controls: it follows neither onsets nor "
                "loudness"
            )
        frames, rate = self.codes.shape[2], generator.format.frame_rate
        controls = build_controls(frames, rate, onsets=onsets, level=level)
        return replace(self, controls=controls[None])

    def with_plans(self, generator: TrainedGenerator, labels: Sequence[int], seed: int) -> "Canvas":
        """The same canvas with the loudness and onsets of a training clip of each clip's class.

        The training clip of clip i follows from (seed, i); where it ends, another continues.

        Raises:
            SsenvError: the generator's file holds no plans, or none of a class.
        """
        plans = generator.plans
        n_frames = self.codes.shape[2]
        if plans is None:
            raise SsenvError(
                "this generator has no plans (it has no controls, or is of an earlier version): "
                "generate without a plan"
            )
        clips = math.ceil(n_frames / plans.controls.shape[1])
        controls = []
        for i, label in enumerate(labels):
            own = (plans.labels == label).nonzero()[:, 0]
            draw = torch.Generator().manual_seed(derive_seed(seed, i, Purpose.PLAN))
            if not len(own):
                name = (*generator.class_names, "no class")[label]
                raise SsenvError(f"no clip of {name} was in the training: generate without a plan")
            picked = own[torch.randint(len(own), (clips,), generator=draw)]
            controls.append(plans.controls[picked].flatten(0, 1)[:n_frames])
        return self.with_controls(generator, torch.stack(controls))

    def with_controls(self, generator: TrainedGenerator, controls: torch.Tensor) -> "Canvas":
        """The same canvas with controls (N, T, C).

        If the codec has codes of silence, they are given where the controls are silent.
        """
        if generator.plans is None or generator.plans.silence is None:
            return replace(self, controls=controls)
        silent = silent_where(controls)
        codes = torch.where(
            silent[:, None] & ~self.given, generator.plans.silence[:, None], self.codes
        )
        return Canvas(codes, self.given | silent[:, None], controls, silent)

    @classmethod
    def blank(cls, generator: TrainedGenerator, clips: int, duration: float) -> "Canvas":
        """`clips` clips of `duration` seconds with nothing given; see `frames_of`.

        Raises:
            SsenvError: the duration is not more than 0.
        """
        n_frames = frames_of(generator, duration)
        codes = torch.zeros(clips, generator.model.config.n_q, n_frames, dtype=torch.int64)
        return cls(codes, torch.zeros_like(codes[:1], dtype=torch.bool))

    @classmethod
    def continuing(
        cls, generator: TrainedGenerator, codes: torch.Tensor, duration: float
    ) -> "Canvas":
        """The continuation of codes (N, Q, T) to `duration` seconds.

        Raises:
            SsenvError: they are that long already.
        """
        n_frames = frames_of(generator, duration)
        _, n_q, n_given = codes.shape
        if n_frames <= n_given:
            raise SsenvError(
                f"the sound to continue has {n_given / generator.format.frame_rate:.2f} s: a "
                f"duration of {duration:g} s leaves nothing to generate"
            )
        padded = torch.nn.functional.pad(codes, (0, n_frames - n_given))
        return cls(padded, keep_prompt(n_q, n_frames, n_given))

    @classmethod
    def inpainting(
        cls, generator: TrainedGenerator, codes: torch.Tensor, start: float, stop: float
    ) -> "Canvas":
        """Codes (N, Q, T) of which the part from `start` to `stop` seconds is generated again.

        Raises:
            SsenvError: no frame lies there.
        """
        rate = generator.format.frame_rate
        _, n_q, n_frames = codes.shape
        first = last = 0
        if 0 <= start < stop:
            first, last = (round(min(moment * rate, n_frames)) for moment in (start, stop))
        if first == last:
            raise SsenvError(
                f"no part of the sound's {n_frames / rate:.2f} s lies from {start:g} to {stop:g} s"
            )
        return cls(codes, keep_outside(n_q, n_frames, first, last))

    @classmethod
    def varying(cls, codes: torch.Tensor, share: float, seed: int) -> "Canvas":
        """Codes (N, Q, T) of which a random `share` of tokens, drawn per clip, is generated again.

        Raises:
            SsenvError: the share does not lie in (0, 1], or is less than half a frame.
        """
        if not 0 < share <= 1:
            raise SsenvError(f"the share of a sound to vary must lie in (0, 1], not {share:g}")
        _, n_q, n_frames = codes.shape
        if round((1 - share) * n_frames) == n_frames:
            raise SsenvError(
                f"a share of {share:g} leaves nothing of the sound's {n_frames} frames to vary"
            )
        draws = (
            torch.Generator().manual_seed(derive_seed(seed, i, Purpose.VARIATION))
            for i in range(len(codes))
        )
        given = torch.cat([keep_random(n_q, n_frames, 1 - share, draw) for draw in draws])
        return cls(codes, given)


def frames_of(generator: TrainedGenerator, duration: float) -> int:
    """Number of frames in `duration` seconds, rounded up.

    Raises:
        SsenvError: the duration is not more than 0, or infinite.
    """
    if not 0 < duration < math.inf:
        raise SsenvError(f"duration {duration} must be more than 0 seconds, and finite")
    return max(1, math.ceil(duration * generator.format.frame_rate - 1e-9))
