"""Every command does what it says on a small folder, and answers bad input with one line on stderr, exit 1, and nothing written."""

import csv
import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from packaging.specifiers import SpecifierSet
from tiny import tiny_codec, token_format

from ssenv_core import codecs
from ssenv_core import data as datasets
from ssenv_core.base.files import sha256_file
from ssenv_core.classification.classifier import Classifier, TrainedClassifier, save_classifier
from ssenv_core.cli import main
from ssenv_core.codecs import load_codec, reconstruction
from ssenv_core.generator import file
from ssenv_core.generator.file import TrainedGenerator, load_generator, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.metrics.acoustic import acoustic_metrics
from ssenv_core.metrics.similarity import paired_similarity, whole_clip_similarity
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig


def ssenv(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(result, pattern):
    assert result.exit_code == 1
    assert re.fullmatch(f"error: {pattern}\n", result.stderr), result.stderr
    assert result.stdout == ""


def noise(seed, samples=6000):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture
def sounds(tmp_path):
    """Folders of clips by name: empty, text (not audio), cut (a truncated ogg), twins (two files of one stem), and good ones."""
    for name in ("empty", "text", "cut", "twins", "real", "generated"):
        (tmp_path / name).mkdir()
    (tmp_path / "text" / "a.wav").write_text("no sound at all")
    soundfile.write(tmp_path / "cut" / "a.ogg", noise(0, 48_000), 24_000)
    data = (tmp_path / "cut" / "a.ogg").read_bytes()
    (tmp_path / "cut" / "a.ogg").write_bytes(data[: len(data) // 2])
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / "twins" / f"a.{suffix}", noise(1), 24_000)
    (tmp_path / "real" / "dog").mkdir()
    soundfile.write(tmp_path / "real" / "dog" / "1.flac", noise(2, 11_025), 44_100)
    soundfile.write(tmp_path / "real" / "b.wav", noise(3), 24_000)
    soundfile.write(tmp_path / "real" / "c.wav", np.zeros(6000), 24_000)
    soundfile.write(tmp_path / "generated" / "x.wav", noise(4), 24_000)
    soundfile.write(tmp_path / "generated" / "y.wav", noise(5), 24_000)
    return tmp_path


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A small embedded codec in place of the shipped one."""
    path = tiny_codec().save(tmp_path / "weights" / "melrvq_24khz.safetensors")
    path.with_suffix(".json").write_text(json.dumps({"sha256": sha256_file(path)}))
    monkeypatch.setattr(codecs, "WEIGHTS", path.parent)


@pytest.fixture
def checkpoint(tmp_path, weights):
    codec = load_codec("melrvq_24khz", 1.5)
    torch.manual_seed(0)
    model = SoundStorm(
        SoundStormConfig(n_q=2, num_classes=2, dim=16, depth=1, heads=2, kernel_size=3)
    ).eval()
    return save_generator(
        tmp_path / "generator.safetensors",
        TrainedGenerator(model, ("dog", "rain"), token_format(codec, duration=5.0), {}),
    )


def test_help_comes_without_the_heavy_imports():
    code = (
        "import sys, ssenv_core.cli\n"
        "ssenv_core.cli.main(['--help'], standalone_mode=False)\n"
        "print('heavy' if 'numpy' in sys.modules else 'light')"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert shown.endswith("light\n")
    assert all(
        f"\n  {command} " in shown
        for command in ("run", "sweep", "download", "reconstruct", "evaluate", "generate", "export")
    )


def test_a_sweep_takes_axes_after_grid_and_each_once(monkeypatch):
    seen = []
    monkeypatch.setattr(
        "ssenv_core.study.sweep.run_sweep",
        lambda params, choices, overrides: seen.append((str(params), choices, overrides)) or ["a"],
    )
    monkeypatch.setattr("ssenv_core.study.sweep.sweep_table", lambda studies: f"table of {studies}")
    result = CliRunner().invoke(
        main, ["sweep", "p.yaml", "--grid", "fold=1,2", "guidance=1,3", "--set", "seed=7"]
    )
    assert result.exit_code == 0
    combined = [{"fold": fold, "guidance": guidance} for fold in (1, 2) for guidance in (1, 3)]
    assert seen == [("p.yaml", combined, {"seed": 7})]
    assert "table of ['a']" in result.output
    assert (
        CliRunner().invoke(main, ["sweep", "p.yaml", "--vary", "fold=1,2", "guidance=3"]).exit_code
        == 0
    )
    assert seen[1:] == [("p.yaml", [{}, {"fold": 1}, {"fold": 2}, {"guidance": 3}], {})]
    result = CliRunner().invoke(main, ["sweep", "p.yaml", "--grid", "fold=1,2", "fold=3"])
    assert result.exit_code == 2
    assert "fold is named twice" in result.output
    for axes in (["fold=1,2"], ["--grid", "fold=1", "--vary", "seed=2"]):
        result = CliRunner().invoke(main, ["sweep", "p.yaml", *axes])
        assert result.exit_code == 2
        assert "name values to sweep with --grid or --vary" in result.output
    assert len(seen) == 2


ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("version", ["3.10.14", "3.11.0", "3.13.9", "3.14.0"])
def test_make_refuses_the_pythons_that_the_package_refuses(version, monkeypatch):
    code = re.search(r"-c '(.*)'", (ROOT / "Makefile").read_text())[1]
    monkeypatch.setattr(sys, "version_info", tuple(map(int, version.split("."))))
    with pytest.raises(SystemExit) as exited:
        exec(code)
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert (not exited.value.code) == (version in SpecifierSet(supported))
    assert not exited.value.code or exited.value.code.startswith(
        "ssenv needs Python 3.11 to 3.13: "
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["rum"],
        ["run"],
        ["run", "a.yaml", "--froce"],
        ["run", "a.yaml", "--from", "03", "--only", "04"],
    ],
)
def test_wrong_usage_is_exit_2(arguments):
    assert ssenv(*arguments).exit_code == 2


BAD_FOLDERS = [
    ("missing", "no folder at .*missing"),
    ("empty", r".*empty holds no audio file .*"),
    ("text", r".*a\.wav cannot be read as audio .*: replace or remove it"),
    ("cut", r".*a\.ogg is truncated: fetch it again or remove it"),
]


@pytest.mark.parametrize(("folder", "line"), BAD_FOLDERS)
def test_reconstruct_refuses_folders_it_cannot_read(sounds, weights, folder, line):
    refused(ssenv("reconstruct", sounds / folder, sounds / "out", "--codec", "melrvq_24khz"), line)
    assert not (sounds / "out").exists()


@pytest.mark.parametrize(("folder", "line"), BAD_FOLDERS)
@pytest.mark.parametrize("side", ["--real", "--generated"])
def test_evaluate_refuses_folders_it_cannot_read(sounds, side, folder, line):
    other = "--generated" if side == "--real" else "--real"
    result = ssenv(
        "evaluate", side, sounds / folder, other, sounds / "generated", "--output", sounds / "out"
    )
    assert result.exit_code == 1
    assert re.fullmatch(f"error: {line}\n", result.stderr)
    assert not (sounds / "out").exists()


@pytest.mark.parametrize(
    ("target", "options", "line"),
    [
        ("out", ["--codec", "melrvq"], "unknown codec 'melrvq': did you mean 'melrvq_24khz'.*"),
        (
            "out",
            ["--codec", "melrvq_24khz", "--bandwidth", "5"],
            "melrvq_24khz has no 5 kbps: choose a multiple of 0.75 up to 12",
        ),
        ("out", ["--codec", "melrvq_24khz", "--device", "cuda:99"], "no device cuda:99 here .*"),
        (
            "real",
            ["--codec", "melrvq_24khz"],
            ".*b.wav would be overwritten by the reconstruction of .*b.wav: .*",
        ),
    ],
)
def test_reconstruct_refuses_what_it_cannot_do(sounds, weights, target, options, line):
    before = (sounds / "real" / "b.wav").read_bytes()
    refused(ssenv("reconstruct", sounds / "real", sounds / target, *options), line)
    assert (sounds / "real" / "b.wav").read_bytes() == before


def test_reconstruct_overwrites_no_other_original_either(sounds, weights):
    """dog/1.wav lies where the reconstruction of 1.wav would go."""
    for name in ("1.wav", "dog/2.wav"):
        soundfile.write(sounds / "real" / name, noise(6), 24_000)
    (sounds / "real" / "2.wav").write_bytes((sounds / "real" / "1.wav").read_bytes())
    before = (sounds / "real" / "dog" / "2.wav").read_bytes()
    line = ".*dog/2.wav would be overwritten by the reconstruction of .*real/2.wav: .*"
    refused(
        ssenv("reconstruct", sounds / "real", sounds / "real" / "dog", "--codec", "melrvq_24khz"),
        line,
    )
    assert (sounds / "real" / "dog" / "2.wav").read_bytes() == before
    assert not (sounds / "real" / "dog" / "1.wav").exists()


def test_reconstruct_refuses_two_files_for_one_name(sounds, weights):
    line = ".*a.flac and .*a.wav would both become .*a.wav: rename one"
    refused(ssenv("reconstruct", sounds / "twins", sounds / "out", "--codec", "melrvq_24khz"), line)


def test_reconstruct_writes_every_clip_at_the_codecs_rate_and_length(sounds, weights):
    result = ssenv(
        "reconstruct", sounds / "real", sounds / "out", "--codec", "melrvq_24khz", "--bandwidth", 3
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.endswith(f"3 clips written to {sounds / 'out'}\n")
    for name in ("b", "c", "dog/1"):
        info = soundfile.info(sounds / "out" / f"{name}.wav")
        assert (info.samplerate, info.frames) == (24_000, 6000)
    wav, _ = soundfile.read(sounds / "real" / "b.wav", dtype="float32")
    expected = reconstruction.reconstruct(load_codec("melrvq_24khz", 3.0), wav)
    written, _ = soundfile.read(sounds / "out" / "b.wav", dtype="float32")
    np.testing.assert_allclose(written, np.clip(expected, -1, 1), atol=1 / 32768)


def table(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_evaluate_in_the_matched_convention(sounds):
    result = ssenv(
        "evaluate",
        "--real",
        sounds / "real",
        "--generated",
        sounds / "generated",
        "--output",
        sounds / "out",
    )
    assert result.exit_code == 0, result.output
    rows = table(sounds / "out" / "metrics.csv")
    assert [(row["side"], row["clip"], row["sample_rate"]) for row in rows] == [
        ("real", "b.wav", "24000"),
        ("real", "c.wav", "24000"),
        ("real", "dog/1.flac", "24000"),
        ("generated", "x.wav", "24000"),
        ("generated", "y.wav", "24000"),
    ]
    wav, rate = soundfile.read(sounds / "generated" / "y.wav", dtype="float32")
    assert float(rows[-1]["snr"]) == pytest.approx(acoustic_metrics(wav, rate)["snr"])
    report = json.loads((sounds / "out" / "report.json").read_text())
    assert report["silent"] == {"real": ["c.wav"], "generated": []}
    assert report["comparison"]["snr"]["real_n"] == 2  # the silent clip is no zero in a mean
    assert report["pairing"] == (
        "2 pairs by sorted file name, the i-th real with the i-th generated clip: spectrograms; "
        "1 of 3 real clips have no partner, and count in all else."
    )
    assert [(row["real"], row["generated"]) for row in table(sounds / "out" / "pairs.csv")] == [
        ("b.wav", "x.wav"),
        ("c.wav", "y.wav"),
    ]
    pair = [
        soundfile.read(sounds / name, dtype="float32")[0]
        for name in ("real/b.wav", "generated/x.wav")
    ]
    expected = paired_similarity(*([wav] for wav in pair))["spectral_convergence"].item()
    assert report["similarity"]["spectral_convergence"] == {
        "n": 1,
        "mean": pytest.approx(expected),
        "std": 0.0,
    }
    assert [row["metric"] for row in table(sounds / "out" / "comparison.csv")] == list(
        report["comparison"]
    )
    assert (
        "1 of 3 real clips is silent throughout, so left out of the means: c.wav." in result.stdout
    )
    assert "zcr" in result.stdout


def test_evaluate_in_the_papers_convention_keeps_rates_and_says_where_they_differ(sounds):
    (sounds / "real" / "dog" / "1.flac").rename(sounds / "real" / "a.flac")
    options = ["--output", sounds / "out", "--convention", "paper"]
    result = ssenv(
        "evaluate", "--real", sounds / "real", "--generated", sounds / "generated", *options
    )
    assert result.exit_code == 0, result.output
    assert [row["sample_rate"] for row in table(sounds / "out" / "metrics.csv")] == [
        "44100",
        "24000",
        "24000",
        "24000",
        "24000",
    ]
    report = json.loads((sounds / "out" / "report.json").read_text())
    assert "at different rates (24000, 44100 Hz), so not the same frequencies" in report["pairing"]
    pair = [
        soundfile.read(sounds / name, dtype="float32")[0]
        for name in ("real/a.flac", "generated/x.wav")
    ]
    row = table(sounds / "out" / "pairs.csv")[0]
    assert float(row["log_spectral_distance"]) == pytest.approx(
        whole_clip_similarity(*pair)["log_spectral_distance"]
    )


def generate(checkpoint, output, *options, duration=("--duration", 0.2)):
    return ssenv(
        "generate",
        "--checkpoint",
        checkpoint,
        "--output",
        output,
        *duration,
        "--device",
        "cpu",
        *options,
    )


def test_baselines_writes_every_fold_and_names_those_that_are_not_here(monkeypatch, tmp_path):
    few = replace(
        datasets.load_dataset("synthetic", clips_per_class=5).subset(folds=[1, 2]),
        missing_folds=(3,),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: few)
    result = ssenv("baselines", "synthetic", "--output", tmp_path / "new" / "table.csv")
    assert result.exit_code == 0
    assert "synthetic: folds 3 are not here: this is not the official protocol" in result.stdout
    rows = list(csv.DictReader((tmp_path / "new" / "table.csv").open()))
    assert [row["baseline"] for row in rows] == ["k-NN", "random forest", "SVM"]
    assert all(
        float(row["mean"]) == pytest.approx((float(row["fold 1"]) + float(row["fold 2"])) / 2)
        for row in rows
    )


def test_generate_by_default_decodes_as_chosen_on_a_validation_split(checkpoint, tmp_path):
    assert generate(checkpoint, tmp_path / "a", "--class", "dog").exit_code == 0
    recipe = json.loads((tmp_path / "a" / "dog_42_0.json").read_text())
    assert (recipe["choice_temperature"], recipe["guidance"]) == (8.0, 2.0)
    assert recipe["environment"]["device"] == "cpu"
    assert (
        " ".join(ssenv("generate", "--help").stdout.split()).count("chosen on a validation split")
        == 2
    )


def test_generate_writes_sounds_with_recipes_that_make_them_again(checkpoint, tmp_path):
    options = [
        "--class",
        "rain",
        "--num-samples",
        2,
        "--seed",
        7,
        "--steps",
        "3,1",
        "--temperature",
        "1,0",
        "--guidance",
        2,
    ]
    assert generate(checkpoint, tmp_path / "a", *options).exit_code == 0
    assert {path.name for path in (tmp_path / "a").iterdir()} == {
        f"rain_7_{i}.{kind}" for i in range(2) for kind in ("wav", "json")
    }
    info = soundfile.info(tmp_path / "a" / "rain_7_0.wav")
    assert (info.samplerate, info.frames) == (24_000, 4800)
    recipe = json.loads((tmp_path / "a" / "rain_7_1.json").read_text())
    assert recipe["checkpoint_sha256"] == sha256_file(checkpoint)
    assert recipe["index"] == 1
    again = [
        "--class",
        recipe["class"],
        "--num-samples",
        recipe["num_samples"],
        "--seed",
        recipe["seed"],
    ]
    again += [
        part
        for name in ("steps", "temperature")
        for part in (f"--{name}", ",".join(map(str, recipe[name])))
    ]
    again += ["--guidance", recipe["guidance"]]
    assert generate(checkpoint, tmp_path / "b", *again).exit_code == 0
    sounds = [
        (tmp_path / name).read_bytes()
        for name in ("a/rain_7_0.wav", "a/rain_7_1.wav", "b/rain_7_0.wav", "b/rain_7_1.wav")
    ]
    assert sounds[:2] == sounds[2:]
    assert sounds[0] != sounds[1]


def test_generate_goes_as_a_training_clip_does_unless_told_otherwise(checkpoint, tmp_path):
    trained = load_generator(checkpoint, "cpu")
    model = SoundStorm(replace(trained.model.config, controls=True)).eval()
    plans = Plans(torch.tensor([0, 1]), torch.rand(2, 375, 2).round())
    able = save_generator(tmp_path / "able.safetensors", replace(trained, model=model, plans=plans))
    options, sounds = (
        {"plan": [], "told": ["--onsets", "0.1"], "none": ["--no-plan"], "again": ["--plan"]},
        {},
    )
    for name, told in options.items():
        assert generate(able, tmp_path / name, "--class", "dog", *told).exit_code == 0
        assert json.loads((tmp_path / name / "dog_42_0.json").read_text())["plan"] == (
            name in {"plan", "again"}
        )
        sounds[name] = (tmp_path / name / "dog_42_0.wav").read_bytes()
    assert sounds["plan"] == sounds["again"]
    assert len(set(sounds.values())) == 3
    assert (
        "--plan is for sounds of which nothing else is told"
        in generate(able, tmp_path, "--class", "dog", "--plan", "--onsets", "0.1").stderr
    )


def test_generate_replaces_no_sound_that_was_made_otherwise(checkpoint, tmp_path):
    assert generate(checkpoint, tmp_path, "--class", "rain", "--seed", 7).exit_code == 0
    first = (tmp_path / "rain_7_0.wav").read_bytes()
    assert (
        generate(checkpoint, tmp_path, "--class", "rain", "--seed", 7, "--num-samples", 2).exit_code
        == 0
    )  # one more
    assert (tmp_path / "rain_7_0.wav").read_bytes() == first
    other = ["--class", "rain", "--seed", 7, "--guidance", 3]
    refused(
        generate(checkpoint, tmp_path, *other),
        r".*rain_7_0\.wav holds a sound that was made otherwise: choose another --output, or --seed",
    )
    (tmp_path / "rain_7_0.json").unlink()
    refused(
        generate(checkpoint, tmp_path, "--class", "rain", "--seed", 7),
        r".*rain_7_0\.wav holds a sound that was made otherwise.*",
    )
    assert (tmp_path / "rain_7_0.wav").read_bytes() == first


def test_without_a_checkpoint_the_shipped_generator_is_used(checkpoint, tmp_path, monkeypatch):
    checkpoint.with_suffix(".json").write_text(json.dumps({"sha256": sha256_file(checkpoint)}))
    monkeypatch.setattr(file, "SHIPPED", checkpoint)
    options = ["--class", "dog", "--duration", 0.2, "--output", tmp_path / "a", "--device", "cpu"]
    assert ssenv("generate", *options).exit_code == 0
    assert json.loads((tmp_path / "a" / "dog_42_0.json").read_text())[
        "checkpoint_sha256"
    ] == sha256_file(checkpoint)
    checkpoint.write_bytes(b"cut off")
    refused(ssenv("generate", *options), r".*generator\.safetensors is damaged .*reinstall ssenv")
    refused(
        ssenv("export", "--output", tmp_path / "dog.pt2"),
        r".*generator\.safetensors is damaged .*reinstall ssenv",
    )


def test_classify_prints_the_likeliest_classes_of_each_file(checkpoint, tmp_path):
    generator = load_generator(checkpoint, "cpu")
    torch.manual_seed(0)
    classifier = TrainedClassifier(
        Classifier(generator.model, 2), generator.class_names, generator.format
    )
    save_classifier(tmp_path / "c.safetensors", classifier)
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", noise(ord(name)), 24_000)
    files = [tmp_path / "a.wav", tmp_path / "b.wav"]
    result = ssenv("classify", "--checkpoint", tmp_path / "c.safetensors", *files)
    assert result.exit_code == 0, result.output
    for path, line in zip(files, result.stdout.splitlines(), strict=True):
        shown = re.fullmatch(rf"{path}: (dog|rain) (\d+\.\d)%, (dog|rain) (\d+\.\d)%", line)
        assert {shown[1], shown[3]} == {"dog", "rain"}
        assert float(shown[2]) >= float(shown[4])
        assert float(shown[2]) + float(shown[4]) == pytest.approx(100, abs=0.11)
    assert (
        ssenv(
            "classify", "--top", 1, "--checkpoint", tmp_path / "c.safetensors", files[0]
        ).stdout.count("%")
        == 1
    )
    refused(
        ssenv("classify", "--checkpoint", checkpoint, files[0]), r".*not a soundstorm classifier"
    )


def test_export_writes_a_program_and_refuses_what_it_cannot(checkpoint, tmp_path):
    result = ssenv(
        "export",
        "--checkpoint",
        checkpoint,
        "--duration",
        0.2,
        "--output",
        tmp_path / "dog.pt2",
        "--steps",
        "3,1",
    )
    assert result.exit_code == 0, result.output
    codes, wav = torch.export.load(tmp_path / "dog.pt2").module()(torch.tensor([1]))
    assert (codes.shape, wav.shape) == ((1, 2, 15), (1, 1, 4800))
    result = ssenv("export", "--checkpoint", checkpoint, "--output", tmp_path / "dog.onnx")
    assert (result.exit_code, "must end in .pt2" in result.stderr) == (2, True)
    refused(
        ssenv(
            "export", "--checkpoint", checkpoint, "--output", tmp_path / "cat.pt2", "--steps", "3"
        ),
        "steps .* 2 levels",
    )
    assert not (tmp_path / "cat.pt2").exists()


def test_generate_continues_inpaints_and_varies_a_sound(checkpoint, tmp_path):
    source = tmp_path / "source.wav"
    soundfile.write(source, noise(1, 7300), 24_000)

    def made(name, *options, duration=()):
        result = generate(
            checkpoint, tmp_path / name, "--class", "dog", *options, duration=duration
        )
        assert result.exit_code == 0, result.output
        recipe = json.loads((tmp_path / name / "dog_42_0.json").read_text())
        return recipe, soundfile.read(tmp_path / name / "dog_42_0.wav", dtype="int16")[0]

    recipe, longer = made("longer", "--continue", source, duration=("--duration", 0.5))
    assert (recipe["continue"], recipe["duration"], len(longer)) == (str(source), 0.5, 12_000)
    recipe, inpainted = made("inpainted", "--inpaint", source, 0.1, 0.2)
    assert (recipe["inpaint"], recipe["duration"], len(inpainted)) == (
        [str(source), 0.1, 0.2],
        7300 / 24_000,
        7300,
    )
    recipe, varied = made("varied", "--vary", source, 0.5)
    assert (recipe["vary"], len(varied)) == ([str(source), 0.5], 7300)
    assert not np.array_equal(inpainted, varied)


@pytest.mark.parametrize(
    ("options", "exit_code", "message"),
    [
        (
            ["--class", "dog", "--sampler", "best"],
            2,
            "'best' is not one of 'confidence', 'halton', 'random'",
        ),
        (["--class", "dog", "--top-p", "2"], 1, "error: decoding: top_p 2.0 must lie in (0, 1]"),
        (
            ["--class", "dog", "--inpaint", "a.wav", "0", "1"],
            2,
            "--duration says nothing to --inpaint",
        ),
        (
            ["--class", "dog", "--continue", "a.wav", "--vary", "a.wav", "1"],
            2,
            "exclude each other",
        ),
        (
            ["--class", "dog", "--onsets", "0.1"],
            1,
            "error: this generator was trained without controls",
        ),
        (["--class", "dog", "--plan"], 1, "error: this generator has no plans"),
        (["--class", "dog", "--onsets", "soon"], 2, "'soon' is not a list of numbers"),
        (["--class", "dog", "--continue", "nowhere.wav"], 1, "error: no audio file at nowhere.wav"),
        (
            ["--class", "dig"],
            1,
            "error: no class 'dig' among the 2 of this generator: did you mean dog or rain? There are dog, rain\n",
        ),
        (["--class", "dog", "--onsets", ""], 2, "'' is not a list of numbers"),
        (["--class", "dog", "--steps", "12"], 1, "error: "),
        (["--class", "dog", "--temperature", "-1"], 1, "error: "),
        (["--class", "dog", "--steps", "many"], 2, "'many' is not a list of whole numbers"),
        (["--class", "dog", "--num-samples", "0"], 2, "0 is not in the range"),
        (["--class", "dog", "--duration", "0"], 2, "not in the range"),
    ],
)
def test_generate_refuses_what_it_cannot_do(checkpoint, tmp_path, options, exit_code, message):
    result = generate(checkpoint, tmp_path / "out", *options)
    assert result.exit_code == exit_code
    assert message in result.stderr
    assert exit_code == 2 or result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_file_where_sounds_are_to_go_is_refused_before_they_are_made(checkpoint, tmp_path):
    (tmp_path / "a.wav").write_text("mine")
    result = generate(checkpoint, tmp_path / "a.wav", "--class", "dog")
    assert result.exit_code == 2
    assert "is a file" in result.stderr
    program = CliRunner().invoke(main, ["export", "--output", str(tmp_path / "a.wav" / "x.pt2")])
    assert program.exit_code == 2
    assert "is no folder" in program.stderr
    assert (tmp_path / "a.wav").read_text() == "mine"


def test_generate_refuses_files_that_are_no_generators(checkpoint, tmp_path):
    refused(
        generate(tmp_path / "none", tmp_path / "out", "--class", "dog"),
        "no soundstorm generator file at .*none: 02_train makes it",
    )
    codec = tmp_path / "weights" / "melrvq_24khz.safetensors"
    refused(
        generate(codec, tmp_path / "out", "--class", "dog"),
        ".* holds 'melrvq codec', not a soundstorm generator",
    )


@pytest.fixture
def project(tmp_path, monkeypatch):
    for folder in ("notebooks", "params"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params" / "bad.yaml").write_text("notebooks: [99_none]\nstudy: bad\n")
    (tmp_path / "params" / "list.yaml").write_text("[1, 2]")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["params/none.yaml"], "no parameter file at params/none.yaml"),
        (["params/list.yaml"], "params/list.yaml must be one flat mapping of name: value"),
        (["params/bad.yaml"], "params/bad.yaml lists notebook '99_none': .*"),
        (["params/bad.yaml", "--set", "seed"], "--set seed: write name=value"),
    ],
)
def test_run_refuses_bad_parameters(project, arguments, line):
    refused(ssenv("run", *arguments), line)
    assert not Path("outputs").exists()


def test_download_refuses_an_unknown_data_set_and_passes_on_a_known_one(tmp_path, monkeypatch):
    result = ssenv("download", "esc51", "--data-root", tmp_path)
    assert result.exit_code == 1
    assert re.fullmatch("error: .*esc51.*esc50.*\n", result.stderr)
    asked = []
    monkeypatch.setattr(
        "ssenv_core.data.download.download",
        lambda name, root: asked.append((name, root)) or tmp_path / "ESC-50",
    )
    result = ssenv("download", "esc50", "--data-root", tmp_path)
    assert (result.exit_code, result.stdout) == (0, f"{tmp_path / 'ESC-50'}\n")
    assert asked == [("esc50", tmp_path)]
