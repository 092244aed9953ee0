"""Figures of gaps: where parts end, signs of labels, and classes by name."""

import numpy as np
import pandas as pd
import pytest

from ssenv_core.plots import metrics
from ssenv_core.plots.style import COLOURS

PARTS = pd.DataFrame(
    {"rate": [-34.0, 42.0], "codec": [2.8, -1.8], "model": [28.0, -32.0], "total": [-3.2, 8.2]},
    index=["snr", "spectral_centroid"],
)


def test_every_part_begins_where_the_one_before_ended_and_the_total_at_zero():
    fig = metrics.gap_waterfall(PARTS)
    first = {bar.x[0]: (bar.base[0], bar.base[0] + bar.y[0]) for bar in fig.data[:4]}
    assert list(first) == ["rate", "codec", "model", "total"]
    assert first["rate"] == (0, -34)
    assert first["codec"] == pytest.approx((-34, -31.2))
    assert first["model"] == pytest.approx((-31.2, -3.2))
    assert first["total"] == pytest.approx((0, -3.2))
    assert [bar.marker.color for bar in fig.data[1:4]] == [
        COLOURS["codec"],
        COLOURS["generated"],
        COLOURS["real"],
    ]
    texts = [note.text for note in fig.layout.annotations]
    assert texts[:2] == ["SNR", "spectral centroid"]
    assert texts[2:6] == ["−34 %", "+2.8 %", "+28 %", "−3.2 %"]


def test_every_bar_and_its_label_lie_within_the_axis():
    fig = metrics.gap_waterfall(PARTS)
    for bars, axis in ((fig.data[:4], fig.layout.yaxis), (fig.data[4:], fig.layout.yaxis2)):
        edges = [edge for bar in bars for edge in (bar.base[0], bar.base[0] + bar.y[0])]
        assert axis.range[0] < min(edges)
        assert max(edges) + 0.1 * np.ptp(edges) < axis.range[1]


def test_a_part_without_a_value_is_not_drawn_and_one_of_zero_does_not_fail():
    table = pd.DataFrame(
        {"rate": [0.0, 1.0], "codec": [0.0, np.nan], "model": [0.0, 1.0], "total": [0.0, np.nan]},
        index=["snr", "zcr"],
    )
    fig = metrics.gap_waterfall(table)
    assert [bar.x[0] for bar in fig.data[4:]] == ["rate"]
    assert [note.text for note in fig.layout.annotations if note.text.endswith("%")] == [
        "+0.0 %"
    ] * 4 + ["+1.0 %"]


def test_a_point_is_a_clip_that_has_both_values_in_its_columns_colour_and_its_own_sign():
    table = pd.DataFrame(
        {"snr": [1.0, np.nan, np.inf, 4.0], "spectral_centroid": [100.0, 200.0, 300.0, 0.0]}
    )
    fig = metrics.tilt_scatter({"real": table, "codec": table, "generated": table})
    assert [list(trace.x) for trace in fig.data] == [[100]] * 3
    assert [trace.marker.color for trace in fig.data] == list(COLOURS.values())
    assert len({trace.marker.symbol for trace in fig.data}) == 3
    assert fig.layout.xaxis.type == "log"
    assert (
        dict(zip(fig.layout.xaxis.tickvals, fig.layout.xaxis.ticktext, strict=True))[2000] == "2k"
    )


def test_gaps_of_classes_stand_by_name_with_codec_and_generated_side_by_side():
    gaps = {
        "codec": pd.DataFrame({"snr": [1.26, -30.0], "rms": [0.0, 5.0]}, index=[0, 2]),
        "generated": pd.DataFrame({"snr": [160.0], "rms": [-5.0]}, index=[2]),
    }
    style = metrics.class_gaps(gaps, ("car_horn", "rain", "sea_waves"))
    assert list(style.columns) == [
        ("SNR", "codec"),
        ("SNR", "generated"),
        ("RMS energy", "codec"),
        ("RMS energy", "generated"),
    ]
    page = style.to_html()
    for text in ("car horn", "sea waves", "+1.3", "+160", "−5.0", "–"):
        assert f">{text}<" in page
    assert "rain" not in page
    assert "in percent" in page
