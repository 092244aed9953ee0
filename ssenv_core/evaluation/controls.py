"""How closely generated clips follow the loudness and onsets they were conditioned on."""

import warnings

import mir_eval
import numpy as np
import pandas as pd
import torch

from ssenv_core.base.devices import resolve_device
from ssenv_core.codecs.protocol import Codec
from ssenv_core.data.controls import LOUDNESS, ONSET, ONSET_WINDOW, measure_controls
from ssenv_core.data.tokens import TokenSet
from ssenv_core.generator.canvas import Canvas
from ssenv_core.generator.file import TrainedGenerator
from ssenv_core.generator.generation import generate_codes, generate_waveforms
from ssenv_core.generator.plans import silent_where
from ssenv_core.soundstorm.sampling import Sampling


def control_adherence(
    controls: torch.Tensor, wav: np.ndarray, sample_rate: int, frame_rate: float
) -> dict[str, float]:
    """How closely wav (S,) follows its controls (T, C).

    Returns:
        loudness_correlation: Pearson's, of the levels in dB; NaN where one of them is constant or
            no loudness is specified.
        onset_precision, onset_recall, onset_f1: of onsets within ONSET_WINDOW of each other, one to
            one (`mir_eval.onset`); 1 without onsets in controls and sound; NaN where no onsets are
            specified.
    """
    measured = measure_controls(wav, sample_rate, len(controls), frame_rate)
    specified = ~controls[:, LOUDNESS].isnan()
    levels = torch.stack((controls[specified, LOUDNESS], measured[specified, LOUDNESS])).numpy()
    varied = specified.any() and (np.ptp(levels, axis=1) > 0).all()
    scores = {"loudness_correlation": float(np.corrcoef(levels)[0, 1]) if varied else np.nan}
    if controls[:, ONSET].isnan().all():
        return scores | dict.fromkeys(("onset_precision", "onset_recall", "onset_f1"), np.nan)
    times = [
        ((track[:, ONSET] == 1).nonzero()[:, 0] + 0.5).numpy() / frame_rate
        for track in (controls, measured)
    ]
    if not any(map(len, times)):
        return scores | dict.fromkeys(("onset_precision", "onset_recall", "onset_f1"), 1.0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* onsets are empty")
        f1, precision, recall = mir_eval.onset.f_measure(*times, window=ONSET_WINDOW)
    return scores | {
        "onset_precision": float(precision),
        "onset_recall": float(recall),
        "onset_f1": float(f1),
    }


def control_scores(
    generator: TrainedGenerator,
    codec: Codec,
    tokens: TokenSet,
    sampling: Sampling,
    *,
    seed: int,
    device: str | torch.device = "auto",
    precision: str = "auto",
) -> pd.DataFrame:
    """Mean `control_adherence` of clips generated with and without the controls of `tokens`.

    The clips have the classes of `tokens` and the controls of its clips, one kind of them, or none.
    Where the controls are silent, silence is given, as by a plan, and the loudness is not scored:
    it would be right without any effort of the model.

    Returns:
        One score per row. Columns "both", "loudness alone", "onsets alone" and "class alone", with
        the same seeds; and "recording", the clips' own codes decoded, the best that this codec
        lets a generator reach.

    Raises:
        SsenvError: as `generate_codes` and `generate_waveforms`.
    """
    blank = Canvas.blank(generator, len(tokens), tokens.format.duration)
    means = {}
    scored = tokens.controls.clone()
    scored[..., LOUDNESS].masked_fill_(silent_where(scored), torch.nan)
    canvases = {}
    for name, dropped in (("both", []), ("loudness alone", [ONSET]), ("onsets alone", [LOUDNESS])):
        controls = tokens.controls.clone()
        controls[..., dropped] = torch.nan
        canvases[name] = blank.with_controls(generator, controls)
    for name, canvas in (canvases | {"class alone": blank, "recording": None}).items():
        codes = tokens.codes.to(resolve_device(device))
        if canvas is not None:
            codes = generate_codes(
                generator,
                tokens.labels.tolist(),
                sampling,
                canvas,
                seed=seed,
                device=device,
                precision=precision,
            )
        wavs = generate_waveforms(generator, codec, codes, seed=seed)
        scores = [
            control_adherence(controls, wav, codec.sample_rate, codec.frame_rate)
            for controls, wav in zip(scored, wavs, strict=True)
        ]
        means[name] = pd.DataFrame(scores).mean()
    return pd.DataFrame(means)
