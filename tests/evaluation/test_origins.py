"""Where a failure arises: sides that differ in one thing, of which the truth is known."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.signal import butter, sosfilt

from ssenv_core.base.errors import SsenvError
from ssenv_core.evaluation.origins import (
    class_noise_floor,
    entropy_by_iteration,
    excess,
    failures_by_class,
    variants,
)
from ssenv_core.metrics.diversity import (
    code_entropy,
    density_and_coverage,
    entropy_beside_floor,
    evenly,
    reach_beside_floor,
)
from ssenv_core.metrics.failure_modes import Examination, examine
from ssenv_core.metrics.spectrotemporal import analyse, modulation_spectrum
from ssenv_core.soundstorm.decoding import Iteration
from ssenv_core.soundstorm.sampling import Confidence, Sampling

RATE = 24_000


def gusts(seed: int, rate: float = 4.0) -> np.ndarray:
    """2 s of noise whose loudness swings `rate` times a second."""
    rng = np.random.default_rng(seed)
    swing = 1 + 0.9 * np.sin(2 * np.pi * rate * np.arange(2 * RATE) / RATE + rng.uniform(0, 6))
    return 0.05 * swing * rng.standard_normal(2 * RATE)


@pytest.fixture(scope="module")
def real():
    return examine([gusts(seed) for seed in range(12)], RATE)


def muffled(seed: int) -> np.ndarray:
    return sosfilt(butter(8, 2_000, fs=RATE, output="sos"), gusts(seed))


def test_the_side_that_is_changed_is_the_one_beyond_the_floor(real):
    places = range(20, 26)
    sides = {
        name: examine([made(seed) for seed in places], RATE)
        for name, made in (("as it is", gusts), ("muffled", muffled))
    }
    table = excess(real, sides, real_labels=[0] * 12, labels=[0] * 6)
    assert table.index.tolist() == ["as it is", "muffled"]
    assert table.loc["muffled", "energy_above_4khz"] > 10
    assert table.loc["as it is", "energy_above_4khz"] < 2
    assert table.loc["muffled", "spectral_flux"] < 3


def test_the_class_that_is_changed_is_the_one_with_the_gap(real):
    generated = examine([gusts(30), gusts(31), muffled(32), muffled(33)], RATE)
    gaps = failures_by_class(
        real, generated, real_labels=[0, 1, 2] * 4, generated_labels=[0, 0, 1, 1]
    )
    assert gaps.index.tolist() == [0, 1]  # nothing was generated of class 2
    assert gaps.loc[1, "energy_above_4khz"] > 10
    assert abs(gaps.loc[0, "energy_above_4khz"]) < 3


def test_variants_change_one_setting_each_and_keep_the_others():
    sampling = Sampling(
        (12, 1, 1), temperature=(0.9, 0.8, 0.0), guidance=3.0, sampler=Confidence(8.0)
    )
    made = variants(sampling)
    assert made.pop("as generated") == sampling
    fields = ("steps", "temperatures", "guidance", "guidance_schedule", "top_k", "top_p", "sampler")
    for name, other in made.items():
        assert [field for field in fields if getattr(other, field) != getattr(sampling, field)] == [
            "steps" if "iteration" in name else "guidance" if "guidance" in name else "temperatures"
        ]
    assert made["likeliest fine codes"].temperatures == (0.9, 0.0, 0.0)
    assert (made["no guidance"].guidance, made["guidance x 2"].guidance) == (1.0, 6.0)


def test_entropy_is_taken_where_something_is_decided_and_beside_real_codes_there():
    codes = torch.zeros(1, 2, 8, dtype=torch.int64)
    codes[0, 0] = torch.tensor([0, 0, 0, 0, 1, 2, 3, 4])
    real = torch.arange(8).expand(1, 2, 8)
    masked = torch.tensor([[False] * 4 + [True] * 4])
    free, active = torch.ones_like(masked), torch.ones(1, 8, dtype=torch.bool)
    trace = [
        Iteration(*step, free)
        for step in (
            (0, 1, codes, masked),
            (0, 2, codes, torch.zeros_like(masked)),
            (1, 1, codes, masked),
        )
    ]
    table = entropy_by_iteration(trace, real, active, 16)
    assert table.index.tolist() == [1, 2]
    assert table.loc[1, ["generated", "real"]].tolist() == pytest.approx(
        [0.0, 2.0]
    )  # one code in four places; four different ones
    assert table.loc[2, ["generated", "real"]].tolist() == pytest.approx([2.0, 3.0])
    assert table["noise_floor"].isna().all()  # one real clip alone
    active[:, 6:], free[:, 4:6] = False, False
    table = entropy_by_iteration(trace, real, active, 16)
    assert table.loc[2, ["generated", "real"]].tolist() == pytest.approx(
        [0.0, 2.0]
    )  # of 0, 0, 0, 0 and of 0 to 3
    assert entropy_by_iteration(trace, real, active & False, 16).isna().all(axis=None)


def everywhere(*sets: np.ndarray) -> tuple[np.ndarray, ...]:
    return tuple(np.ones((len(codes), codes.shape[2]), dtype=bool) for codes in sets)


def drawn(clips: int, entries: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, entries, (clips, 2, 50))


def test_only_codes_that_are_less_varied_lie_beyond_the_floor():
    real, like, poor = (
        torch.from_numpy(drawn(40, 64, 0)),
        *(torch.from_numpy(drawn(10, entries, 1)) for entries in (64, 32)),
    )
    for made, beyond in ((like, False), (poor, True)):
        table = entropy_beside_floor(
            real.numpy(), made.numpy(), 64, sounding=everywhere(real, made)
        )
        assert table.index.tolist() == [1, 2]
        assert ((table["real"] - table["generated"] > table["noise_floor"]) == beyond).all()
        decided = torch.zeros(10, 50, dtype=torch.bool)
        active = torch.ones(40, 50, dtype=torch.bool)
        by_iteration = entropy_by_iteration(
            [Iteration(0, 1, made, decided, ~decided)], real, active, 64
        ).loc[1]
        assert (
            by_iteration["real"] - by_iteration["generated"] > by_iteration["noise_floor"]
        ) == beyond
        assert by_iteration["real"] == pytest.approx(table.loc[1, "real"], abs=0.02)
    few = real[:, :, ::5]  # fewer frames look less varied
    shorter = entropy_beside_floor(real.numpy(), few.numpy(), 64, sounding=everywhere(real, few))
    assert (shorter["real"] - shorter["generated"] < shorter["noise_floor"]).all()
    with pytest.raises(
        SsenvError, match="at least 2 real clips with sound and a generated one, not 1 and 3"
    ):
        entropy_beside_floor(
            real[:1].numpy(), like[:3].numpy(), 64, sounding=everywhere(real[:1], like[:3])
        )


def test_silence_does_not_hide_that_codes_are_less_varied_nor_feign_it():
    """Real clips are silent in a third of their frames, generated ones nowhere."""
    heard = np.broadcast_to(np.arange(50) < 34, (40, 50))
    real = np.where(heard[:, None], drawn(40, 64, 0), 0)
    for entries, beyond in ((64, False), (48, True)):
        table = entropy_beside_floor(
            real, drawn(40, entries, 1), 64, sounding=(heard, np.ones((40, 50), dtype=bool))
        )
        assert ((table["real"] - table["generated"] > table["noise_floor"]) == beyond).all()
    silent = (heard & False, heard)
    with pytest.raises(SsenvError, match="not 0 and 40"):
        entropy_beside_floor(real, real, 64, sounding=silent)
    trace = [
        Iteration(
            0,
            1,
            torch.from_numpy(drawn(10, 64, 1)),
            *(torch.full((10, 50), value) for value in (False, True)),
        )
    ]
    found = entropy_by_iteration(
        trace, torch.from_numpy(real), torch.from_numpy(heard.copy()), 64
    ).loc[1]
    assert abs(found["generated"] - found["real"]) < found["noise_floor"]


def test_the_floor_of_a_class_is_what_its_halves_differ_by():
    labels = np.repeat(np.arange(50), 8)
    values = np.random.default_rng(0).standard_normal(400) + 10 * labels
    real = Examination(pd.DataFrame({"silent": False, "onset_rate": values}), np.zeros((400, 1)))
    expected = 1.96 * np.sqrt(2 / 4) / values.std()  # the means of 4 clips, whatever the class
    few = np.repeat(np.arange(50), 4)
    for made in (2, 4, 8):
        floor = class_noise_floor(
            real, real_labels=labels, generated_labels=np.repeat(np.arange(50), made)
        )["onset_rate"]
        assert floor == pytest.approx(expected * np.sqrt((1 / 8 + 1 / made) / (2 / 4)), rel=0.1)
    assert np.isnan(
        class_noise_floor(real, real_labels=range(400), generated_labels=few)["onset_rate"]
    )
    assert np.isnan(
        class_noise_floor(real, real_labels=labels, generated_labels=[50])["onset_rate"]
    )  # of which there are no real ones


@pytest.mark.parametrize("made", [1, 2, 8])
def test_one_in_forty_gaps_of_classes_that_do_not_differ_lies_beyond_the_floor_towards_failure(
    made,
):
    real_labels, labels, beyond = np.repeat(np.arange(50), 8), np.repeat(np.arange(50), made), []
    for seed in range(20):
        values = np.random.default_rng(seed).standard_normal(400 + 50 * made)
        real, generated = (
            Examination(
                pd.DataFrame({"silent": False, "onset_rate": side}), np.zeros((len(side), 1))
            )
            for side in np.split(values, [400])
        )
        gaps = failures_by_class(real, generated, real_labels=real_labels, generated_labels=labels)
        floor = class_noise_floor(
            real, real_labels=real_labels, generated_labels=labels, repeats=20
        )
        beyond.append((gaps > floor).to_numpy().mean())
    assert 0.01 < np.mean(beyond) < 0.045


def test_entropy_of_codes_is_that_of_how_often_they_occur():
    assert code_entropy(np.array([[0, 0], [1, 1]]), 4) == pytest.approx(1.0)
    assert code_entropy(np.arange(1024), 1024) == pytest.approx(10.0)


def test_density_and_coverage_of_like_sets_are_one_and_collapse_loses_coverage():
    real, like = (np.random.default_rng(seed).standard_normal((400, 8)) for seed in (0, 1))
    density, coverage = density_and_coverage(real, like)
    assert density == pytest.approx(1, abs=0.1)
    assert coverage > 0.9
    density, coverage = density_and_coverage(
        real, np.repeat(like[np.linalg.norm(like, axis=1).argmin()][None], 400, axis=0)
    )
    assert coverage < 0.2
    assert density > 1
    assert density_and_coverage(real, like + 20) == (0, 0)
    with pytest.raises(SsenvError, match="more than 5 real clips"):
        density_and_coverage(real[:5], like)


def test_what_is_picked_evenly_has_both_ends():
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(5, 5).tolist() == [0, 1, 2, 3, 4]
    assert evenly(5, 1).tolist() == [0]


def test_reach_of_sets_of_any_size_lies_beside_that_of_real_ones_whatever_the_scale():
    real, like = (
        np.random.default_rng(seed).standard_normal((400, 4)) * [1, 100, 0.01, 0] for seed in (0, 1)
    )
    table = reach_beside_floor(real, like)
    assert table.index.tolist() == ["density", "coverage"]
    assert table.to_numpy() == pytest.approx(1, abs=0.15)
    narrow = reach_beside_floor(real, 0.1 * like[:50])
    assert narrow.loc["coverage", "generated"] < 0.7 < narrow.loc["coverage", "real"]
    assert reach_beside_floor(real, like[:3]).notna().all(axis=None)
    with pytest.raises(
        SsenvError, match="at least 4 real clips and 2 generated ones, not 400 and 1"
    ):
        reach_beside_floor(real, like[:1])


@pytest.mark.parametrize("rate", [2.0, 8.0])
def test_the_modulation_spectrum_peaks_where_the_loudness_swings(rate):
    spectrum = modulation_spectrum(analyse(gusts(3, rate), RATE))
    assert spectrum.idxmax() == pytest.approx(rate, rel=0.12)
    assert 0.1 < spectrum.max() < 1
