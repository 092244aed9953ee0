"""00 and 03 in a real JupyterLab: all cells run; the panels make, play, compare and keep sounds.

`make e2e` runs this. The study is the smallest that 03 accepts: two synthesised clips a class, a
generator of random weights, an untrained judge. Pictures of the panels are left in outputs/e2e/.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
import soundfile
import torch
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, expect

from ssenv_core.base.folders import StudyFolder
from ssenv_core.classification.judge import Judge, LogMelCNN
from ssenv_core.codecs import load_codec
from ssenv_core.data import load_dataset
from ssenv_core.data.tokenizing import tokenize
from ssenv_core.data.tokens import save_tokens
from ssenv_core.generator.file import TrainedGenerator, save_generator
from ssenv_core.generator.plans import Plans
from ssenv_core.soundstorm.model import SoundStorm, SoundStormConfig

ROOT = Path(__file__).parents[2]
SMALL = {"clips_per_class": 2, "samples_per_class": 1, "long_clips": 1}
PICTURES = ROOT / "outputs" / "e2e"
MINUTES = 60_000  # ms
RMS = """async (element) => {
  const data = await (await fetch(element.src)).arrayBuffer();
  const audio = await new OfflineAudioContext(1, 1, 24000).decodeAudioData(data);
  const samples = audio.getChannelData(0);
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the two notebooks, at these parameters, and what 03 reads of 01 and 02."""
    root = tmp_path_factory.mktemp("project")
    (root / "params").mkdir()
    (root / "notebooks").mkdir()
    for name in ("00_start_here", "03_generate"):
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
        (parameters,) = [
            cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])
        ]
        parameters.source += "".join(
            f"\n{key} = {value}" for key, value in SMALL.items() if key in parameters.source
        )
        nbformat.write(notebook, root / "notebooks" / f"{name}.ipynb")
    shutil.copytree(ROOT / "outputs" / "reference", root / "outputs" / "reference")
    folder = StudyFolder(root / "outputs" / "demo")
    torch.manual_seed(0)
    sounds, codec = (
        load_dataset("synthetic", clips_per_class=2, seed=42),
        load_codec("melrvq_24khz"),
    )
    tokens = tokenize(sounds, codec, device="cpu")
    save_tokens(folder.tokens, tokens)
    config = SoundStormConfig(
        n_q=codec.n_q,
        codebook_size=1024,
        num_classes=len(sounds.class_names),
        dim=64,
        depth=1,
        heads=2,
        kernel_size=3,
        controls=True,
    )
    plans = Plans.of(tokens.where([2]))
    save_generator(
        folder.generator,
        TrainedGenerator(
            SoundStorm(config), sounds.class_names, tokens.format, {"folds": [2]}, plans
        ),
    )
    Judge(LogMelCNN(len(sounds.class_names)), sounds.class_names, {}, "cpu").save(
        folder.judge, folds=[2]
    )
    return root


@pytest.fixture(scope="module")
def lab(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a JupyterLab with the project; every cell is rendered, news are off."""
    config = tmp_path_factory.mktemp("jupyter")
    (config / "labconfig").mkdir()
    disabled = {"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": True}}
    (config / "labconfig" / "page_config.json").write_text(json.dumps(disabled))
    settings = config / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    options = [
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
    ]
    folders = {
        "JUPYTER_CONFIG_DIR": str(config),
        "JUPYTERLAB_SETTINGS_DIR": str(config / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(config),
    }
    log = (config / "log").open("w")
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={project}"]
    environment = os.environ | {name: str(path) for name, path in folders.items()}
    server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    for _ in range(120):
        try:
            urllib.request.urlopen(f"{address}/api").close()
            break
        except OSError:
            assert server.poll() is None, (config / "log").read_text()
            time.sleep(0.5)
    yield address
    server.terminate()
    server.wait(30)
    log.close()


@pytest.fixture(scope="module")
def start(browser: Browser, lab: str) -> Iterator[Page]:
    """00, run."""
    yield from run_all(browser, lab, "00_start_here")


@pytest.fixture(scope="module")
def generate(browser: Browser, lab: str) -> Iterator[Page]:
    """03, run."""
    yield from run_all(browser, lab, "03_generate")


def run_all(browser: Browser, lab: str, name: str) -> Iterator[Page]:
    """Open a notebook and run all its cells; the page, once all is done and nothing went wrong."""
    page = browser.new_page(viewport={"width": 1400, "height": 1700})
    page.set_default_timeout(MINUTES)
    cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    count = sum(cell.cell_type == "code" for cell in cells)
    page.goto(f"{lab}/lab/tree/notebooks/{name}.ipynb?reset")
    expect(page.locator(".jp-CodeCell")).to_have_count(count)
    expect(page.get_by_text("| Idle")).to_be_visible()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.locator(".jp-CodeCell .jp-InputPrompt").last).to_have_text(
        f"[{count}]:", timeout=5 * MINUTES
    )
    wrong = page.locator(
        '[data-mime-type="application/vnd.jupyter.error"],'
        '[data-mime-type="application/vnd.jupyter.stderr"]'
    )
    assert wrong.all_inner_texts() == []
    yield page
    page.close()


def output(page: Page, button: str) -> Locator:
    """The output of a cell that has a button of this name."""
    return page.locator(".jp-OutputArea-output").filter(
        has=page.get_by_role("button", name=button, exact=True)
    )


def takes(panel: Locator, start: str = "play ") -> Locator:
    return panel.locator(f'audio[title^="{start}"]')


def button(panel: Locator, words: str) -> Locator:
    """Of the first card, where there are several."""
    return panel.get_by_role("button", name=words, exact=True).first


def test_in_00_a_take_is_made_played_and_kept_with_its_recipe(start: Page, project: Path) -> None:
    panel = output(start, "Generate")
    expect(takes(panel)).to_have_count(2)
    panel.get_by_label("Class").select_option("crow")
    panel.get_by_label("Onsets (s)").fill("0.5, 2")
    button(panel, "Generate").click()
    expect(takes(panel)).to_have_count(3)
    sound = takes(panel, "play crow_44_")
    expect(sound).to_have_js_property("duration", 5.0)
    assert sound.evaluate(RMS) > 0.001
    sound.evaluate("element => element.play()")
    start.wait_for_function("element => element.currentTime > 0.1", arg=sound.element_handle())
    button(panel, "Keep").click()
    expect(panel.get_by_text("Kept: ")).to_be_visible()
    (path,) = (project / "outputs" / "demo" / "audition").glob("crow_44_*.wav")
    wav, rate = soundfile.read(path)
    assert (len(wav), rate) == (120_000, 24_000)
    assert np.sqrt(np.mean(wav**2)) == pytest.approx(sound.evaluate(RMS), rel=1e-3)
    recipe = json.loads(path.with_suffix(".json").read_text())
    assert (recipe["class"], recipe["seed"], recipe["onsets"]) == ("crow", 44, "0.5,2")
    panel.screenshot(path=PICTURES / "audition_panel.png")
    panel.evaluate("element => element.id = 'panel'")
    found = Axe().run(start, context="#panel").response["violations"]
    assert [
        (one["id"], one["nodes"][0]["html"])
        for one in found
        if one["impact"] in ("serious", "critical")
    ] == []


def test_in_03_takes_are_worked_on_by_pointer_and_by_keyboard(
    generate: Page, project: Path
) -> None:
    page, panel = generate, output(generate, "Generate")
    expect(takes(panel)).to_have_count(5)
    expect(panel.get_by_text("judge:").first).to_be_visible()

    panel.get_by_label("Envelope").select_option("drawn here")
    panel.get_by_role("slider", name="Loudness over time").press("ArrowUp")
    button(panel, "Generate").click()
    expect(takes(panel)).to_have_count(6)
    button(panel, "Keep").click()
    expect(panel.get_by_text("Kept: ")).to_be_visible()
    kept = [
        json.loads(path.read_text())
        for path in (project / "outputs" / "demo" / "audition").glob("*.json")
    ]
    assert [-27.0, *[-30.0] * 39] in [recipe["envelope"] for recipe in kept]

    picture = panel.locator('img[alt^="spectrogram"]').first
    picture.scroll_into_view_if_needed()
    box = picture.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 9, steps=3)
    page.mouse.up()
    start, stop = (
        float(panel.get_by_label(f"{word} (seconds)").first.input_value())
        for word in ("from", "to")
    )
    assert (start, stop) == (pytest.approx(1, abs=0.05), pytest.approx(3, abs=0.05))
    fields = [panel.get_by_label(f"{word} (seconds)").first for word in ("from", "to")]
    fields[0].focus()
    for value in ("3.5", "4"):  # the end goes along, and stays behind
        page.keyboard.press("Control+a")
        page.keyboard.type(value)
        page.keyboard.press("Tab")
    assert [float(field.input_value()) for field in fields] == [3.5, 4]
    button(panel, "Regenerate part").press("Enter")
    expect(panel.get_by_text("a part generated again of")).to_have_count(
        2
    )  # the other is of the notebook

    button(panel, "Compare").press("Enter")
    row = panel.get_by_role("group", name="Compare by ear")
    expect(row.get_by_role("button")).to_have_count(4)
    row.get_by_role("button", name="B", exact=True).click()
    for key in "abx":
        page.keyboard.press(key)
        expect(row.get_by_role("button", name=key.upper(), exact=True)).to_have_attribute(
            "aria-pressed", "true"
        )
    page.keyboard.press(" ")
    expect(row.locator("[aria-pressed=true]")).to_have_count(0)
    button(panel, "X is A").press("Enter")
    expect(panel.get_by_text("of 1 so far")).to_be_visible()


def test_in_03_a_take_can_be_stopped_while_it_is_made(generate: Page) -> None:
    panel = output(generate, "Generate")
    before = takes(panel).count()
    panel.get_by_role("slider", name="Duration").press("End")
    panel.get_by_role("slider", name="Steps").press("End")
    button(panel, "Generate").click()
    button(panel, "Stop").click()
    expect(panel.get_by_text("Stopped: no take was made.")).to_be_visible()
    expect(takes(panel)).to_have_count(before)
    expect(button(panel, "Generate")).to_be_enabled()


def test_in_03_the_mask_explorer_moves_by_arrow_keys(generate: Page) -> None:
    explorer = generate.locator(".jp-OutputArea-output").filter(
        has=generate.get_by_text("Iteration (arrow keys move it)")
    )
    explorer.get_by_role("slider").press("ArrowRight")
    expect(explorer.locator("audio")).to_have_attribute(
        "title", "play iteration 2: level 1, 2 of 12"
    )
    expect(explorer.get_by_text("iteration 2: level 1, 2 of 12")).to_be_visible()
    explorer.screenshot(path=PICTURES / "mask_explorer.png")
