"""Two folders compared: warnings about unusual clips, the cache, and the page."""

import json
import os
import re

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from ssenv_core.base.audio import resample
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.progress import on_all_cores
from ssenv_core.cli import main
from ssenv_core.data import load_dataset
from ssenv_core.evaluation import folders as evaluation
from ssenv_core.evaluation import measuring
from ssenv_core.evaluation.embeddings import EMBEDDINGS, Embedding
from ssenv_core.evaluation.folders import evaluate_folders
from ssenv_core.evaluation.folders_page import SHOWN, write_evaluation
from ssenv_core.evaluation.measuring import Cache, measure_recordings, measure_sounds
from ssenv_core.metrics.acoustic import METRICS, acoustic_metrics, measure
from ssenv_core.metrics.frechet import FLOOR, frechet_beside_floor


def noise(seed, samples=6000, channels=1):
    return (
        (0.1 * np.random.default_rng(seed).standard_normal((samples, channels)))
        .astype(np.float32)
        .squeeze()
    )


def write(path, wav, rate=24_000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wav, rate, subtype="FLOAT" if path.suffix == ".wav" else None)


@pytest.fixture
def folders(tmp_path):
    """Two real clips, a and b, and two generated ones, x and y, at 24 kHz."""
    for i, name in enumerate(("real/a", "real/b", "generated/x", "generated/y")):
        write(tmp_path / f"{name}.wav", noise(i))
    return tmp_path


def evaluate(folders, convention="matched"):
    return evaluate_folders(
        folders / "real",
        folders / "generated",
        folders / "out",
        convention=convention,
        sample_rate=24_000,
    )


def test_ordinary_clips_need_no_note(folders):
    report = evaluate(folders).report
    assert report["notes"] == []
    assert (
        report["pairing"]
        == "2 pairs by sorted file name, the i-th real with the i-th generated clip: spectrograms."
    )


@pytest.mark.parametrize(
    ("wav", "rate", "note"),
    [
        (
            noise(9, channels=2),
            24_000,
            "1 of 3 real clips is of several channels, mixed to mono: c.wav.",
        ),
        (
            noise(9, 11_025),
            44_100,
            "1 of 3 real clips is not at 24000 Hz, so resampled to it: c.wav.",
        ),
        (
            np.zeros(6000),
            24_000,
            "1 of 3 real clips is silent throughout, so left out of the means: c.wav.",
        ),
        (
            np.clip(20 * noise(9), -1, 1),
            24_000,
            "1 of 3 real clips is at full scale somewhere, so perhaps clipped: c.wav.",
        ),
        (
            np.stack([np.ones(6000), -np.ones(6000)], 1) * np.abs(noise(9))[:, None] * 20,
            24_000,
            "clipped",
        ),
    ],
    ids=["stereo", "rate", "silent", "clipped", "clipped in both channels, silent as mono"],
)
def test_a_clip_that_is_not_as_it_should_be_is_said_in_one_sentence_and_the_rest_is_measured(
    folders, wav, rate, note
):
    write(folders / "real" / "c.wav", wav, rate)
    found = evaluate(folders)
    if note == "clipped":
        assert [sentence.split(" clips is ")[1][:6] for sentence in found.report["notes"]] == [
            "of sev",
            "silent",
            "at ful",
        ]
    else:
        assert found.report["notes"] == [note]
    assert found.report["pairing"].endswith(
        "; 1 of 3 real clips have no partner, and count in all else."
    )
    assert found.comparison.loc["snr", "real_n"] == 3 - found.clips["real"]["silent"].sum()


def test_stereo_is_measured_as_its_mono_mix(folders):
    both = noise(9, channels=2)
    write(folders / "real" / "c.wav", both)
    row = evaluate(folders).clips["real"].set_index("clip").loc["c.wav"]
    assert row["channels"] == 2
    assert row["rms"] == pytest.approx(acoustic_metrics(both.mean(axis=1), 24_000)["rms"])


def test_in_the_papers_convention_rates_stay_and_are_named(folders):
    write(folders / "real" / "a.wav", noise(8, 11_025), 44_100)
    found = evaluate(folders, "paper")
    (note,) = found.report["notes"]
    assert note.startswith(
        "The clips have different rates (24000, 44100 Hz) and were measured at them"
    )
    assert found.clips["real"]["sample_rate"].tolist() == [44_100, 24_000]


def test_clips_of_other_lengths_are_named(folders):
    for path in (folders / "generated").iterdir():
        path.unlink()
    write(folders / "generated" / "a.wav", noise(1, 12_000))
    notes = evaluate(folders).report["notes"]
    assert notes[0].startswith(
        "Clips last 0.25 s (real) and 0.50 s (generated) on average: the spectral entropy"
    )
    write(folders / "generated" / "a.wav", noise(1, 6_000))
    assert evaluate(folders).report["notes"] == []


def test_many_names_are_cut_short(folders):
    for i in range(8):
        write(folders / "generated" / f"z{i}.wav", np.zeros(6000))
    (note,) = evaluate(folders).report["notes"]
    assert note == (
        "8 of 10 generated clips are silent throughout, so left out of the means: z0.wav, z1.wav, "
        "z2.wav, z3.wav, z4.wav and 3 more."
    )


@pytest.mark.parametrize(
    ("wav", "line"),
    [
        (
            np.array([0.1, np.nan, 0.1]),
            r".*c\.wav holds samples that are not finite: replace or remove it",
        ),
        (np.array([0.1]), r".*c\.wav: 1 sample, too few to measure; at least 2 are needed"),
        (np.array([0.1, 0.2]), r".*c\.wav: clip 0 at 1000 Hz: \d samples?, too few to measure.*"),
    ],
    ids=["NaN", "one sample", "two samples, none once resampled"],
)
def test_what_cannot_be_measured_ends_it_in_one_line_and_nothing_is_written(folders, wav, line):
    write(folders / "generated" / "c.wav", wav)
    options = [
        "--real",
        folders / "real",
        "--generated",
        folders / "generated",
        "--output",
        folders / "out",
        "--sample-rate",
        "1000",
    ]
    result = CliRunner().invoke(main, ["evaluate", *map(str, options)])
    assert result.exit_code == 1
    assert re.fullmatch(f"error: {line}\n", result.stderr), result.stderr
    assert not (folders / "out").exists()


def counted(monkeypatch):
    """The calls of what measures clips and pairs from now on."""
    calls = []
    for module, name in (
        (measuring, "measure"),
        (evaluation, "paired_similarity"),
        (evaluation, "whole_clip_similarity"),
    ):
        made = getattr(module, name)
        monkeypatch.setattr(
            module,
            name,
            lambda *args, made=made, name=name, **kwargs: (
                calls.append(name) or made(*args, **kwargs)
            ),
        )
    return calls


def test_a_second_run_reads_all_numbers_and_gives_the_same_files(folders, monkeypatch):
    write(folders / "real" / "c.wav", np.zeros(6000))  # NaN, and an infinite SNR in the next
    write(folders / "generated" / "z.wav", np.full(6000, 0.25))
    assert evaluate(folders).report["measured_before"] == {
        "clips_and_pairs": 9,
        "read_from_cache": 0,
    }
    names = ("metrics.csv", "comparison.csv", "pairs.csv")
    before = [(folders / "out" / name).read_text() for name in names]
    calls = counted(monkeypatch)
    assert evaluate(folders).report["measured_before"]["read_from_cache"] == 9
    assert calls == []
    assert [(folders / "out" / name).read_text() for name in names] == before


def test_a_changed_file_is_measured_again_with_its_pair_and_a_renamed_one_is_not(
    folders, monkeypatch
):
    evaluate(folders)
    write(folders / "real" / "b.wav", noise(7))
    (folders / "generated" / "x.wav").rename(folders / "generated" / "w.wav")
    calls = counted(monkeypatch)
    found = evaluate(folders)
    assert sorted(calls) == ["measure", "paired_similarity"]
    assert found.clips["real"]["rms"][1] == pytest.approx(acoustic_metrics(noise(7), 24_000)["rms"])
    assert found.clips["generated"]["clip"].tolist() == ["w.wav", "y.wav"]


def test_another_rate_convention_or_code_is_measured_anew(folders, monkeypatch):
    evaluate(folders)
    write(
        folders / "real" / "b.wav", noise(1), 22_050
    )  # the samples are those that b had, the rate is not
    calls = counted(monkeypatch)
    evaluate(folders)
    assert calls.count("measure") == 1
    evaluate(folders, "paper")
    assert calls.count("measure") == 1 + 4
    assert calls.count("whole_clip_similarity") == 2
    stored = json.loads((folders / "out" / "cache.json").read_text())
    (folders / "out" / "cache.json").write_text(json.dumps(stored | {"code": "of yesterday"}))
    evaluate(folders, "paper")
    assert calls.count("measure") == 1 + 4 + 4


def test_a_damaged_cache_is_one_line(folders):
    evaluate(folders)
    (folders / "out" / "cache.json").write_text('{"code":')
    with pytest.raises(SsenvError, match=r"cache\.json is not valid JSON .*remove it") as error:
        evaluate(folders)
    assert "\n" not in str(error.value)


def test_a_cache_keeps_what_a_run_asked_for_exactly_and_drops_the_rest(tmp_path):
    values = {"a": 0.1 + 0.2, "b": float("nan"), "c": float("inf"), "d": 1e-300}
    first = Cache(tmp_path / "cache.json")
    first.get(["one"], lambda: values)
    first.get(["two"], lambda: {"a": 1.0})
    first.save()
    second = Cache(tmp_path / "cache.json")
    assert repr(second.get(["one"], dict)) == repr(values)
    assert second.hits == 1
    second.save()
    assert Cache(tmp_path / "cache.json").get(["two"], lambda: {"a": 2.0}) == {"a": 2.0}


def test_work_is_done_in_order_and_its_first_error_ends_it(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    assert list(on_all_cores(lambda x: x * x, range(50), "square")) == [x * x for x in range(50)]
    done = []

    def work(x):
        if x == 3:
            raise SsenvError("three")
        done.append(x)

    with pytest.raises(SsenvError, match="three"):
        list(on_all_cores(work, range(10_000), "count"))
    assert len(done) < 10_000


def test_sounds_and_recordings_have_the_numbers_of_single_clips_and_errors_name_the_column():
    wavs = [noise(i) for i in range(3)]
    expected = measure([(wav, 24_000) for wav in wavs], convention="matched")
    assert measure_sounds(wavs, 24_000, "real").equals(expected)
    with pytest.raises(SsenvError, match=r"generated clip 1: .*NaN"):
        measure_sounds([noise(0), noise(1) * np.nan], 24_000, "generated")
    sounds = load_dataset("synthetic", clips_per_class=1, seed=0)
    table = measure_recordings(sounds)
    assert (table["sample_rate"] == sounds.native_rate).all()
    assert (
        table.loc[4, "snr"]
        == acoustic_metrics(sounds.read(sounds.clips[4], sounds.native_rate), sounds.native_rate)[
            "snr"
        ]
    )


def test_the_page_opens_alone_and_shows_notes_tables_and_figures(folders):
    write(folders / "real" / "<b>.wav", np.zeros(6000))
    found = evaluate(folders)
    page = write_evaluation(folders / "out" / "report.html", found).read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=", page)
    assert page.count("plotly.js v") >= 1
    assert (
        "1 of 3 real clips is silent throughout, so left out of the means: &lt;b&gt;.wav." in page
    )
    assert "<b>.wav" not in page
    assert found.report["pairing"] in page
    assert all(f">{column.replace('_', ' ')}<" in page for column in SHOWN)
    assert all(f"{metric.label} ({metric.unit})" in page for metric in METRICS.values())
    assert f"{found.report['similarity']['spectral_convergence']['mean']:.4f}" in page
    figures = [
        json.loads(data)
        for data in re.findall(
            r'<script type="application/json" id="figure-\d-data">(.*?)</script>', page
        )
    ]
    assert len(figures) == len(re.findall(r'class="figure" id="figure-\d"', page)) == 2
    assert {trace["name"] for figure in figures for trace in figure["data"]} == {
        "real",
        "generated",
    }


def test_the_command_says_what_it_read_and_where_the_page_is(folders):
    options = [
        "--real",
        folders / "real",
        "--generated",
        folders / "generated",
        "--output",
        folders / "out",
    ]
    first, second = (
        CliRunner().invoke(main, ["evaluate", *map(str, options)]).stdout for _ in range(2)
    )
    assert "were read from" not in first
    assert f"6 of 6 clips and pairs were read from {folders / 'out' / 'cache.json'}" in second
    assert second.endswith(f"written: {folders / 'out' / 'report.html'}\n")
    assert (folders / "out" / "report.html").is_file()


def frames_of(wav):
    return wav[: len(wav) // 50 * 50].reshape(-1, 50)[:, :2]


@pytest.mark.parametrize(
    ("convention", "rates"), [("matched", (24_000, 24_000)), ("paper", (44_100, 24_000))]
)
def test_a_distance_is_of_clips_at_the_rate_of_the_convention(folders, convention, rates):
    wavs = [noise(i, 11_025) for i in range(5)], [noise(10 + i) for i in range(6)]
    for side, rate, made in zip(("real", "generated"), (44_100, 24_000), wavs, strict=True):
        for path in (folders / side).iterdir():
            path.unlink()
        for i, wav in enumerate(made):
            write(folders / side / f"{i}.wav", wav, rate)
    embedding = Embedding("frames", 12_000, frames_of)
    found = evaluate_folders(
        folders / "real",
        folders / "generated",
        folders / "out",
        convention=convention,
        sample_rate=24_000,
        embeddings=[embedding],
    )
    sides = []
    for made, own, rate in zip(wavs, (44_100, 24_000), rates, strict=True):
        brought = [wav if rate == own else resample(wav, own, rate) for wav in made]
        sides.append(embedding.of([(wav, rate) for wav in brought], len(brought)))
    table = frechet_beside_floor(*sides)
    assert [*found.report["frechet"]] == ["frames"]
    distances = found.report["frechet"]["frames"]["distances"]
    assert [*distances] == [FLOOR, "generated"]
    assert distances["generated"]["distance"] == pytest.approx(table.loc["generated", "distance"])
    page = write_evaluation(folders / "out" / "report.html", found).read_text()
    assert f"{distances['generated']['distance']:.4g}" in page


def test_the_command_measures_distances_and_stops_first_if_an_embedding_is_unavailable(
    folders, monkeypatch
):
    options = [
        "evaluate",
        *map(
            str,
            (
                "--real",
                folders / "real",
                "--generated",
                folders / "generated",
                "--output",
                folders / "out",
            ),
        ),
    ]
    monkeypatch.setitem(EMBEDDINGS, "vggish", lambda device: Embedding("vggish", 12_000, frames_of))
    found = (
        CliRunner()
        .invoke(main, [*options, "--embedding", "vggish", "--embedding", "vggish"])
        .stdout
    )
    assert len(re.findall(r"^Fréchet distance: .*vggish", found, re.MULTILINE)) == 1
    report = json.loads((folders / "out" / "report.json").read_text())
    distances = report["frechet"]["vggish"]["distances"]
    assert distances["generated"]["extrapolated"] is None

    def missing(device):
        raise SsenvError("vggish needs its weights")

    monkeypatch.setitem(EMBEDDINGS, "vggish", missing)
    calls = counted(monkeypatch)
    result = CliRunner().invoke(main, [*options, "--embedding", "vggish"])
    assert (result.exit_code, result.stderr, calls) == (1, "error: vggish needs its weights\n", [])
