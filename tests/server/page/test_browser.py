"""The page in a real Chromium: every tab, the keyboard, a telephone, dark mode, accessibility, no outside."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = pytest.mark.browser
TABS = ("Words", "Ask", "Few-shot", "Reconstruct", "Inpaint", "Compare")
PATIENCE = 60_000  # milliseconds until a test gives up; nothing is measured
Open = Callable[..., Any]


@pytest.fixture
def open_page(browser: Any, address: str) -> Iterator[Open]:
    """Open the page in a fresh window; a request that leaves the machine fails the test."""
    contexts, outside = [], []

    def opened(width: int = 1280, height: int = 900, colours: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: outside.append(request.url) if is_outside(request.url) else None)
        page.goto(address)
        page.get_by_role("tab", name="Words").wait_for()
        return page

    def is_outside(url: str) -> bool:
        return not url.startswith((address, "data:", "blob:"))

    yield opened
    for context in contexts:
        context.close()
    assert outside == []


def show(page: Any, tab: str) -> None:
    page.get_by_role("tab", name=tab, exact=True).click()


def choose(page: Any, file: Any) -> None:
    """Upload a photograph and wait for its words."""
    page.locator("#photograph input[type=file]").set_input_files(file)
    page.locator("#words .bars li").first.wait_for()


def tab_to(page: Any, label: str) -> None:
    """Press Tab until the control with this label has the focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        focus = "[document.activeElement.innerText, document.activeElement.getAttribute('aria-label')]"
        if label in [text and text.strip() for text in page.evaluate(focus)]:
            return
    raise AssertionError(f"{label} is out of the keyboard's reach")


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


def serious_findings(page: Any) -> list[str]:
    """Findings of axe that are serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page).response["violations"]
    return [
        f"{finding['id']}: {finding['nodes'][0]['html'][:120]}"
        for finding in found
        if finding["impact"] in ("serious", "critical")
    ]


def test_a_photograph_becomes_words_and_regions(open_page, samples):
    page = open_page()
    choose(page, samples / "shoes" / "boots.jpg")
    assert page.locator("#words .bars li").count() == 8
    page.click("#show-regions")
    page.locator("#regions img").wait_for()
    assert "outlined regions" in page.locator("#regions img").get_attribute("alt")


def test_what_is_no_photograph_is_refused_in_a_sentence(open_page, tmp_path):
    (tmp_path / "cat.png").write_text("no picture")
    page = open_page()
    page.locator("#photograph input[type=file]").set_input_files(tmp_path / "cat.png")
    page.get_by_text(re.compile("is no image that v2l reads")).first.wait_for()
    assert "/tmp" not in page.locator("body").inner_text()


def test_a_photograph_is_reconstructed_beside_itself(open_page, samples):
    page = open_page()
    choose(page, samples / "shoes" / "boots.jpg")
    show(page, "Reconstruct")
    page.click("#reconstruct")
    slider = page.get_by_label(re.compile("left of the reconstruction"))
    slider.press("Home")
    assert (
        page.locator("#reconstructed .pair").evaluate("pair => pair.style.getPropertyValue('--split')")
        == "0%"
    )
    assert page.locator("#reconstructed img").count() == 2


def test_a_brushed_hole_is_painted(open_page, samples):
    page = open_page()
    choose(page, samples / "shoes" / "boots.jpg")
    show(page, "Inpaint")
    page.click("#paint")
    page.get_by_text("Nothing is brushed yet").wait_for()
    brush(page)
    page.click("#paint")
    page.get_by_text(re.compile(r"The LLM predicted \d+ of \d+ tokens")).wait_for()
    assert page.locator("#painted img").count() == 2


def brush(page: Any) -> None:
    """A stroke over the middle of the editor, once it shows the photograph."""
    page.wait_for_function("!document.querySelector('#editor').innerText.includes('47%')")
    canvas = page.locator("#editor canvas").first.bounding_box()
    x, y = canvas["x"] + canvas["width"] / 2, canvas["y"] + canvas["height"] / 2
    page.mouse.move(x - 30, y)
    page.mouse.down()
    page.mouse.move(x + 30, y, steps=8)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the editor sends the stroke by itself


def test_stop_ends_work_that_runs(open_page, samples, monkeypatch):
    stopped, running = threading.Event(), threading.Event()

    def endless(*_: Any, progress: Any, **__: Any) -> None:
        running.set()
        try:
            while True:
                progress("windows", 1, 9)
                stopped.wait(0.05)
        finally:
            stopped.set()

    monkeypatch.setattr("v2l.server.page.inpaint_tab.inpaint", endless)
    page = open_page()
    choose(page, samples / "shoes" / "boots.jpg")
    show(page, "Inpaint")
    page.get_by_label("the centre").check()
    page.click("#paint")
    assert running.wait(PATIENCE / 1000)
    page.get_by_role("button", name="Stop").click()
    assert stopped.wait(PATIENCE / 1000)


def test_a_question_is_answered(open_page, samples):
    page = open_page()
    choose(page, samples / "shoes" / "boots.jpg")
    show(page, "Ask")
    page.click("#ask")
    page.get_by_text("Got an empty question").wait_for()
    page.get_by_label("Question").fill("What is it?")
    page.get_by_label("Question").press("Enter")
    answer = page.get_by_text(re.compile("It read these words: "))
    answer.wait_for()
    assert answer.count() == 1


def test_piles_give_odds(open_page, samples):
    page = open_page()
    choose(page, samples / "hat" / "straw.jpg")
    show(page, "Few-shot")
    for number, name in ((1, "hat"), (2, "shoes")):
        page.get_by_label(f"Name of pile {number}").fill(name)
        files = [samples / name / file for file in {"hat": ["plaid.jpg"], "shoes": ["boots.jpg"]}[name]]
        page.locator(f"#pile-{number} input[type=file]").set_input_files(files)
        page.locator(f"#pile-{number} img").first.wait_for()
    page.click("#classify")
    page.locator("#odds .answer").wait_for()
    assert page.locator("#odds .bars li").count() == 2


def test_tokenizers_stand_side_by_side(open_page, samples):
    page = open_page()
    choose(page, samples / "hat" / "straw.jpg")
    show(page, "Compare")
    page.click("#compare")
    page.locator("#cards section").first.wait_for()
    assert page.get_by_alt_text("Reconstruction by v2l").count() == 1


def test_another_photograph_empties_what_the_last_one_gave(open_page, samples):
    page = open_page()
    choose(page, samples / "hat" / "straw.jpg")
    page.click("#show-regions")
    page.locator("#regions img").wait_for()
    choose(page, samples / "shoes" / "boots.jpg")
    page.locator("#regions img").wait_for(state="detached")
    assert page.locator("#regions img").count() == 0


def test_the_keyboard_alone_is_enough(open_page):
    page = open_page()
    tab_to(page, "hat")
    page.keyboard.press("Enter")
    page.locator("#words .bars li").first.wait_for()
    tab_to(page, "Ask")
    page.keyboard.press("Enter")
    page.get_by_label("Question").wait_for()
    page.get_by_label("Question").focus()
    page.keyboard.type("What is it?")
    page.keyboard.press("Enter")
    page.locator("#answer .answer").wait_for()
    page.get_by_role("tab", name="Inpaint").focus()
    page.keyboard.press("Enter")
    page.get_by_label("the centre").focus()
    page.keyboard.press("Space")
    tab_to(page, "Paint")
    page.keyboard.press("Enter")
    done = page.get_by_text(re.compile(r"The LLM predicted \d+ of \d+ tokens"))
    done.wait_for()
    assert page.locator("#words .bars li").count() > 0
    assert page.locator("#answer .answer").inner_text()
    assert done.count() == 1


def test_a_telephone_shows_every_tab_without_scrolling_sideways(open_page, samples):
    page = open_page(390, 844)
    choose(page, samples / "shoes" / "boots.jpg")
    for tab in TABS:
        show(page, tab)
        assert overflow(page) <= 0, tab


def test_dark_mode_follows_the_system(open_page):
    background = "getComputedStyle(document.body).backgroundColor"
    assert open_page(colours="light").evaluate(background) == "rgb(255, 255, 255)"
    dark = open_page(colours="dark")
    assert dark.locator("body.dark").count() == 1
    assert dark.evaluate(background) != "rgb(255, 255, 255)"


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page, samples, colours):
    page = open_page(colours=colours)
    choose(page, samples / "shoes" / "boots.jpg")
    for tab in TABS:
        show(page, tab)
        page.wait_for_timeout(500)  # colours of tabs change slowly
        assert serious_findings(page) == [], tab
