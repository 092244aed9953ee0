"""The map of a classifier's features: neighbours stay close, and a click plays the clip."""

import re
from base64 import b64decode
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import ipywidgets
import numpy as np
import plotly.graph_objects as go
import pytest
import soundfile
import torch
from plotly.callbacks import Points
from tiny import token_format

from ssenv_core.base.errors import SsenvError
from ssenv_core.classification.classifier import Classifier, read_features
from ssenv_core.classification.feature_map import (
    confused_neighbours,
    lay_out,
    map_features,
    neighbour_agreement,
)
from ssenv_core.classification.probes import Classification, probe
from ssenv_core.data.recordings import Dataset
from ssenv_core.data.synthetic import load_synthetic
from ssenv_core.data.tokens import TokenSet
from ssenv_core.panels.feature_map import PROMPT, confused_panel, playable_map
from ssenv_core.plots.classes import clip_map
from ssenv_core.plots.finding import Finding
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

CONFIG = SoundStormConfig(
    n_q=2, codebook_size=16, num_classes=3, dim=16, depth=1, heads=2, kernel_size=3, dropout=0.0
)


def tokens(clips: int, seed: int) -> TokenSet:
    """Clips of 12 frames; class c uses the codes 4c to 4c + 3."""
    labels = torch.arange(clips) % 3
    codes = (
        torch.randint(4, (clips, 2, 12), generator=torch.Generator().manual_seed(seed))
        + 4 * labels[:, None, None]
    )
    active, names = torch.ones(clips, 12, dtype=torch.bool), tuple(f"clip{i}" for i in range(clips))
    return TokenSet(
        codes,
        labels,
        torch.ones(clips, dtype=torch.int64),
        active,
        torch.zeros(clips, 12, 2),
        names,
        ("",) * clips,
        ("a", "b", "c"),
        token_format(),
    )


@pytest.fixture
def classifier() -> Classifier:
    torch.manual_seed(0)
    classifier = Classifier(SoundStorm(CONFIG).eval(), 3)
    probe(
        classifier,
        read_features(classifier, tokens(60, 0), "cpu"),
        read_features(classifier, tokens(30, 1), "cpu"),
    )
    return classifier


def blobs(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """60 points in 8 dimensions around three centres, and whose they are."""
    rng, labels = np.random.default_rng(seed), np.arange(60) % 3
    return rng.normal(size=(3, 8))[labels] * 10 + rng.normal(size=(60, 8)), labels


def test_what_is_near_in_the_features_is_near_on_the_map_and_the_same_seed_repeats_it() -> None:
    features, labels = blobs()
    points = lay_out(features, 0)
    assert (points.shape, points.dtype) == ((60, 2), np.float64)
    assert neighbour_agreement(points, labels, [""] * len(labels))[0] > 0.95
    assert np.array_equal(lay_out(features, 0), points)


def test_no_structure_is_made_up() -> None:
    features, labels = np.random.default_rng(0).normal(size=(90, 8)), np.arange(90) % 3
    agreement, chance = neighbour_agreement(lay_out(features, 0), labels, [""] * len(labels))
    assert agreement < 0.55
    assert chance == pytest.approx(29 / 89)


def test_the_nearest_other_point_decides_never_the_point_itself() -> None:
    line = np.array([[0.0], [1.0], [10.0], [11.0], [11.5]])
    labels = np.array([0, 0, 1, 0, 1])
    agreement, chance = neighbour_agreement(line, labels, [""] * 5)
    assert agreement == 2 / 5
    assert chance == pytest.approx((3 * 2 + 2 * 1) / (5 * 4))


def test_a_clip_of_the_same_recording_is_no_neighbour() -> None:
    line, labels = np.array([[0.0], [0.1], [1.0], [5.0], [5.1]]), np.array([0, 0, 1, 1, 1])
    agreement, chance = neighbour_agreement(line, labels, ["x", "x", "", "y", "y"])
    assert (
        agreement == 2 / 5
    )  # those of y, to the third; it and those of x are nearest to each other
    assert chance == pytest.approx((0 + 0 + 2 / 4 + 1 / 3 + 1 / 3) / 5)
    assert np.isnan(neighbour_agreement(line, labels, ["x"] * 5)).all()


def test_a_map_is_of_the_clips_that_are_heard_in_the_order_of_their_naming(
    classifier: Classifier,
) -> None:
    data = tokens(30, 1)
    data.active[4] = False
    heard = read_features(classifier, data, "cpu")
    named = probe(classifier, read_features(classifier, tokens(60, 0), "cpu"), heard)
    laid = map_features(classifier, heard, 0)
    assert len(laid.names) == len(laid.points) == len(laid.features) == 29
    assert "clip4" not in laid.names
    assert (
        laid.labels.tolist()
        == named.labels.tolist()
        == [int(name.removeprefix("clip")) % 3 for name in laid.names]
    )
    again = (
        torch.from_numpy(laid.features).float() @ classifier.head.weight.T + classifier.head.bias
    )
    assert (
        again.argmax(1).tolist() == named.predictions.tolist()
    )  # the features are those that the head sees
    assert neighbour_agreement(laid.points, laid.labels, laid.recordings)[0] > 0.9


def test_too_few_clips_are_one_line(classifier: Classifier) -> None:
    with pytest.raises(SsenvError, match=r"at least 4 clips .* there are 3") as caught:
        map_features(classifier, read_features(classifier, tokens(3, 1), "cpu"), 0)
    assert "\n" not in str(caught.value)


def test_of_each_frequent_confusion_the_clip_nearest_to_the_class_it_was_taken_for_is_chosen() -> (
    None
):
    place = np.array([[0.0], [5.0], [8.0], [20.0], [10.0], [30.0], [31.0]])
    labels, predictions = np.array([0, 0, 0, 0, 1, 2, 2]), np.array([0, 1, 1, 1, 1, 0, 3])
    pairs = confused_neighbours(place, labels, predictions, 5)
    assert pairs == [
        (2, 4),
        (5, 3),
    ]  # class 3 has no clip; class 2's neighbour of class 0 is the clip at 20
    assert confused_neighbours(place, labels, predictions, 1) == [(2, 4)]
    assert confused_neighbours(place, labels, labels, 5) == []


def named(labels: np.ndarray, predictions: np.ndarray) -> Classification:
    return Classification(
        labels, np.where(np.eye(12)[predictions] > 0, 0.7, 0.3 / 11), ("",) * len(labels), [], 0.0
    )


def test_right_is_filled_wrong_is_open_and_the_pointer_tells_clip_and_name() -> None:
    labels, predictions = np.array([1, 1, 11]), np.array([1, 11, 11])
    points = np.array([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
    classes = [f"class_{i}" for i in range(12)]
    fig = clip_map(
        points, labels, named(labels, predictions).probabilities, ["x", "y", "z"], classes
    )
    first, second = fig.data
    assert (first.name, second.name) == ("class 1", "class 11")
    assert list(first.marker.symbol) == ["circle", "circle-open"]
    assert list(second.marker.symbol) == [
        "square"
    ]  # of the same colour as class 1, and of another shape
    assert first.marker.color == second.marker.color
    assert [list(told) for told in first.customdata] == [
        ["x", "class 1", "70%"],
        ["y", "class 11", "70%"],
    ]
    assert (list(first.x), list(first.y)) == ([0, 2], [1, 3])
    assert "customdata[1]" in first.hovertemplate


def test_fifty_classes_are_fifty_looks() -> None:
    labels = np.arange(50)
    fig = clip_map(
        np.zeros((50, 2)),
        labels,
        np.eye(50),
        [str(i) for i in labels],
        [f"class{i}" for i in labels],
    )
    assert len({(trace.marker.color, trace.marker.symbol[0]) for trace in fig.data}) == 50
    assert len(fig.to_json()) < 100_000


@pytest.fixture
def sounds() -> Dataset:
    return load_synthetic(clips_per_class=5, duration=0.5)


@pytest.fixture
def figure(sounds: Dataset) -> go.Figure:
    clips = sounds.clips[:12]
    labels = np.array([clip.label for clip in clips])
    points = np.random.default_rng(0).normal(size=(12, 2))
    wrong = np.where(np.arange(12) == 0, 3, labels)
    return clip_map(
        points,
        labels,
        named(labels, wrong).probabilities,
        [clip.name for clip in clips],
        sounds.class_names,
    )


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_SESSION_NAME", "1")


@pytest.fixture
def headless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("headless")
def test_headless_the_map_is_the_figure_itself(figure: go.Figure, sounds: Dataset) -> None:
    finding = Finding(figure=figure, name="map")
    assert playable_map(finding, sounds) == (finding, None)


def playable(
    figure: go.Figure, sounds: Dataset
) -> tuple[go.FigureWidget, ipywidgets.Dropdown, ipywidgets.HTML]:
    """The map, menu and player of a live map."""
    finding, controls = playable_map(Finding(figure=figure, name="map"), sounds)
    return finding.figure, *controls.children


def heard(player: ipywidgets.HTML) -> np.ndarray:
    source = re.search(r' src="data:audio/flac;base64,([^"]+)"', player.value)[1]
    return soundfile.read(BytesIO(b64decode(source)))[0]


def click(shown: go.FigureWidget, trace: int, point: int) -> None:
    """What plotly does when a browser reports a click."""
    inds = [point] if point is not None else []
    shown.data[trace]._dispatch_on_click(
        Points(point_inds=inds, trace_name=shown.data[trace].name, trace_index=trace), None
    )


@pytest.mark.usefixtures("live")
def test_live_a_click_plays_the_clip_and_says_what_it_was_taken_for(
    figure: go.Figure, sounds: Dataset
) -> None:
    shown, menu, player = playable(figure, sounds)
    assert player.value == PROMPT
    click(shown, 0, 0)
    clip = next(clip for clip in sounds.clips if clip.name == figure.data[0].customdata[0][0])
    assert np.allclose(heard(player), sounds.read(clip, clip.source.native_rate()), atol=1e-3)
    taken = sounds.class_names[3].replace("_", " ")
    assert f"{figure.data[0].name}, {clip.name}, taken for {taken}" in player.value
    assert menu.value == clip.name
    last = len(figure.data) - 1
    click(shown, last, 1)
    assert menu.value == figure.data[last].customdata[1][0]
    assert "taken for" not in player.value


@pytest.mark.usefixtures("live")
def test_live_a_second_click_plays_again_and_one_on_another_class_leaves_it(
    figure: go.Figure, sounds: Dataset
) -> None:
    shown, _, player = playable(figure, sounds)
    click(shown, 0, 1)
    first, seen = player.value, []
    player.observe(lambda change: seen.append(change["new"]), names="value")
    click(shown, 0, 1)
    assert player.value == first
    click(shown, 1, None)
    assert player.value == first
    assert seen == ["", first]


@pytest.mark.usefixtures("live")
def test_live_the_menu_plays_too_and_its_empty_line_asks_again(
    figure: go.Figure, sounds: Dataset
) -> None:
    _, menu, player = playable(figure, sounds)
    menu.value = figure.data[1].customdata[0][0]
    assert menu.value in player.value
    assert len(heard(player)) > 0
    menu.value = None
    assert player.value == PROMPT


@pytest.mark.usefixtures("headless")
def test_a_map_of_other_clips_is_refused(figure: go.Figure, sounds: Dataset) -> None:
    with pytest.raises(ValueError, match="other clips"):
        playable_map(Finding(figure=figure, name="map"), replace(sounds, clips=sounds.clips[-3:]))


@pytest.mark.usefixtures("headless")
def test_confused_clips_are_the_only_ones_in_their_folder(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "tiny" / "confused"
    wav = np.full(8000, 0.1, np.float32)
    clips = [("dog, taken for rain", name, wav, f"{i}_{name}") for i, name in enumerate("ab")]
    table = confused_panel(folder, clips, 8000)
    assert "../confused/1_b.wav" in table.data
    assert sorted(path.name for path in folder.iterdir()) == ["0_a.wav", "1_b.wav"]
    assert confused_panel(folder, clips[:0], 8000) is None
    assert list(folder.iterdir()) == []
