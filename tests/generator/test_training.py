"""Training learns, resumes to the same losses, draws the stated masks, and refuses bad states."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from ssenv_core.base.devices import resolve_device, resolve_precision
from ssenv_core.base.errors import SsenvError
from ssenv_core.base.seeds import derive_seed
from ssenv_core.base.tensors import load_state, save_tensors
from ssenv_core.base.training_loop import warmed_up_average
from ssenv_core.data.batches import Clips
from ssenv_core.data.tokens import TokenFormat, TokenSet
from ssenv_core.generator import training
from ssenv_core.generator.file import GENERATOR_KIND, load_generator, require_heldout
from ssenv_core.generator.training import TrainSettings, train
from ssenv_core.generator.validation import validation_loss
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

N_Q, CODES, CLASSES, FRAMES = 3, 16, 4, 20
CONFIG = SoundStormConfig(
    n_q=N_Q,
    codebook_size=CODES,
    num_classes=CLASSES,
    dim=16,
    depth=1,
    heads=2,
    kernel_size=3,
    dropout=0.1,
)
SETTINGS = TrainSettings(
    epochs=3, batch_size=4, learning_rate=1e-2, precision="fp32", seed=5
)  # 12 steps on 16 clips
EVERY_STEP = 1e-9  # minutes between checkpoints


def make_tokens(clips: int = 16, seed: int = 0) -> TokenSet:
    """Clips whose codes follow from class and level alone, with outer silence of varying length."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(clips) % CLASSES
    codes = ((labels[:, None] * 3 + torch.arange(N_Q)) % CODES)[..., None].expand(-1, -1, FRAMES)
    first = torch.randint(0, 5, (clips, 1), generator=generator)
    last = torch.randint(12, FRAMES, (clips, 1), generator=generator)
    frame = torch.arange(FRAMES)
    token_format = TokenFormat(
        "tiny", "fi" * 32, "melrvq_24khz", 6.0, "ab" * 32, 24_000, 75.0, N_Q, CODES, duration=0.4
    )
    return TokenSet(
        codes=codes.contiguous(),
        labels=labels,
        folds=torch.ones(clips, dtype=torch.int64),
        active=(frame >= first) & (frame <= last),
        controls=torch.rand(clips, codes.shape[2], 2, generator=torch.Generator().manual_seed(1)),
        names=tuple(f"clip-{i}" for i in range(clips)),
        recordings=("",) * clips,
        class_names=("dog", "rain", "siren", "wind"),
        format=token_format,
    )


TOKENS, VALIDATION = make_tokens(), make_tokens(6, seed=1)


def run(folder, settings=SETTINGS, config=CONFIG, tokens=TOKENS, report=None):
    return train(
        config, tokens, VALIDATION, settings, folder / "generator.safetensors", "cpu", report
    )


def timeless(rows):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


class Killed(Exception):
    pass


def kill_at(step):
    def report(row):
        if row["step"] >= step:
            raise Killed

    return report


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    folder = tmp_path_factory.mktemp("straight")
    return folder, run(folder)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    with pytest.raises(Killed):
        run(folder, replace(SETTINGS, checkpoint_minutes=EVERY_STEP), report=kill_at(6))
    return folder


@pytest.mark.parametrize("log_rows", [200, 4])
def test_a_killed_run_resumes_to_the_same_losses_and_weights(tmp_path, monkeypatch, log_rows):
    monkeypatch.setattr(
        training, "LOG_ROWS", log_rows
    )  # 4: the kill falls between log rows, so their running sum must survive too
    (tmp_path / "straight").mkdir()
    whole = run(tmp_path / "straight")
    often = replace(SETTINGS, checkpoint_minutes=EVERY_STEP)
    with pytest.raises(Killed):
        run(tmp_path, often, report=kill_at(6))
    assert not (tmp_path / "generator.safetensors").exists()
    assert (
        load_state(tmp_path / "generator.state.safetensors", "soundstorm training state")[0]["step"]
        == 5
    )
    steps = []
    resumed = run(tmp_path, often, report=lambda row: steps.append(row["step"]))
    assert steps[0] == 6
    assert timeless(resumed.rows) == timeless(whole.rows)
    assert resumed.level_loss == whole.level_loss
    for name, weight in whole.generator.model.state_dict().items():
        assert torch.equal(weight, resumed.generator.model.state_dict()[name])


IN_A_PROCESS = """
import sys
from dataclasses import replace
from pathlib import Path
import test_training as own

settings = replace(own.SETTINGS, checkpoint_minutes=own.EVERY_STEP)
own.run(Path(sys.argv[1]), settings, report=lambda row: print("step", row["step"], flush=True))
"""


def test_a_process_killed_twice_at_any_moment_resumes_to_the_same_losses_and_weights(
    tmp_path, straight
):
    for last_seen in (3, 8):
        command = [sys.executable, "-c", IN_A_PROCESS, str(tmp_path)]
        with subprocess.Popen(
            command,
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            for line in process.stdout:
                if line.startswith("step") and int(line.split()[1]) >= last_seen:
                    # While it computes the next step, or writes the state of this one.
                    process.kill()
                    break
        assert process.returncode == -signal.SIGKILL
    steps = []
    resumed = run(
        tmp_path,
        replace(SETTINGS, checkpoint_minutes=EVERY_STEP),
        report=lambda row: steps.append(row["step"]),
    )
    assert steps[0] > 7
    assert timeless(resumed.rows) == timeless(straight[1].rows)
    for name, weight in straight[1].generator.model.state_dict().items():
        assert torch.equal(weight, resumed.generator.model.state_dict()[name])


TOGETHER = """
import json, os, sys
from pathlib import Path
import test_training as own

rows = own.run(Path(sys.argv[1]), own.ONE_STEP, own.WITHOUT_DROPOUT).rows
if os.environ["RANK"] == "0":
    Path(sys.argv[1], "rows.json").write_text(json.dumps(rows))
"""
ONE_STEP, WITHOUT_DROPOUT = replace(SETTINGS, epochs=1, batch_size=16), replace(CONFIG, dropout=0.0)


class OneOfTwo:
    """The accelerator as `Trainer` uses it, for one of two processes, isolated from the other."""

    device, num_processes = torch.device("cpu"), 2

    def __init__(self, rank):
        self.process_index = rank
        self.inputs = None

    def prepare(self, objective, optimizer):
        objective.register_forward_pre_hook(lambda _, inputs: setattr(self, "inputs", inputs))
        return objective, optimizer

    def reduce(self, x, how):
        return x

    def backward(self, loss):
        loss.backward()

    def clip_grad_norm_(self, parameters, norm):
        return torch.nn.utils.clip_grad_norm_(parameters, norm)


def test_two_processes_have_the_mean_loss_of_all_their_masked_tokens(tmp_path):
    """And not the mean of two means, in which a token counts more where fewer are masked."""
    script = tmp_path / "together.py"
    script.write_text(TOGETHER)
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        str(tmp_path),
    ]
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    subprocess.run(launch, check=True, env=environment, capture_output=True)
    sums, counts = [], []
    for rank in range(2):
        accelerator = OneOfTwo(rank)
        training.Trainer(
            WITHOUT_DROPOUT, Clips(TOKENS, "cpu"), ONE_STEP, accelerator, None
        ).take_step(0)
        counts.append(int(accelerator.inputs[2].sum()))
        fresh = training.Trainer(
            WITHOUT_DROPOUT, Clips(TOKENS, "cpu"), ONE_STEP, OneOfTwo(rank), None
        )
        sums.append(fresh.objective(*accelerator.inputs).item())
    assert counts[0] != counts[1]
    row = json.loads((tmp_path / "rows.json").read_text())[0]
    assert row["loss"] == pytest.approx(sum(sums) / sum(counts), rel=1e-5)
    assert row["loss"] != pytest.approx(np.mean(np.divide(sums, counts)), rel=1e-5)


def test_a_finished_run_is_not_trained_again(straight):
    folder, first = straight
    steps = []
    again = run(folder, report=steps.append)
    assert steps == []
    assert again.rows == first.rows
    assert again.level_loss == first.level_loss


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"settings": replace(SETTINGS, learning_rate=1e-3, seed=6)}, "learning_rate, seed"),
        ({"config": replace(CONFIG, dim=32)}, "dim"),
        ({"tokens": make_tokens(seed=3)}, "train_tokens"),
    ],
)
def test_the_state_of_another_interrupted_run_is_refused_by_name_and_left_alone(
    interrupted, change, named
):
    before = (interrupted / "generator.state.safetensors").read_bytes()
    with pytest.raises(
        SsenvError,
        match=rf"generator\.state\.safetensors is of an interrupted training with other {named}: "
        "remove it",
    ):
        run(interrupted, **change)
    assert (interrupted / "generator.state.safetensors").read_bytes() == before


def test_a_run_that_was_interrupted_on_a_device_of_another_precision_is_refused(
    interrupted, monkeypatch
):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    with pytest.raises(
        SsenvError, match="other precision: remove it to start anew, or restore those"
    ):
        run(interrupted, replace(SETTINGS, precision="auto"))


def test_a_finished_run_gives_way_to_one_with_other_settings(tmp_path, capsys):
    run(tmp_path)
    changed = run(tmp_path, replace(SETTINGS, epochs=1))
    assert changed.rows[-1]["step"] == 4
    assert "an earlier training with other epochs: starting anew" in capsys.readouterr().out


def test_a_state_file_of_another_kind_is_refused(tmp_path):
    save_tensors(
        tmp_path / "generator.state.safetensors",
        {"x": torch.zeros(1)},
        {"kind": "codec training state"},
    )
    with pytest.raises(
        SsenvError, match="holds 'codec training state', not a soundstorm training state"
    ):
        run(tmp_path)


def test_first_loss_is_that_of_guessing_and_the_last_far_below(tmp_path):
    result = run(tmp_path, replace(SETTINGS, epochs=20))
    assert result.rows[0]["step"] == 1
    first = [
        run(tmp_path / str(seed), replace(SETTINGS, epochs=1, seed=seed)).rows[0]["loss"]
        for seed in range(8)
    ]
    assert sum(first) / 8 == pytest.approx(math.log(CODES), abs=0.1)
    assert result.rows[-1]["loss"] < 0.5 * math.log(CODES)
    assert max(result.level_loss) < 0.5 * math.log(CODES)
    assert min(result.level_accuracy) > 0.7


def test_rows_count_steps_and_epochs_and_end_with_a_validation(straight):
    rows = straight[1].rows
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["epoch"] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4
    assert rows[-1]["validation_loss"] is not None
    assert max(row["learning_rate"] for row in rows) == pytest.approx(
        SETTINGS.learning_rate, rel=0.02
    )
    assert rows[0]["learning_rate"] == pytest.approx(SETTINGS.learning_rate / 25)


@pytest.mark.parametrize("warmup", [0.0, 1 / 12, 1.0])
def test_any_warmup_and_a_single_step_can_be_trained(tmp_path, warmup):
    assert len(run(tmp_path, replace(SETTINGS, warmup=warmup)).rows) == 12
    (tmp_path / "one").mkdir()
    assert (
        len(run(tmp_path / "one", replace(SETTINGS, warmup=warmup, epochs=1, batch_size=100)).rows)
        == 1
    )


def test_quick_validations_cost_at_most_their_share_of_the_forward_work():
    for total, batch_size, clips in ((20_000, 8, 400), (500, 8, 400), (12, 4, 6), (3, 8, 400)):
        on_the_way = (
            math.ceil(total / training._validate_every(total, batch_size, clips)) - 1
        )  # the last step validates anyway
        assert on_the_way * clips <= training.VALIDATION_SHARE * 3 * total * batch_size
        assert on_the_way <= training.VALIDATIONS


def test_every_epoch_takes_each_clip_once_in_another_order(monkeypatch, tmp_path):
    seen = []
    original = Clips.batch
    monkeypatch.setattr(
        Clips,
        "batch",
        lambda self, index, *crop: seen.append(index.tolist()) or original(self, index, *crop),
    )
    run(tmp_path)
    training_batches = [index for index in seen if len(index) == 4]
    epochs = [list(chain(*training_batches[i : i + 4])) for i in (0, 4, 8)]
    assert all(sorted(epoch) == list(range(16)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_crop_is_a_random_stretch_of_the_active_frames_and_shorter_clips_stay_whole():
    tokens = make_tokens()
    numbered = replace(
        tokens, codes=torch.arange(FRAMES).expand(len(tokens), N_Q, FRAMES).contiguous()
    )
    clips = Clips(numbered, "cpu")
    index = clips.lengths.argsort()[[0, -1]]
    whole, crop = clips.batch(index), int(clips.lengths[index].float().mean())
    torch.manual_seed(0)
    starts = set()
    for _ in range(50):
        batch = clips.batch(index, crop)
        assert batch.active.sum(1).tolist() == [int(clips.lengths[index[0]]), crop]
        assert batch.codes.shape[2] == crop
        assert torch.equal(batch.codes[0][:, batch.active[0]], whole.codes[0][:, whole.active[0]])
        assert torch.equal(batch.codes[1], batch.codes[1, :, :1] + torch.arange(crop))
        starts.add(int(batch.codes[1, 0, 0] - whole.codes[1, 0, 0]))
    assert starts == set(range(int(clips.lengths[index[1]]) - crop + 1))


def test_clips_begin_at_their_first_active_frame_and_are_cropped_to_the_longest():
    tokens = make_tokens()
    numbered = replace(
        tokens,
        codes=torch.arange(FRAMES).remainder(CODES).expand(len(tokens), N_Q, FRAMES).contiguous(),
    )
    batch = Clips(numbered, "cpu").batch(torch.tensor([2, 7]))
    for row, clip in enumerate((2, 7)):
        span = (~numbered.padding[clip]).nonzero()[:, 0]
        assert torch.equal(batch.codes[row][:, : len(span)], numbered.codes[clip][:, span])
        assert batch.active[row].sum() == len(span)
        assert batch.active[row, : len(span)].all()
    assert batch.codes.shape[2] == batch.active.sum(1).max()
    assert torch.equal(batch.padding, ~batch.active)
    assert Clips(numbered, "cpu").batch(torch.tensor([7])).padding is None


def test_inner_silence_is_trained_on():
    tokens = make_tokens()
    active = tokens.active.clone()
    active[:, 7:9] = False
    assert torch.equal(
        Clips(replace(tokens, active=active), "cpu").lengths, Clips(tokens, "cpu").lengths
    )


def test_silent_clips_are_left_out_and_named(tmp_path, capsys):
    active = TOKENS.active.clone()
    active[[3, 8]] = False
    result = run(tmp_path, tokens=replace(TOKENS, active=active))
    assert result.left_out == ["clip-3", "clip-8"]
    assert "2 silent clips left out: clip-3, clip-8" in capsys.readouterr().out
    with pytest.raises(SsenvError, match="silent throughout"):
        run(tmp_path, tokens=replace(TOKENS, active=torch.zeros_like(active)))


def test_labels_are_dropped_at_the_rate_that_is_set(tmp_path, monkeypatch):
    seen = []
    original = SoundStorm.masked_loss

    def spy(self, inputs, *rest):
        if self.training:
            seen.append(inputs.labels)
        return original(self, inputs, *rest)

    monkeypatch.setattr(SoundStorm, "masked_loss", spy)
    run(tmp_path, replace(SETTINGS, epochs=25, label_dropout=0.25))
    labels = torch.cat(seen)
    assert (labels == CONFIG.null_label).float().mean() == pytest.approx(0.25, abs=0.06)
    seen.clear()
    (tmp_path / "none").mkdir()
    run(tmp_path / "none", replace(SETTINGS, label_dropout=0.0))
    assert not (torch.cat(seen) == CONFIG.null_label).any()


def test_every_step_draws_its_own_masks(tmp_path, monkeypatch):
    seen = []
    original = SoundStorm.masked_loss

    def spy(self, inputs, level, mask, *rest):
        if self.training:
            seen.append((*level.tolist(), *mask.sum(1).tolist()))
        return original(self, inputs, level, mask, *rest)

    monkeypatch.setattr(SoundStorm, "masked_loss", spy)
    run(tmp_path)
    assert len(set(seen)) == len(seen) == 12


@pytest.fixture
def model():
    torch.manual_seed(0)
    return SoundStorm(CONFIG).eval()


def test_validation_repeats_exactly_and_draws_from_no_global_generator(model):
    torch.manual_seed(1)
    first = validation_loss(model, VALIDATION, seed=3, device="cpu")
    state = torch.get_rng_state()
    assert validation_loss(model, VALIDATION, seed=3, device="cpu") == first
    assert torch.equal(torch.get_rng_state(), state)
    assert validation_loss(model, VALIDATION, seed=4, device="cpu") != first


def test_validation_scores_every_clip_once_at_each_level(monkeypatch, model):
    seen = []
    original = SoundStorm.masked_loss

    def spy(self, inputs, level, mask, *rest):
        seen.extend(zip(mask.sum(1).tolist(), level.tolist(), strict=True))
        return original(self, inputs, level, mask, *rest)

    monkeypatch.setattr(SoundStorm, "masked_loss", spy)
    validation_loss(model, VALIDATION, seed=3, device="cpu")
    assert sorted(level for _, level in seen) == sorted(list(range(N_Q)) * len(VALIDATION))
    assert all(count > 0 for count, _ in seen)


def test_validation_of_a_model_that_guesses_is_the_log_of_the_codebook_size(model):
    for head in model.heads:
        torch.nn.init.zeros_(head.weight)
    assert validation_loss(model, VALIDATION, seed=0, device="cpu").level_loss == pytest.approx(
        [math.log(CODES)] * N_Q, abs=1e-5
    )


def test_validation_refuses_a_model_with_dropout_on(model):
    with pytest.raises(ValueError, match="eval"):
        validation_loss(model.train(), VALIDATION, seed=0, device="cpu")


def test_a_short_runs_average_does_not_lag_at_its_start():
    """The weights jump from 0 to 1: a plain average would still be at 0.03 when this is near 1."""
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(weight.weight)
    average = AveragedModel(weight, multi_avg_fn=warmed_up_average(0.999))
    average.update_parameters(weight)
    torch.nn.init.ones_(weight.weight)
    for _ in range(30):
        average.update_parameters(weight)
    assert average.module.weight.item() > 0.99


def test_the_average_ends_up_with_the_decay_that_is_set():
    weight = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.zeros_(weight.weight)
    average = AveragedModel(weight, multi_avg_fn=warmed_up_average(0.9))
    for _ in range(200):
        average.update_parameters(weight)
    torch.nn.init.ones_(weight.weight)
    average.update_parameters(weight)
    assert average.module.weight.item() == pytest.approx(0.1)


def test_a_loss_that_is_not_finite_stops_with_step_and_last_good_checkpoint(tmp_path):
    bad = replace(SETTINGS, learning_rate=1e38, checkpoint_minutes=EVERY_STEP)
    with pytest.raises(
        SsenvError,
        match=r"not finite at step \d+ .*generator\.state\.safetensors holds step \d+, "
        "the last good one",
    ) as error:
        run(tmp_path, bad)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "generator.safetensors").exists()


def test_a_gradient_that_is_not_finite_updates_nothing(tmp_path, monkeypatch):
    """The square root's gradient at 0 is infinite although the loss is finite.

    The checkpoint of the step before must still be good.
    """
    original = training.Objective.forward
    calls = []

    def forward(self, *inputs):
        calls.append(1)
        loss = original(self, *inputs)
        return loss + (self.model.heads[0].weight * 0).sum().sqrt() if len(calls) == 4 else loss

    monkeypatch.setattr(training.Objective, "forward", forward)
    with pytest.raises(SsenvError, match=r"not finite at step 4 .* holds step 3"):
        run(tmp_path, replace(SETTINGS, checkpoint_minutes=EVERY_STEP))
    state, _ = load_state(tmp_path / "generator.state.safetensors", "soundstorm training state")
    assert all(
        weight.isfinite().all()
        for part in ("model", "average")
        for weight in state["parts"][part].values()
    )


def test_a_generator_with_controls_keeps_the_plans_of_its_training_clips(tmp_path, straight):
    made = run(tmp_path, ONE_STEP, replace(CONFIG, controls=True)).generator
    assert torch.equal(made.plans.labels, TOKENS.labels)
    assert straight[1].generator.plans is None


def test_generator_file_gives_back_the_averaged_model_and_its_identity(straight):
    folder, result = straight
    loaded = load_generator(folder / "generator.safetensors", "cpu")
    assert loaded.class_names == TOKENS.class_names
    assert loaded.format == TOKENS.format
    assert loaded.training["level_loss"] == result.level_loss
    assert loaded.training["settings"]["learning_rate"] == SETTINGS.learning_rate
    assert loaded.model.config == CONFIG
    assert not loaded.model.training
    state, _ = load_state(folder / "generator.state.safetensors", "soundstorm training state")
    for name, weight in loaded.model.state_dict().items():
        assert torch.equal(
            weight, result.generator.model.state_dict()[name]
        )  # what was measured is what is stored
        assert torch.equal(weight, state["parts"]["average"][f"module.{name}"].half().float())
    assert any(
        not torch.equal(weight, state["parts"]["model"][name])
        for name, weight in loaded.model.state_dict().items()
    )


def test_a_generator_is_not_measured_on_a_fold_it_was_trained_on(straight):
    generator = load_generator(straight[0] / "generator.safetensors", "cpu")
    require_heldout(generator, 2)
    with pytest.raises(
        SsenvError, match=r"fold 1 is not held out: the generator was trained on folds 1;"
    ):
        require_heldout(generator, 1)
    with pytest.raises(SsenvError, match="does not say which folds"):
        require_heldout(replace(generator, training={}), 2)


def test_training_crops_clips_draws_levels_and_starts_as_it_is_told(tmp_path, monkeypatch):
    seen, starts = [], []
    original, start = SoundStorm.masked_loss, SoundStorm.start_from_codebooks

    def watch(self, inputs, level, mask, *rest):
        if self.training:
            seen.append((inputs.codes.shape[2], level))
        return original(self, inputs, level, mask, *rest)

    monkeypatch.setattr(SoundStorm, "masked_loss", watch)
    monkeypatch.setattr(
        SoundStorm,
        "start_from_codebooks",
        lambda self, books: starts.append(books) or start(self, books),
    )
    codebooks = torch.randn(N_Q, CODES, 5)
    settings = replace(SETTINGS, epochs=10, crop_frames=6, coarse_emphasis=4.0)
    train(
        CONFIG,
        TOKENS,
        VALIDATION,
        settings,
        tmp_path / "generator.safetensors",
        "cpu",
        codebooks=codebooks,
    )
    assert {frames for frames, _ in seen} == {6}
    assert (
        torch.cat([level for _, level in seen]) == 0
    ).float().mean() > 0.85  # 1 / (1 + 1/16 + 1/81) is 0.93
    assert torch.equal(starts[0], codebooks)


def test_a_batch_in_parts_is_the_batch(tmp_path):
    """Clips of several lengths: a part of the batch may lack tokens of some level.

    A third part is left over.
    """
    config = replace(CONFIG, dropout=0.0)
    losses = []
    for accumulate in (1, 2, 3, 99):
        path = tmp_path / f"{accumulate}.safetensors"
        result = train(
            config,
            TOKENS,
            VALIDATION,
            replace(SETTINGS, epochs=3, accumulate=accumulate),
            path,
            "cpu",
        )
        losses.append([row["loss"] for row in result.rows])
    for other in losses[1:]:
        assert other == pytest.approx(losses[0], rel=1e-4)


def test_controls_are_those_of_the_frames_and_each_is_hidden_in_its_share_of_the_items(
    tmp_path, monkeypatch
):
    """Every frame's loudness is a number of its own, so that it tells which codes belong to it."""
    number = torch.arange(TOKENS.codes[:, 0].numel()).view_as(TOKENS.codes[:, 0]) / 1000
    tokens = replace(TOKENS, controls=torch.stack((number, torch.zeros_like(number)), dim=-1))
    codes_of = dict(
        zip(
            number.flatten().tolist(),
            tokens.codes.transpose(1, 2).flatten(0, 1).tolist(),
            strict=True,
        )
    )
    seen, hidden, unlabelled = [], [], []
    original = SoundStorm.masked_loss

    def watch(self, inputs, level, mask, *rest):
        codes, labels, _, controls = inputs
        if self.training:
            hidden.extend(controls.isnan().all(dim=1).tolist())
            unlabelled.extend((labels == CONFIG.null_label).tolist())
            seen.extend(
                zip(
                    controls[..., 0][mask].tolist(),
                    codes.transpose(1, 2)[mask].tolist(),
                    strict=True,
                )
            )
        return original(self, inputs, level, mask, *rest)

    monkeypatch.setattr(SoundStorm, "masked_loss", watch)
    config = replace(CONFIG, controls=True)
    settings = replace(
        SETTINGS,
        epochs=40,
        crop_frames=6,
        label_dropout=0.2,
        control_dropout=0.3,
        partial_dropout=0.2,
    )
    result = train(config, tokens, VALIDATION, settings, tmp_path / "generator.safetensors", "cpu")
    specified = [(value, codes) for value, codes in seen if not math.isnan(value)]
    assert len(specified) > 100
    assert all(codes_of[value] == codes for value, codes in specified)
    hidden, unlabelled = np.array(hidden), np.array(unlabelled)
    assert unlabelled.sum() > 20
    assert hidden[unlabelled].all()  # without a class there are no controls
    hidden = hidden[~unlabelled]
    both = hidden.all(axis=1)
    assert abs(both.mean() - 0.3) < 0.1
    assert (abs(hidden[~both].mean(axis=0) - 0.2 / 0.7) < 0.1).all()  # each alone
    assert result.generator.model.config.controls


def test_other_files_are_no_generators(tmp_path, straight):
    with pytest.raises(SsenvError, match=r"no soundstorm generator file at .*missing\.safetensors"):
        load_generator(tmp_path / "missing.safetensors", "cpu")
    with pytest.raises(
        SsenvError, match="holds 'soundstorm training state', not a soundstorm generator"
    ):
        load_generator(straight[0] / "generator.state.safetensors", "cpu")
    metadata = {"kind": GENERATOR_KIND, "config": {"n_q": 3, "width": 5}}
    other = save_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, metadata)
    with pytest.raises(SsenvError, match=r"other\.safetensors holds another model"):
        load_generator(other, "cpu")


def test_tokens_that_do_not_fit_the_model_are_a_programming_mistake(tmp_path):
    with pytest.raises(ValueError, match="do not fit"):
        run(tmp_path, config=replace(CONFIG, num_classes=5))


def test_bf16_trains_and_is_chosen_only_where_the_device_computes_in_it(
    tmp_path, monkeypatch, capsys
):
    result = run(tmp_path, replace(SETTINGS, precision="bf16"))
    assert result.generator.training["precision"] == "bf16"
    assert "bf16" in capsys.readouterr().out
    assert all(math.isfinite(row["loss"]) for row in result.rows)
    assert all(weight.dtype == torch.float32 for weight in result.generator.model.parameters())
    cpu = torch.device("cpu")
    for capabilities, expected in (
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx512_f": True}, "fp32"),
    ):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=capabilities: found)
        assert resolve_precision("auto", cpu) == expected
        assert resolve_precision("fp32", cpu) == "fp32"


def test_a_device_that_is_not_there_is_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert resolve_device("cuda:0").type == "cuda"
    with pytest.raises(SsenvError, match="no device cuda:1 here"):
        resolve_device("cuda:1")
    with pytest.raises(SsenvError, match="no device 'meta': set device to auto"):
        resolve_device("meta")
    with pytest.raises(SsenvError, match="no device 'gpu': set device to auto"):
        resolve_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve_device("auto") == torch.device("cpu")


def test_derived_seeds_are_stable_and_distinct():
    assert derive_seed(42, 7) == 4914442648729745993
    seeds = {
        derive_seed(*entropy)
        for entropy in ((0,), (0, 0), (0, 1), (1, 0), (1,), (0, 0, 0), (2, 5, 1), (2, 5, 2))
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
