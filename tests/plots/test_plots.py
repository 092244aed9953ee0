"""Figures show their data, on honest scales, light enough for a notebook, legible in grey."""

import base64
import itertools
import json
import warnings

import librosa
import numpy as np
import pandas as pd
import plotly.io
import pytest
import scipy.stats
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kaleido.scopes.plotly import PlotlyScope

from ssenv_core.base.errors import SsenvError
from ssenv_core.metrics.acoustic import COMPARED, METRICS
from ssenv_core.plots import (
    classes,
    codes,
    masks,
    metrics,
    pictures,
    spectrograms,
    style,
    tables,
    training,
)
from ssenv_core.plots.spectrograms import DB_RANGE
from ssenv_core.plots.style import COLOURS
from ssenv_core.soundstorm.decoding import Iteration

RATE = 24_000


def noise(seconds, amplitude=0.1, seed=0):
    return (amplitude * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(
        np.float32
    )


def panel(wav, rate):
    return spectrograms.spectrogram_grid({"dog": {"real": wav}}, rate)


def luminance(colour):
    """Relative luminance of #RRGGBB (WCAG 2)."""
    channels = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ [
        0.2126,
        0.7152,
        0.0722,
    ]


def test_real_codec_and_generated_stay_apart_in_grey_and_stand_out_from_white():
    lightness = [luminance(colour) for colour in COLOURS.values()]
    for a, b in itertools.combinations([*lightness, 1.0], 2):
        assert (max(a, b) + 0.05) / (min(a, b) + 0.05) > 2
    assert all(1.05 / (value + 0.05) > 3 for value in lightness)
    assert len(set(style.DASHES.values())) == 3


def test_a_sine_at_full_scale_reads_about_0_db_at_its_frequency_and_half_of_it_6_db_less():
    sine = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    level, _ = spectrograms.mel_levels(sine, RATE)
    fig = panel(sine, RATE)
    tick = fig.layout.yaxis.tickvals[fig.layout.yaxis.ticktext.index("1k")]
    assert abs(level.mean(axis=1).argmax() - tick) <= 1
    assert level.max() == pytest.approx(0, abs=3)
    np.testing.assert_allclose(
        level.max() - spectrograms.mel_levels(sine / 2, RATE)[0].max(), 20 * np.log10(2), atol=1e-6
    )


@settings(deadline=None, max_examples=30)
@example(seconds=1.9, rate=22_050, columns=46)
@given(
    seconds=st.floats(0.001, 12),
    rate=st.sampled_from([8000, 22_050, 44_100]),
    columns=st.integers(40, 250),
)
def test_a_spectrogram_never_exceeds_its_columns_and_covers_the_clip(seconds, rate, columns):
    wav = np.ones(max(2, round(seconds * rate)), np.float32)
    level, step = spectrograms.mel_levels(wav, rate, columns=columns, bands=40)
    assert level.shape[0] == 40
    assert 1 <= level.shape[1] <= columns
    hop = round(step * rate)  # whole samples, as seconds round
    assert step * rate == pytest.approx(hop)
    assert (level.shape[1] - 1) * hop <= len(wav) <= level.shape[1] * hop


@pytest.mark.parametrize("place", [0.1, 7.03, 19.42, 29.9])
def test_a_click_in_a_long_clip_is_never_between_the_columns(place):
    wav = np.zeros(30 * RATE, np.float32)
    wav[round(place * RATE)] = 1
    level, step = spectrograms.mel_levels(wav, RATE, columns=100)
    assert level.max() > -80
    assert level.max(axis=0).argmax() * step == pytest.approx(place, abs=step)


def test_spectrograms_share_one_scale_and_silence_is_its_dark_end():
    loud, quiet, silence = noise(1), noise(1, 0.001), np.zeros(RATE, np.float32)
    fig = spectrograms.spectrogram_grid(
        {"dog": {"real": loud, "generated": quiet}, "rain": {"real": silence}}, RATE
    )
    panels = {trace.coloraxis: [] for trace in fig.data}
    assert set(panels) == {"coloraxis"}
    top, bottom = fig.layout.coloraxis.cmax, fig.layout.coloraxis.cmin
    assert top - bottom == DB_RANGE
    first, second, third = (np.asarray(trace.z) for trace in fig.data)
    assert top - 1 <= first.max() <= top
    assert np.median(first) - np.median(second) == pytest.approx(40, abs=1)
    assert (third <= bottom).all()
    alone = panel(silence, RATE)
    assert (np.asarray(alone.data[0].z) <= alone.layout.coloraxis.cmin).all()


def test_a_clip_that_a_row_lacks_is_said_to_be_missing_in_its_own_panel():
    fig = spectrograms.spectrogram_grid(
        {"dog": {"real": noise(1), "generated": noise(1)}, "rain": {"real": noise(1)}}, RATE
    )
    (note,) = [a for a in fig.layout.annotations if a.text == "no clip"]
    x, y = fig.layout.xaxis4.domain, fig.layout.yaxis4.domain
    assert x[0] < note.x < x[1]
    assert y[0] < note.y < y[1]


def test_a_page_of_spectrograms_of_five_seconds_stays_under_half_a_megabyte():
    wav = noise(5)
    rows = {f"class {i}": dict.fromkeys(COLOURS, wav) for i in range(5)}
    assert len(spectrograms.spectrogram_grid(rows, RATE).to_json()) < 500_000


def test_ticks_stop_at_half_the_sampling_rate():
    fig = panel(noise(0.5)[:4000], 8000)
    assert fig.layout.yaxis.ticktext == ("100", "500", "1k", "2k")
    assert all(0 <= tick <= 79 for tick in fig.layout.yaxis.tickvals)
    np.testing.assert_allclose(np.diff(fig.layout.yaxis.tickvals) > 0, True)


def test_a_clip_that_is_not_finite_is_refused_in_one_line():
    with pytest.raises(SsenvError, match="NaN"):
        panel(np.full(4000, np.nan, np.float32), RATE)


@settings(deadline=None)
@given(samples=st.lists(st.floats(-1, 1), min_size=1, max_size=200), columns=st.integers(1, 50))
def test_no_peak_is_lost_when_a_waveform_is_decimated(samples, columns):
    wav = np.array(samples)
    low, high = spectrograms.extremes(wav, columns)
    assert len(low) == len(high) == min(columns, len(wav))
    assert (low <= high).all()
    assert (low.min(), high.max()) == (wav.min(), wav.max())


def test_the_largest_distance_of_two_curves_is_ks_d_of_the_finite_values():
    rng = np.random.default_rng(0)
    tables = [
        pd.DataFrame(rng.normal(shift, 1, (n, len(METRICS))), columns=list(METRICS))
        for shift, n in [(0, 40), (0.1, 30), (1, 20)]
    ]
    tables[0].loc[0, "snr"], tables[2].loc[0, "snr"] = np.inf, np.nan
    fig = metrics.metric_distributions(dict(zip(COLOURS, tables, strict=True)))
    real, codec, generated = fig.data[:3]
    assert [trace.name for trace in (real, codec, generated)] == list(COLOURS)
    assert [trace.line.color for trace in (real, codec, generated)] == list(COLOURS.values())
    grid = np.sort(np.concatenate([real.x, generated.x]))
    steps = [
        np.asarray(trace.y)[np.searchsorted(trace.x, grid, side="right") - 1]
        for trace in (real, generated)
    ]
    values = [table["snr"][np.isfinite(table["snr"])] for table in (tables[0], tables[2])]
    assert np.abs(steps[0] - steps[1]).max() == pytest.approx(
        scipy.stats.ks_2samp(*values).statistic
    )
    assert len(fig.data) == 3 * len(COMPARED)


def test_a_metric_without_finite_values_has_no_curve():
    table = pd.DataFrame({name: [1.0, 2.0] for name in METRICS})
    fig = metrics.metric_distributions(
        {"real": table, "codec": table, "generated": table.assign(snr=np.nan)}
    )
    assert len(fig.data) == 3 * len(COMPARED) - 1


def test_a_table_of_metrics_is_html_with_units_signs_and_the_three_colours():
    table = pd.DataFrame(
        {
            "real_n": [40],
            "real_mean": [0.25],
            "generated_mean": [1391.78],
            "difference_percent": [-54.951],
            "ks_p": [1e-9],
        }
    )
    page = tables.comparison_table(
        table.set_index(pd.Index(["spectral_centroid"])).assign(ks_d=np.nan), "A caption"
    ).to_html()
    for text in (
        "<caption>A caption",
        "spectral centroid (Hz)",
        ">40<",
        ">0.250<",
        ">1392<",
        ">-55.0 %<",
        "< 0.001",
        ">–<",
        "generated mean",
    ):
        assert text in page.replace("&lt;", "<")
    assert COLOURS["real"] in page
    assert COLOURS["generated"] in page
    assert COLOURS["codec"] not in page


def test_codebook_usage_shows_the_share_that_is_not_dead_and_the_entropy():
    used, entropy = codes.codebook_usage(
        pd.DataFrame({"dead": [0.0, 0.75], "entropy": [6.0, 4.0]}, index=[1, 2]), 64
    ).data
    assert list(used.y) == [100, 25]
    assert list(entropy.y) == [6, 4]
    assert list(used.x) == ["1", "2"]


def test_confusions_are_shares_of_the_true_class_in_rows():
    fig = classes.confusion_matrix(
        np.array([[3, 1, 0], [0, 2, 0], [0, 0, 0]]), ["car_horn", "dog", "rain"]
    )
    assert np.asarray(fig.data[0].z).tolist() == [[75, 25, 0], [0, 100, 0], [0, 0, 0]]
    assert fig.data[0].y[0] == "car horn"
    assert fig.layout.yaxis.title.text == "true class"
    assert fig.layout.yaxis.autorange == "reversed"


def test_classes_stand_best_first_with_the_paper_s_where_it_names_them():
    shares = pd.Series({"rain": 0.2, "dog": 0.9, "car_horn": 0.5})
    fig = classes.class_accuracy({"fine-tuned": shares, "CNN": 1 - shares}, classes.PAPER_CLASSES)
    assert list(fig.data[0].x) == ["dog", "car horn", "rain"]
    assert list(fig.data[0].y) == [0.9, 0.5, 0.2]
    assert list(fig.data[1].y) == pytest.approx([0.1, 0.5, 0.8])
    assert (fig.data[2].name, list(fig.data[2].x), list(fig.data[2].y)) == (
        "the paper",
        ["dog"],
        [0.87],
    )
    assert len(classes.class_accuracy({"fine-tuned": shares}).data) == 1


def test_a_classifier_as_sure_as_it_is_right_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > sure).astype(
        np.int64
    )  # class 0 with the probability given to it
    calibrated, boastful = (np.stack([p, 1 - p], axis=1) for p in (sure, np.full(20_000, 0.99)))
    fig = classes.reliability(labels, {"calibrated": calibrated, "boastful": boastful})
    assert np.allclose(fig.data[0].x, fig.data[0].y, atol=0.03)
    assert len(fig.data[0].x) == 10
    assert np.mean(fig.data[1].y) == pytest.approx((labels == 0).mean())
    assert list(fig.data[1].x) == pytest.approx([0.99] * 10)


def test_accuracy_by_clips_is_the_mean_of_the_draws_with_their_spread():
    curve = pd.DataFrame({"clips": [1, 1, 2, 2, 4], "accuracy": [0.2, 0.4, 0.5, 0.5, 0.6]})
    (line,) = classes.accuracy_by_clips({"frozen": curve}).data
    assert (list(line.x), list(line.y)) == ([1, 2, 4], pytest.approx([0.3, 0.5, 0.6]))
    assert list(line.error_y.array) == pytest.approx(
        [0.02**0.5, 0.0, np.nan], nan_ok=True
    )  # one draw has no spread


def test_every_token_shows_the_iteration_that_decided_it_and_given_ones_stay_blank():
    codes = torch.zeros(1, 3, 5, dtype=torch.int64)
    free = torch.tensor([[1, 1, 1, 1, 0]], dtype=torch.bool)
    left = {(0, 1): [0, 1, 1, 1, 0], (0, 2): [0, 0, 0, 1, 0], (0, 3): [0] * 5, (2, 1): [0] * 5}
    trace = [
        Iteration(level, i, codes, torch.tensor([mask], dtype=torch.bool), free)
        for (level, i), mask in left.items()
    ]
    fig = masks.mask_trace(trace, 75)
    np.testing.assert_array_equal(
        fig.data[0].z, [[1, 2, 2, 3, np.nan], [np.nan] * 5, [4] * 4 + [np.nan]]
    )
    assert fig.data[0].dx == pytest.approx(1 / 75)
    with pytest.raises(ValueError, match="record"):
        masks.mask_trace([], 75)


def test_a_long_training_log_is_thinned_without_moving_its_mean_and_validation_gaps_are_left_out():
    losses = np.random.default_rng(0).uniform(4, 7, 5000)
    rows = [
        {"step": i, "epoch": 0, "loss": loss, "validation_loss": 5.0 if i % 1000 == 0 else None}
        for i, loss in enumerate(losses)
    ]
    drawn, validation = training.training_curve(rows).data
    assert len(drawn.x) == 1000
    assert np.mean(drawn.y) == pytest.approx(losses.mean())
    assert list(validation.x) == [0, 1000, 2000, 3000, 4000]
    assert training.training_curve(rows[:10]).data[0].y.tolist() == losses[:10].tolist()


def test_training_and_held_out_loss_are_named_as_the_two_quantities_they_are():
    drawn, heldout = training.training_curve(
        [{"step": 1, "loss": 6.0, "validation_loss": 5.0}]
    ).data
    assert (drawn.name, heldout.name) == ("training loss, as drawn", "held-out, mean over levels")


@pytest.mark.parametrize(
    "fig",
    [training.training_curve([], reference=6.93), training.level_loss([5.0, 6.0], reference=6.93)],
)
def test_the_loss_of_guessing_is_a_line_that_can_be_seen(fig):
    (line,) = fig.layout.shapes
    assert line.y0 == line.y1 == 6.93
    assert line.line.width > 0
    assert "6.93" in fig.layout.annotations[0].text


def test_a_saved_figure_is_a_picture_and_the_figure_again_and_nothing_is_warned_about(tmp_path):
    fig = training.level_loss([5.0, 6.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        png, json = pictures.save_figure(fig, tmp_path / "figures" / "losses.png")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert plotly.io.from_json(json.read_text()) == fig
    assert sorted(path.name for path in png.parent.iterdir()) == ["losses.json", "losses.png"]


@pytest.fixture
def renderers(monkeypatch):
    """plotly's renderers, as they are again afterwards."""
    default = plotly.io.renderers.default
    yield plotly.io.renderers
    plotly.io.renderers.default = default


def test_without_a_front_end_a_figure_is_shown_with_the_picture_that_is_saved_of_it(
    renderers, tmp_path, monkeypatch
):
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)
    pictures.add_pictures()
    fig = training.level_loss([5.0, 6.0, 7.0])
    shown = renderers[renderers.default].to_mimebundle(fig.to_dict())
    png, json_file = pictures.save_figure(fig, tmp_path / "losses")
    assert base64.b64decode(shown["image/png"]) == png.read_bytes()
    assert shown["application/vnd.plotly.v1+json"] == json.loads(json_file.read_text())


def test_with_a_front_end_figures_are_shown_as_before(renderers, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "1")
    before = renderers.default
    pictures.add_pictures()
    assert renderers.default == before


def test_pictures_are_rendered_without_the_network():
    assert not any("http" in argument for argument in pictures._renderer()._build_proc_args())


def test_a_browser_that_does_not_start_is_one_line_and_leaves_the_last_picture(
    tmp_path, monkeypatch
):
    (tmp_path / "old.png").write_bytes(b"old")
    monkeypatch.setattr(PlotlyScope, "executable_path", classmethod(lambda _: "false"))
    pictures._renderer.cache_clear()
    pictures._png.cache_clear()
    with pytest.raises(SsenvError, match=r"cannot render .*old\.png") as caught:
        pictures.save_figure(training.level_loss([5.0]), tmp_path / "old.png")
    pictures._renderer.cache_clear()
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"old"


def test_mel_bands_of_the_ticks_are_those_of_the_filters():
    fig = panel(noise(0.5), RATE)
    centres = librosa.mel_frequencies(n_mels=82, fmax=RATE / 2)[1:-1]
    hertz = [100, 500, 1000, 2000, 5000, 10_000]
    np.testing.assert_allclose(
        np.interp(fig.layout.yaxis.tickvals, np.arange(80), centres), hertz, rtol=0.02
    )
