"""Sentences of the findings on diversity, for sets that are less, as, or more varied than real."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from ssenv_core.evaluation.copies import judge_memorisation
from ssenv_core.evaluation.diversity_findings import (
    TRAINING,
    NearestTraining,
    code_entropy_finding,
    coverage_finding,
    memorisation_finding,
)
from ssenv_core.metrics.diversity import Nearest


def entropies(*gaps: float) -> pd.DataFrame:
    levels = pd.RangeIndex(1, len(gaps) + 1)
    real = pd.Series(6.0, levels)
    return pd.DataFrame({"real": real, "generated": real + np.array(gaps), "noise_floor": 0.5})


def test_codes_are_less_or_more_varied_only_beyond_the_noise_floor():
    sentence = code_entropy_finding(entropies(-1.25, 0.4, 0.6, -0.4)).sentence
    assert "At level 1 the codes of generated clips have 1.25 bits less entropy" in sentence
    assert "noise floor 0.50 bits" in sentence
    assert "of 4 levels, they are less varied at 1 (1) and more varied at 1 (3)." in sentence
    sentence = code_entropy_finding(entropies(0.3, -0.3)).sentence
    assert "0.30 bits more entropy" in sentence
    assert "less varied at 0 and more varied at 0." in sentence


def test_coverage_falls_when_generated_clips_collapse():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((200, 4))
    coverage = {}
    for name, generated in (
        ("like", rng.standard_normal((100, 4))),
        ("collapsed", 0.01 * rng.standard_normal((100, 4))),
    ):
        sides = {"real": real, "generated": generated}
        examined = {side: SimpleNamespace(embeddings=of) for side, of in sides.items()}
        finding = coverage_finding(SimpleNamespace(examined=examined))
        coverage[name] = finding.numbers["coverage"].value
        assert finding.sentence.startswith(f"{coverage[name]:.0%} of the real clips")
        assert finding.numbers["coverage"].better == ""
    assert coverage["collapsed"] < 0.3 < coverage["like"]


@pytest.mark.parametrize(("copied", "verdict"), [(True, "present"), (False, "absent")])
def test_the_memorisation_verdict_is_one_word_by_its_rule(copied, verdict):
    rng = np.random.default_rng(0)
    heldout = rng.uniform(0.5, 1.0, 100)
    generated = rng.uniform(0.0, 0.1, 20) if copied else rng.uniform(0.6, 1.0, 20)
    generated = np.sort(generated)
    decoded = np.array([0.1, 0.2, 0.3])
    distances = {"real": heldout, "generated": generated, TRAINING: decoded}
    closest = pd.DataFrame(
        {"training_clip": ["rain-0001"] * 20, "distance": generated},
        index=pd.Index([f"rain_{i}" for i in range(20)], name="clip"),
    )
    finding = memorisation_finding(
        NearestTraining(
            {side: Nearest(of, np.zeros(len(of), int)) for side, of in distances.items()},
            judge_memorisation(heldout, generated),
            closest,
        )
    )
    share = finding.numbers["near a training clip"].value
    assert share == (1 if copied else 0)
    assert finding.sentence.startswith(f"Memorisation: {verdict}: {share:.0%} of the generated")
    assert f"rain_0, is {generated[0]:.2f} from rain-0001" in finding.sentence
    assert f"closest held-out clip is {heldout.min():.2f}" in finding.sentence
    assert "within 0.20 of one" in finding.sentence
    header = finding.tables["nearest_training_clips"].to_csv().splitlines()[0]
    assert header == "clip,training_clip,distance"
    assert finding.figure.data[0].y[-1] == 100
