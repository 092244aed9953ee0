"""Generate, export, classify and reconstruct do what they say, and refuse in one line."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner
from tiny.commands import BAD_FOLDERS, noise, refused, ssenv

from ssenv_core.base.files import sha256_file
from ssenv_core.classification.classifier import Classifier, TrainedClassifier, save_classifier
from ssenv_core.cli import main
from ssenv_core.codecs import load_codec, reconstruction
from ssenv_core.generator import file
from ssenv_core.generator.file import load_generator, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.soundstorm.model import SoundStorm
from ssenv_core.soundstorm.sampling import SAMPLERS


@pytest.mark.parametrize(("folder", "line"), BAD_FOLDERS)
def test_reconstruct_refuses_folders_it_cannot_read(sounds, weights, folder, line):
    refused(ssenv("reconstruct", sounds / folder, sounds / "out", "--codec", "melrvq_24khz"), line)
    assert not (sounds / "out").exists()


@pytest.mark.parametrize(
    ("target", "options", "line"),
    [
        ("out", ["--codec", "melrvq"], "unknown codec 'melrvq': did you mean 'melrvq_24khz'.*"),
        (
            "out",
            ["--codec", "melrvq_24khz", "--bandwidth", "5"],
            "melrvq_24khz has no 5 kbps: choose one of 0.75, 1.5, .*",
        ),
        ("out", ["--codec", "melrvq_24khz", "--device", "cuda:99"], "no device cuda:99 here .*"),
        (
            "real",
            ["--codec", "melrvq_24khz"],
            ".*b.wav would be overwritten by the reconstruction of .*b.wav: .*",
        ),
    ],
)
def test_reconstruct_refuses_wrong_options(sounds, weights, target, options, line):
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


def test_generate_follows_a_plan_if_only_a_class_is_given(checkpoint, tmp_path):
    trained = load_generator(checkpoint, "cpu")
    model = SoundStorm(replace(trained.model.config, controls=True)).eval()
    plans = Plans(torch.tensor([0, 1]), torch.rand(2, 375, 2).round())
    able = save_generator(tmp_path / "able.safetensors", replace(trained, model=model, plans=plans))
    options = {
        "plan": [],
        "onsets": ["--onsets", "0.1"],
        "none": ["--no-plan"],
        "again": ["--plan"],
    }
    sounds = {}
    for name, given in options.items():
        assert generate(able, tmp_path / name, "--class", "dog", *given).exit_code == 0
        assert json.loads((tmp_path / name / "dog_42_0.json").read_text())["plan"] == (
            name in {"plan", "again"}
        )
        sounds[name] = (tmp_path / name / "dog_42_0.wav").read_bytes()
    assert sounds["plan"] == sounds["again"]
    assert len(set(sounds.values())) == 3
    assert (
        "--plan excludes --continue, --inpaint, --vary, --onsets and --envelope"
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
        r".*rain_7_0\.wav holds a sound with another recipe: "
        "choose another --output or --seed",
    )
    (tmp_path / "rain_7_0.json").unlink()
    refused(
        generate(checkpoint, tmp_path, "--class", "rain", "--seed", 7),
        r".*rain_7_0\.wav holds a sound with another recipe.*",
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
            1,
            f"error: decoding: sampler 'best' must be one of {', '.join(SAMPLERS)}",
        ),
        (
            ["--class", "dog", "--guidance-schedule", "never"],
            1,
            "error: decoding: guidance_schedule 'never' must be constant, rising or falling",
        ),
        (["--class", "dog", "--top-p", "2"], 1, "error: decoding: top_p 2.0 must lie in (0, 1]"),
        (
            ["--class", "dog", "--inpaint", "a.wav", "0", "1"],
            2,
            "--inpaint and --vary keep the duration of FILE",
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
            "error: no class 'dig' among the 2 of this generator: "
            "did you mean dog or rain? There are dog, rain\n",
        ),
        (["--class", "dog", "--onsets", ""], 2, "'' is not a list of numbers"),
        (["--class", "dog", "--steps", "12"], 1, "error: "),
        (["--class", "dog", "--temperature", "-1"], 1, "error: "),
        (["--class", "dog", "--steps", "many"], 2, "'many' is not a list of whole numbers"),
        (["--class", "dog", "--num-samples", "0"], 2, "0 is not in the range"),
        (["--class", "dog", "--duration", "0"], 2, "not in the range"),
    ],
)
def test_generate_refuses_wrong_options(checkpoint, tmp_path, options, exit_code, message):
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
