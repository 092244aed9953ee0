"""Figures of the failure modes: bars in noise floors, verdicts by colour and word."""

import numpy as np
import pandas as pd

from ssenv_core.metrics.failure_modes import Diagnosis
from ssenv_core.plots.failure_modes import (
    VERDICT_COLOURS,
    curves,
    diagnosis_chart,
    number_map,
    spectrum_chart,
)
from ssenv_core.plots.style import COLOURS


def test_a_diagnosis_is_drawn_in_noise_floors_with_its_verdict_as_colour_and_word():
    fig = diagnosis_chart(
        [
            Diagnosis("energy_above_4khz", real=-10.0, generated=-16.0, noise_floor=2.0),
            Diagnosis("energy_below_100hz", real=-10.0, generated=-11.0, noise_floor=2.0),
            Diagnosis("onset_rate", real=3.0, generated=7.0, noise_floor=2.0),
            Diagnosis("mean_distance", real=1.0, generated=0.7, noise_floor=0.0),
        ]
    )
    spectral, temporal, diversity = fig.data
    assert list(spectral.y) == ["energy above 4 kHz", "energy below 100 Hz"]
    assert list(spectral.x) == [3, -0.5]
    assert list(spectral.text) == ["3.0 present", "-0.5"]
    assert list(temporal.x) == [-2]
    assert list(temporal.text) == ["-2.0 other direction"]
    assert list(diversity.x) == [0]
    assert diversity.text[0] == "real clips do not differ present"
    colours = [*spectral.marker.color, *temporal.marker.color]
    assert colours == [VERDICT_COLOURS[name] for name in ("present", "absent", "reversed")]
    assert len(set(VERDICT_COLOURS.values())) == 3
    titles = [note.text for note in fig.layout.annotations]
    assert titles == ["High-frequency attenuation", "Temporal smoothing", "Reduced diversity"]
    assert sorted({line.x0 for line in fig.layout.shapes}) == [-1, 1]
    low, high = fig.layout.xaxis.range
    assert low < -2
    assert high > 3


def test_a_spectrum_keeps_its_side_s_colour_in_any_order_and_leaves_empty_bands_out():
    hertz = pd.Index([100.0, 1000.0, 10_000.0])
    fig = spectrum_chart(
        {
            "generated": pd.Series([0.0, -10.0, -np.inf], hertz),
            "other": pd.Series([0.0, 1.0, 2.0], hertz),
        }
    )
    assert fig.data[0].line.color == COLOURS["generated"]
    assert fig.data[1].line.color not in COLOURS.values()
    assert np.isnan(fig.data[0].y).tolist() == [False, False, True]
    assert list(fig.data[0].x) == list(hertz)
    assert fig.layout.xaxis.type == "log"


def test_curves_are_drawn_over_their_index_and_short_ones_with_markers():
    fig = curves({"real": pd.Series(range(3), [2, 4, 8]), "codec": pd.Series(range(20))}, "s", "dB")
    assert list(fig.data[0].x) == [2, 4, 8]
    assert [line.mode for line in fig.data] == ["lines+markers", "lines"]
    assert [line.line.color for line in fig.data] == [COLOURS["real"], COLOURS["codec"]]


def test_a_number_map_writes_its_numbers_and_leaves_nan_blank():
    table = pd.DataFrame({"onset_rate": [1.26, np.nan], "level_spread": [-0.01, -3.0]}, ["a", "b"])
    (heat,) = number_map(table, "gap", reach=2.0).data
    assert heat.text.tolist() == [["1.3", "0.0"], ["", "-3.0"]]
    assert (heat.zmin, heat.zmax) == (-2, 2)
    assert list(heat.x) == ["onset rate", "level spread"]
