"""Takes follow from their recipes, can be stopped, and are kept without overwriting others."""

import json
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny.generator import CLASSES, SETTINGS, tiny_session

from ssenv_core.base.errors import SsenvError
from ssenv_core.generator.plans import Plans
from ssenv_core.panels.session import AuditionSession, Stopped, Take

RATE, FRAME = 24_000, 320


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> AuditionSession:
    return tiny_session(tmp_path_factory.mktemp("session"))


@pytest.fixture(scope="module")
def take(session: AuditionSession) -> Take:
    return session.generate("rain", seed=7, duration=0.4, settings=SETTINGS)


def remade(session: AuditionSession, recipe: dict) -> Take:
    """What a reader of the recipe would do."""
    if "parent" not in recipe:
        envelope = (
            Path(recipe["envelope"]) if isinstance(recipe["envelope"], str) else recipe["envelope"]
        )
        onsets = recipe["onsets"] and [float(onset) for onset in recipe["onsets"].split(",")]
        asked = {
            "seed": recipe["seed"],
            "duration": recipe["duration"],
            "onsets": onsets,
            "envelope": envelope,
            "plan": recipe["plan"],
        }
        return session.generate(recipe["class"], settings=recipe, **asked)
    parent = remade(session, recipe["parent"])
    if "vary" in recipe:
        return session.vary(parent, recipe["vary"][1], seed=recipe["seed"])
    if "inpaint" in recipe:
        return session.inpaint(parent, *recipe["inpaint"][1:], seed=recipe["seed"])
    return session.extend(
        parent, recipe["duration"] - recipe["parent"]["duration"], seed=recipe["seed"]
    )


def test_a_take_is_what_its_recipe_says(session: AuditionSession, take: Take) -> None:
    assert take.codes.shape == (1, 2, 30)
    assert take.wav.shape == (round(0.4 * RATE),)
    assert (take.recipe["class"], take.recipe["seed"], take.recipe["guidance"]) == ("rain", 7, 2.0)
    assert list(take.probabilities) == sorted(CLASSES, key=take.probabilities.get, reverse=True)
    assert sum(take.probabilities.values()) == pytest.approx(1, abs=1e-5)
    assert take.name.startswith("rain_7_")


def test_from_the_recipe_on_disk_the_same_sound_can_be_made_after_any_chain_of_steps(
    session, take, tmp_path
) -> None:
    asked = session.generate(
        "dog",
        seed=1,
        duration=0.4,
        settings=SETTINGS,
        onsets=[0.1, 0.25],
        envelope=[-60.0, -20.0, -40.0],
    )
    inpainted = session.inpaint(asked, 0.1, 0.2, seed=2)
    planned = session.generate("rain", seed=1, duration=0.6, settings=SETTINGS, plan=True)
    longer = session.extend(session.vary(inpainted, 0.5, seed=3), 0.3, seed=4)
    for one in (
        take,
        asked,
        inpainted,
        longer,
        planned,
        session.vary(planned, 0.5, seed=3),
        session.extend(planned, 0.2, seed=4),
    ):
        path = session.keep(one, tmp_path / "kept")
        again = remade(session, json.loads(path.with_suffix(".json").read_text()))
        assert torch.equal(again.codes, one.codes)
        assert again.name == one.name
        np.testing.assert_array_equal(again.wav, one.wav)
        kept, rate = soundfile.read(path, dtype="float32")
        assert rate == RATE
        np.testing.assert_allclose(kept, one.wav.clip(-1, 1), atol=2**-14)


def test_a_plan_is_another_sound_and_nothing_is_told_beside_it(session, take) -> None:
    planned = session.generate("rain", seed=7, duration=0.4, settings=SETTINGS, plan=True)
    assert planned.controls.shape == (1, 30, 2)
    assert any(
        torch.equal(planned.controls[0], plan) for plan in session.generator.plans.controls[1:3]
    )
    assert planned.name == take.name  # the default if nothing else is given
    unplanned = session.generate("rain", seed=7, duration=0.4, settings=SETTINGS, plan=False)
    assert planned.name != unplanned.name
    assert not torch.equal(planned.codes, unplanned.codes)
    for told in ({"onsets": [0.1]}, {"envelope": [-20.0]}):
        with pytest.raises(ValueError, match="a plan has its own"):
            session.generate("rain", seed=7, duration=0.4, settings=SETTINGS, plan=True, **told)


def test_the_silence_behind_a_plan_stays_in_what_is_made_from_a_take_until_it_is_extended(
    tmp_path,
) -> None:
    able = tiny_session(tmp_path)
    controls = torch.full((1, 30, 2), 0.5)
    controls[:, 20:, 0] = 0.0
    able.generator = replace(
        able.generator, plans=Plans(torch.tensor([1]), controls, torch.tensor([7, 9]))
    )
    take = able.generate("rain", seed=7, duration=0.4, settings=SETTINGS, plan=True)
    varied, inpainted = able.vary(take, 0.9, seed=1), able.inpaint(take, 0.1, 0.25, seed=2)
    for one in (take, varied, inpainted, able.vary(varied, 0.9, seed=3)):
        assert torch.equal(one.codes[0, :, 20:], torch.tensor([[7], [9]]).expand(2, 10))
        assert torch.equal(one.silence, torch.arange(30)[None] >= 20)
    assert not torch.equal(varied.codes, take.codes)
    assert able.extend(take, 0.2, seed=4).silence is None


def test_a_pause_stays_in_variations_and_is_filled_where_it_is_to_be_made_anew(tmp_path) -> None:
    able = tiny_session(tmp_path)
    controls = torch.full((1, 30, 2), 0.5)
    controls[:, 8:15, 0] = controls[:, 20:, 0] = 0.0
    able.generator = replace(
        able.generator, plans=Plans(torch.tensor([1]), controls, torch.tensor([7, 9]))
    )
    take = able.generate("rain", seed=7, duration=0.4, settings=SETTINGS, plan=True)
    silence = torch.tensor([[7], [9]])
    assert (able.vary(take, 1.0, seed=1).codes[0, :, 8:15] == silence).all()
    shares = []
    for first, last in ((10, 13), (22, 27)):
        anew = able.inpaint(take, first / 75, last / 75, seed=2, watch=shares.append)
        assert not (anew.codes[0, :, first:last] == silence).all()
        others = torch.ones(30, dtype=torch.bool)
        others[first:last] = False
        assert torch.equal(anew.codes[..., others], take.codes[..., others])
        assert torch.equal(anew.silence, take.silence & others)
        assert anew.controls[0, first:last].isnan().all()
        assert torch.equal(anew.controls[:, others], take.controls[:, others])
    assert shares[-1] == 1


def test_the_name_depends_on_everything_that_decides_the_sound_and_on_nothing_else(
    session, take
) -> None:
    same = session.generate("rain", seed=7, duration=0.4, settings={**SETTINGS, "steps": [3, 2]})
    assert same.name == take.name
    others = [
        session.generate("rain", seed=7, duration=0.4, settings={**SETTINGS, "guidance": g})
        for g in (1.0, 3.0)
    ]
    others += [session.vary(take, share, seed=7) for share in (0.2, 0.4)]
    assert len({one.name for one in [take, *others]}) == 5
    moved, changed = deepcopy(session), deepcopy(session)
    moved.provenance |= {"checkpoint": "elsewhere.safetensors", "environment": {"git": "another"}}
    changed.provenance |= {"checkpoint_sha256": "another"}
    assert moved.generate("rain", seed=7, duration=0.4, settings=SETTINGS).name == take.name
    assert changed.generate("rain", seed=7, duration=0.4, settings=SETTINGS).name != take.name


def test_a_variation_keeps_about_its_share_and_an_inpainted_or_extended_take_all_outside(
    session, take
) -> None:
    varied = session.vary(take, 0.3, seed=1)
    changed = (varied.codes != take.codes).float().mean().item()
    assert 0.1 < changed <= 0.31
    inpainted = session.inpaint(take, 0.1, 0.2, seed=1)
    inside = torch.zeros(30, dtype=torch.bool)
    inside[round(0.1 * 75) : round(0.2 * 75)] = True
    assert torch.equal(inpainted.codes[..., ~inside], take.codes[..., ~inside])
    assert not torch.equal(inpainted.codes[..., inside], take.codes[..., inside])
    longer = session.extend(take, 0.5, seed=1)
    assert torch.equal(longer.codes[..., :30], take.codes)
    assert longer.recipe["duration"] == pytest.approx(0.9)
    assert len(longer.wav) == round(0.9 * RATE)


def test_what_is_asked_reaches_the_decoding_and_goes_on_with_a_variation_but_not_with_an_extension(
    session, take, tmp_path
) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(
        path, 0.5 * np.random.default_rng(0).standard_normal(RATE // 2).clip(-1, 1), RATE
    )
    plain = {"seed": 7, "duration": 0.4, "settings": SETTINGS}
    for asked, name, written in (
        ({"envelope": path}, "envelope", str(path)),
        ({"onsets": [0.1, 0.3]}, "onsets", "0.1,0.3"),
    ):
        made = session.generate("rain", **plain, **asked)
        assert not torch.equal(made.codes, take.codes)
        assert made.recipe[name] == written
        varied = session.vary(made, 0.3, seed=1)
        assert varied.recipe[name] == written
        torch.testing.assert_close(varied.controls, made.controls, equal_nan=True)
        longer = session.extend(varied, 0.3, seed=1)
        assert longer.recipe[name] is None
        assert longer.controls is None


def test_a_generator_without_controls_says_so(tmp_path: Path) -> None:
    session = tiny_session(tmp_path, controls=False, judged=False)
    assert not session.takes_controls
    with pytest.raises(SsenvError, match="without controls"):
        session.generate("rain", seed=7, duration=0.4, settings=SETTINGS, onsets=[0.1])
    assert session.generate("rain", seed=7, duration=0.4, settings=SETTINGS).probabilities is None


@pytest.mark.parametrize("duration", [0.4, 1.0])
def test_the_watch_hears_of_every_iteration_and_at_last_of_the_whole(
    session: AuditionSession, duration: float
) -> None:
    shares: list[float] = []
    watched = session.generate(
        "rain", seed=7, duration=duration, settings=SETTINGS, watch=shares.append
    )
    windows = 1 if duration == 0.4 else 4
    assert len(shares) == 5 * windows
    assert all(a < b for a, b in pairwise(shares))
    assert shares[-1] == pytest.approx(1)
    assert torch.equal(
        watched.codes, session.generate("rain", seed=7, duration=duration, settings=SETTINGS).codes
    )


def test_a_watch_that_raises_ends_the_take_at_once(session: AuditionSession) -> None:
    heard: list[float] = []

    def watch(share: float) -> None:
        heard.append(share)
        if len(heard) == 2:
            raise Stopped

    with pytest.raises(Stopped):
        session.generate("rain", seed=7, duration=0.4, settings=SETTINGS, watch=watch)
    assert len(heard) == 2


def test_a_take_that_is_kept_again_is_the_same_two_files(
    session: AuditionSession, take: Take, tmp_path: Path
) -> None:
    path = session.keep(take, tmp_path)
    assert session.keep(take, tmp_path) == path
    assert {file.name for file in tmp_path.iterdir()} == {f"{take.name}.wav", f"{take.name}.json"}


def test_what_cannot_be_done_is_one_line(session: AuditionSession, take: Take) -> None:
    for refused, line in (
        (
            lambda: session.generate("cat", seed=1, duration=0.4, settings=SETTINGS),
            "no class 'cat'",
        ),
        (
            lambda: session.generate(
                "dog", seed=1, duration=0.4, settings={**SETTINGS, "guidance": -1}
            ),
            "guidance",
        ),
        (
            lambda: session.generate("dog", seed=1, duration=0.4, settings=SETTINGS, envelope=[]),
            "one level or more",
        ),
        (
            lambda: session.generate("dog", seed=1, duration=0.4, settings=SETTINGS, onsets=[0.5]),
            "must lie within the 0.40 s",
        ),
        (lambda: session.vary(take, 0.0, seed=1), "share"),
        (lambda: session.inpaint(take, 0.2, 0.2, seed=1), "no part"),
        (lambda: session.extend(take, 0.0, seed=1), "leaves nothing"),
    ):
        with pytest.raises(SsenvError, match=line):
            refused()
