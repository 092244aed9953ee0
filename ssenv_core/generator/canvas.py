"""What is given and what is to be generated: codes, mask, loudness and onsets of a batch of clips."""

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
    """What clips start from.

    Attributes:
        codes: (N, Q, T) int64, read where given.
        given: (N or 1, Q, T) bool, True = kept verbatim.
        controls: (N or 1, T, 2) float, what is asked of each frame (see `controls`); None asks nothing.
        silence: (N or 1, T) bool, given frames that were asked to be silent; None: there are none.
    """

    codes: torch.Tensor
    given: torch.Tensor
    controls: torch.Tensor | None = None
    silence: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def on(self, device: torch.device) -> "Canvas":
        """The same on a device, and nothing of it shared by its N clips."""
        parts = {
            name: part
            for name in ("codes", "given", "controls", "silence")
            if (part := getattr(self, name)) is not None
        }
        return Canvas(
            **{
                name: part.expand(len(self), *part.shape[1:]).to(device, copy=True)
                for name, part in parts.items()
            }
        )

    @property
    def padding(self) -> torch.Tensor | None:
        """(N or 1, T) bool, the silence behind the last sound, which the model is not shown, as in training; None where there is none."""
        behind = None if self.silence is None else self.silence.flip(1).cumprod(1).flip(1).bool()
        return behind if behind is not None and behind.any() else None

    def asking(
        self,
        generator: TrainedGenerator,
        *,
        onsets: Sequence[float] | None = None,
        level: np.ndarray | None = None,
    ) -> "Canvas":
        """The same, with onsets (s) and a loudness (dB) asked for; see `controls.build_controls`.

        Raises:
            SsenvError: the generator was trained without controls, or they do not fit the clips.
        """
        if not generator.model.config.controls:
            raise SsenvError(
                "this generator was trained without controls: it cannot be asked for onsets or loudness"
            )
        asked = build_controls(
            self.codes.shape[2], generator.metadata["frame_rate"], onsets=onsets, level=level
        )
        return replace(self, controls=asked[None])

    def planned(self, generator: TrainedGenerator, labels: Sequence[int], seed: int) -> "Canvas":
        """The same, with each clip asked for what happens when in a training clip of its class: its loudness and its onsets.

        Which clip that is of clip i, follows from (seed, i); where it ends, another goes on.

        Raises:
            SsenvError: the generator's file holds no plans, or none of a class.
        """
        plans, n_frames = generator.plans, self.codes.shape[2]
        if plans is None:
            raise SsenvError(
                "this generator has no plans to ask for, as one without controls or of an earlier version: ask for none"
            )
        controls = []
        for i, label in enumerate(labels):
            own, draw = (
                (plans.labels == label).nonzero()[:, 0],
                torch.Generator().manual_seed(derive_seed(seed, i, Purpose.PLAN)),
            )
            if not len(own):
                name = (*generator.class_names, "no class")[label]
                raise SsenvError(f"no clip of {name} was in the training: ask for no plan")
            picked = own[
                torch.randint(len(own), (-(-n_frames // plans.controls.shape[1]),), generator=draw)
            ]
            controls.append(plans.controls[picked].flatten(0, 1)[:n_frames])
        return self.told(generator, torch.stack(controls))

    def told(self, generator: TrainedGenerator, controls: torch.Tensor) -> "Canvas":
        """The same, with controls (N, T, 2) asked for. Where these are silent and the codec has codes for silence, those are given."""
        if generator.plans is None or generator.plans.silence is None:
            return replace(self, controls=controls)
        silent = silent_where(controls)
        codes = torch.where(
            silent[:, None] & ~self.given, generator.plans.silence[:, None], self.codes
        )
        return Canvas(codes, self.given | silent[:, None], controls, silent)

    @classmethod
    def blank(cls, generator: TrainedGenerator, clips: int, duration: float) -> "Canvas":
        """Nothing is given of `clips` clips of `duration` seconds; a part of a frame counts as a whole one.

        Raises:
            SsenvError: the duration is not more than 0.
        """
        codes = torch.zeros(
            clips, generator.model.config.n_q, frames_of(generator, duration), dtype=torch.int64
        )
        return cls(codes, torch.zeros_like(codes[:1], dtype=torch.bool))

    @classmethod
    def continuing(
        cls, generator: TrainedGenerator, codes: torch.Tensor, duration: float
    ) -> "Canvas":
        """codes (N, Q, T), to be continued until `duration` seconds.

        Raises:
            SsenvError: they are as long already.
        """
        n_frames = frames_of(generator, duration)
        _, n_q, n_given = codes.shape
        if n_frames <= n_given:
            rate = generator.metadata["frame_rate"]
            raise SsenvError(
                f"the sound to continue has {n_given / rate:.2f} s: a duration of {duration:g} s leaves nothing to generate"
            )
        return cls(
            torch.nn.functional.pad(codes, (0, n_frames - n_given)),
            keep_prompt(n_q, n_frames, n_given),
        )

    @classmethod
    def inpainting(
        cls, generator: TrainedGenerator, codes: torch.Tensor, start: float, stop: float
    ) -> "Canvas":
        """codes (N, Q, T), to be made anew from `start` to `stop` seconds.

        Raises:
            SsenvError: no frame of them lies there.
        """
        rate, (_, n_q, n_frames) = generator.metadata["frame_rate"], codes.shape
        first, last = (
            (round(min(moment * rate, n_frames)) for moment in (start, stop))
            if 0 <= start < stop
            else (0, 0)
        )
        if first == last:
            raise SsenvError(
                f"no part of the sound's {n_frames / rate:.2f} s lies from {start:g} to {stop:g} s"
            )
        return cls(codes, keep_outside(n_q, n_frames, first, last))

    @classmethod
    def varying(cls, codes: torch.Tensor, share: float, seed: int) -> "Canvas":
        """codes (N, Q, T), a random `share` of whose tokens is to be made anew, in every clip another.

        Raises:
            SsenvError: the share does not lie in (0, 1], or is not half a frame.
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
        return cls(
            codes, torch.cat([keep_random(n_q, n_frames, 1 - share, draw) for draw in draws])
        )


def frames_of(generator: TrainedGenerator, duration: float) -> int:
    """Frames in `duration` seconds, a part of one counted as a whole.

    Raises:
        SsenvError: the duration is not more than 0, or endless.
    """
    if not 0 < duration < math.inf:
        raise SsenvError(f"duration {duration} must be more than 0 seconds, and finite")
    return max(1, math.ceil(duration * generator.metadata["frame_rate"] - 1e-9))
