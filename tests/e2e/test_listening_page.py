"""The hosted listening test in a browser, by keyboard alone, and checked by axe-core.

`make e2e` runs this. It needs the dependency group `e2e`, and Chromium.
"""

import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, Route

sys.path.insert(0, str(Path(__file__).parents[1]))
from tiny.listening import tiny_test

from ssenv_core.evaluation.listening.design import (
    SCALES,
    ListeningTest,
    listener_order,
    listener_pages,
)
from ssenv_core.evaluation.listening.hosting import write_key, write_page
from ssenv_core.evaluation.listening.ratings import collect_ratings

TEST = tiny_test(seconds=0.5)
PICTURES = Path(__file__).parents[2] / "outputs" / "e2e"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """The address of the test in a folder of a server that knows nothing but files."""
    write_page(tmp_path / "test", TEST)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/test/"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser: Browser, served: str) -> Iterator[Page]:
    """The test opened; whatever the page complains of, or asks another server for, is a failure."""
    opened = browser.new_page()
    wrong: list[str] = []
    opened.on(
        "console",
        lambda message: (
            wrong.append(message.text) if message.type in ("error", "warning") else None
        ),
    )
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request", lambda request: None if _is_local(request, served) else wrong.append(request.url)
    )
    opened.goto(served)
    opened.wait_for_selector("#welcome:visible")
    yield opened
    opened.close()
    assert not wrong


def _is_local(request: Request, served: str) -> bool:
    return request.url.startswith((served, "data:", "blob:"))


def begin(page: Page, listener: str) -> None:
    """From the open page, by keyboard: the name, and on."""
    while page.evaluate("document.activeElement.id") != "listener":
        page.keyboard.press("Tab")
    page.keyboard.type(listener)
    page.keyboard.press("Enter")


def wait_for(page: Page, title: str) -> None:
    page.wait_for_function(
        "title => document.activeElement.id === 'title'"
        " && document.activeElement.textContent === title",
        arg=title,
    )


def rate_page(page: Page, letters: str, scales: int, steps: int) -> None:
    """By keyboard: letters play and focus their slider, arrows rate, Tab goes on, to "Next"."""
    for letter in letters:
        page.keyboard.press(letter)
        for scale in range(scales):
            if scale:
                page.keyboard.press("Tab")
            for _ in range(steps):
                page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "next"
    page.keyboard.press("Enter")


def violations(page: Page) -> list[tuple[str, str]]:
    found = Axe().run(page).response["violations"]
    return [
        (one["id"], one["nodes"][0]["html"])
        for one in found
        if one["impact"] in ("moderate", "serious", "critical")
    ]


def take(page: Page, test: ListeningTest, listener: str, until: int | None = None) -> None:
    """The practice page and the pages up to `until`; axe-core checks one of each kind."""
    checked = set()
    for place, one in enumerate([test.training, *listener_pages(test, listener)][:until]):
        wait_for(page, f"Page {place}" if place else "Practice page")
        if one.test not in checked:
            assert violations(page) == []
            checked.add(one.test)
        rate_page(page, "abcdefghijkl"[: len(one.stimuli)], len(SCALES[one.test]), steps=place + 1)


def test_the_whole_test_by_keyboard_and_its_download_is_what_was_rated(
    page: Page, tmp_path: Path
) -> None:
    assert violations(page) == []
    begin(page, "anna")
    with page.expect_download() as download:
        take(page, TEST, "anna")
    wait_for(page, "Thank you")
    assert violations(page) == []
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.name == f"ratings-{TEST.version}-anna.csv"
    table, others = collect_ratings([saved], write_key(tmp_path, TEST))
    assert others == 0
    pages = listener_pages(TEST, "anna")
    expected = [
        (place, one.name, name, scale, 50 + place + 1)
        for place, one in enumerate(pages, 1)
        for name in listener_order(TEST.seed, "anna", [stimulus.name for stimulus in one.stimuli])
        for scale in SCALES[one.test]
    ]
    assert (
        list(
            table[["trial", "page", "stimulus", "scale", "score"]].itertuples(
                index=False, name=None
            )
        )
        == expected
    )
    assert (table["seconds"] > 0).all()


def test_a_letter_plays_another_letter_goes_on_in_its_place_and_space_stops(page: Page) -> None:
    begin(page, "bert")
    wait_for(page, "Practice page")
    page.keyboard.press("a")
    assert page.locator(".playing button").all_inner_texts() == ["Stop A"]
    page.wait_for_timeout(200)
    page.keyboard.press("r")
    assert page.locator(".playing button").all_inner_texts() == ["Stop reference"]
    assert page.evaluate("context.currentTime - playing.started") >= 0.15
    page.screenshot(path=PICTURES / "listening_test.png")
    page.wait_for_timeout(600)  # longer than the sound: it loops
    assert page.locator(".playing").count() == 1
    page.keyboard.press("b")
    page.keyboard.press(" ")
    assert page.locator(".playing").count() == 0
    page.keyboard.press(" ")
    assert page.locator(".playing button").all_inner_texts() == ["Stop B"]
    page.get_by_role("button", name="Stop B").click()
    assert page.locator(".playing").count() == 0


def test_a_set_plays_its_sounds_one_after_another_and_ends_by_itself(page: Page) -> None:
    begin(page, "carl")
    take(page, TEST, "carl", until=5)
    wait_for(page, "Page 5")
    page.keyboard.press("a")
    assert page.evaluate("playing.sources.length") == 2
    page.wait_for_timeout(1100)  # in the second of two sounds of 0.5 s, 0.5 s apart
    assert page.locator(".playing").count() == 1
    page.wait_for_selector(".playing", state="detached", timeout=3000)


def test_a_page_is_not_left_before_all_is_played_and_rated_and_says_what_is_missing(
    page: Page,
) -> None:
    begin(page, "dora")
    wait_for(page, "Practice page")
    page.keyboard.press("b")
    page.keyboard.press("ArrowRight")
    page.get_by_role("slider", name="quality of A").focus()
    page.keyboard.press("ArrowRight")  # rated, and not heard
    page.keyboard.press("c")  # heard, and not rated
    page.get_by_role("button", name="Next").click()
    assert (
        page.get_by_role("status").inner_text()
        == "Play and rate every sound first. Still to do: A, C, D, E."
    )
    assert page.evaluate("document.activeElement.textContent") == "Play A"
    slider = page.get_by_role("slider", name="quality of C")
    assert slider.get_attribute("aria-valuetext") == "not rated"
    slider.press("Enter")
    assert slider.get_attribute("aria-valuetext") == "50, fair"
    slider.press("End")
    assert slider.get_attribute("aria-valuetext") == "100, excellent"


def test_who_comes_back_in_the_same_browser_goes_on_and_loses_nothing(page: Page) -> None:
    begin(page, "emil")
    take(page, TEST, "emil", until=3)
    wait_for(page, "Page 3")
    page.reload()
    page.wait_for_selector("#welcome:visible")
    begin(page, "emil")
    wait_for(page, "Page 3")
    stored = page.evaluate("JSON.parse(localStorage.getItem(storage()))")
    first = listener_pages(TEST, "emil")[:2]
    assert len(stored) == sum(len(one.stimuli) for one in first)


def test_without_shortcuts_a_letter_is_a_letter(page: Page) -> None:
    page.get_by_label("Use the letter keys").uncheck()
    page.get_by_label("Your name").fill("fred")
    page.keyboard.press("Enter")
    wait_for(page, "Practice page")
    page.keyboard.press("a")
    assert page.locator(".playing").count() == 0


def test_a_name_that_no_row_could_hold_is_refused(page: Page) -> None:
    begin(page, "anna, or")
    page.wait_for_timeout(100)
    assert page.locator("#welcome").is_visible()
    assert not page.evaluate("document.getElementById('listener').validity.valid")


def test_a_sound_that_is_missing_is_said(browser: Browser, served: str) -> None:
    def gone(route: Route) -> None:
        route.fulfill(status=404)

    page = browser.new_page()
    page.route("**/*.wav", gone)
    page.goto(served)
    page.wait_for_selector("#welcome:visible")
    begin(page, "gina")
    page.wait_for_function(
        "document.getElementById('status').textContent.includes('The test cannot go on: audio/')"
    )
    page.close()


def test_a_browser_that_keeps_nothing_says_so_and_what_was_rated_can_be_saved_where_it_fails(
    browser: Browser, served: str
) -> None:
    page = browser.new_page()
    page.goto(served)
    page.wait_for_selector("#welcome:visible")
    page.evaluate("() => { Storage.prototype.setItem = () => { throw new Error('refused'); }; }")
    begin(page, "ines")
    take(page, TEST, "ines", until=2)
    wait_for(page, "Page 2")
    assert (
        page.get_by_role("alert").inner_text()
        == "This browser keeps nothing: do not close this page before the end."
    )
    page.route("**/*.wav", lambda route: route.fulfill(status=404))
    one = listener_pages(TEST, "ines")[1]
    rate_page(page, "abcdefghijkl"[: len(one.stimuli)], len(SCALES[one.test]), steps=2)
    page.wait_for_function(
        "document.getElementById('status').textContent.includes('Save what you rated below')"
    )
    page.keyboard.press("a")  # nothing is there to play
    with page.expect_download() as download:
        page.locator("#save").click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert len(rows) == 1 + sum(
        len(one.stimuli) * len(SCALES[one.test]) for one in listener_pages(TEST, "ines")[:2]
    )
    page.close()


@pytest.mark.parametrize("width", [320, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_width_and_has_contrast_in_both_schemes(
    page: Page, width: int, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    begin(page, "hans")
    wait_for(page, "Practice page")
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert violations(page) == []
