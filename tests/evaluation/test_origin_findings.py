"""Sentences on where a failure arises, from tables whose answer is known, in both directions."""

import numpy as np
import pandas as pd

from ssenv_core.evaluation.origin_findings import (
    classes_finding,
    iterations_finding,
    levels_finding,
    settings_finding,
)

MEASURES = ["onset_rate", "level_spread", "energy_above_4khz"]


def table(**rows: list[float]) -> pd.DataFrame:
    return pd.DataFrame.from_dict(rows, orient="index", columns=MEASURES)


def test_levels_are_counted_beyond_the_floor_in_either_direction():
    finding = levels_finding(table(a=[2.0, -1.5, 0.9], b=[-0.9, np.nan, 1.0]))
    assert finding.sentence == (
        "Of 3 measures, beyond the noise floor: a: 2 (1 in the other direction); b: 0."
    )
    assert list(finding.tables) == ["failure_modes_levels"]


def test_the_settings_with_fewest_and_most_differences_are_listed_with_ties():
    ratios = table(a=[2.0, -1.5, 0.9], b=[0.0, 0.0, 0.0], c=[0.5, 0.5, 0.5])
    finding = settings_finding(ratios, pd.Series({"a": 0.8, "b": 1.25, "c": 1.0}))
    assert finding.sentence == (
        "Of 3 measures, beyond the noise floor: fewest with b: 0 and c: 0; most with a: 2 (1 in "
        "the other direction).\nRoot mean square relative to real clips: a 0.80; b 1.25; c 1.00."
    )
    same = settings_finding(table(a=[2.0, 0.0, 0.0], b=[0.0, -2.0, 0.0]), pd.Series({"a": 1.0}))
    assert same.sentence.startswith(
        "No setting changes the number of measures beyond the noise floor (1)."
    )


def iterations(gaps: list[float], floor: float) -> pd.DataFrame:
    real = pd.Series(5.0, pd.RangeIndex(1, len(gaps) + 1, name="iteration"))
    return pd.DataFrame({"generated": real + np.array(gaps), "real": real, "noise_floor": floor})


def test_iterations_with_less_and_with_more_varied_codes_are_counted_apart():
    sentence = iterations_finding(iterations([-1.0, -0.2, 0.7, 0.8], 0.5)).sentence
    assert "1.00 bits less entropy than real ones after iteration 1" in sentence
    assert "0.80 bits more after iteration 4" in sentence
    assert "(0.50 and 0.50 bits)" in sentence
    assert "less varied after 1 of 4 iterations and more varied after 2." in sentence


def test_iterations_without_a_noise_floor_or_without_codes_are_said_to_be():
    sentence = iterations_finding(iterations([np.nan, -0.2], np.nan)).sentence
    assert "0.20 bits less entropy than real ones after iteration 2" in sentence
    assert sentence.endswith("There are too few real clips for a noise floor.")
    sentence = iterations_finding(iterations([np.nan, np.nan], np.nan)).sentence
    assert sentence.startswith("No decided code")


def test_the_largest_gap_of_a_class_may_point_away_from_failure():
    floor = pd.Series(1.0, MEASURES)
    sentence = classes_finding(table(dog=[0.5, 2.0, 0.5], rain=[-3.0, 0.1, -0.1]), floor).sentence
    assert "dog lies furthest towards failure" in sentence
    assert "onset rate of rain: 3.0 standard deviations" in sentence
    assert "away from failure" in sentence
    assert "2 of 6 gaps, 1 towards failure and 1 in the other direction" in sentence
    sentence = classes_finding(table(dog=[-0.5, -2.0, np.nan]), floor).sentence
    assert "no class lies towards failure" in sentence
    assert "1 of 2 gaps, 0 towards failure and 1 in" in sentence
    towards = classes_finding(table(dog=[0.5, 2.0, 0.5]), floor).sentence
    assert "level spread of dog: 2.0 standard deviations of the real clips towards" in towards


def test_one_clip_per_class_has_no_noise_floor():
    sentence = classes_finding(table(dog=[0.5, 2.0, 0.5]), pd.Series(np.nan, MEASURES)).sentence
    assert sentence.endswith("There are too few clips per class for a noise floor.")
