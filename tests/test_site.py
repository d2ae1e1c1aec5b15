"""The documentation site: it is built without a warning, complete, and loads nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import v2l
from v2l.cli.app import app
from v2l.config import Config

CHROMIUM = shutil.which("chromium")
LOADED = re.compile(
    r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*?\b(?:src|href|data)=[\"']?(//|https?:)[^>]*>"
)


@pytest.fixture(scope="module")
def site(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site: strict, so that a broken link or a missing page is an error."""
    target = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(target)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(build, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return target


def text_of(site: Path, page: str) -> str:
    """The HTML of a page."""
    return (site / page).read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages, styles = sorted(site.rglob("*.html")), sorted(site.rglob("*.css"))
    assert len(pages) > 30
    assert [
        (page.name, found[0]) for page in pages for found in LOADED.finditer(page.read_text("utf-8"))
    ] == []
    assert not [style for style in styles if re.search(r"url\([\"']?(//|https?:)", style.read_text("utf-8"))]


def commands(command: Any, name: str) -> Iterator[tuple[str, list[str]]]:
    """Each command with the spellings of its options; hidden ones are old spellings."""
    shown = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    yield name, [option for parameter in shown for option in parameter.opts if option.startswith("--")]
    for inner_name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, f"{name} {inner_name}")


@pytest.mark.parametrize(("name", "options"), commands(typer.main.get_command(app), "v2l"))
def test_every_command_and_option_is_listed(site: Path, name: str, options: list[str]) -> None:
    page = text_of(site, "reference/cli.html")
    heading = "all-commands" if name == "v2l" else name.replace(" ", "-")
    section = page.split(f'id="{heading}"')[1].split("<h2 id=")[0].split("<h3 id=")[0]
    assert all(option in section for option in options if option != "--help")


def test_every_setting_is_listed(site: Path) -> None:
    page = text_of(site, "reference/settings.html")
    for section in dataclasses.fields(Config):
        for setting in dataclasses.fields(getattr(Config(), section.name)):
            assert f"<code>{setting.name}</code>" in page


def test_every_public_name_is_documented(site: Path) -> None:
    pages = "".join(path.read_text("utf-8") for path in (site / "reference").glob("*.html"))
    for name in v2l.__all__:
        value = getattr(v2l, name)
        home = f"{value.__module__}.{value.__qualname__}"
        assert f'id="{home}"' in pages, f"v2l.{name}: {home} is on no page of docs/reference"


def test_figures_take_the_colours_of_the_page(site: Path, root: Path) -> None:
    figures = sorted((root / "docs" / "figures").glob("*.svg"))
    pages = "".join(path.read_text("utf-8") for path in (site / "concepts").glob("*.html"))
    assert len(figures) == 6
    for figure in figures:
        assert figure.stem == "icon" or f'aria-labelledby="{figure.stem}-title' in pages


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_search_works_on_files_and_nothing_is_requested(site: Path) -> None:
    from playwright.sync_api import sync_playwright

    elsewhere: list[str] = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 844})
        page.on("request", lambda request: request.url.startswith("http") and elsewhere.append(request.url))
        page.goto((site / "index.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 390  # a telephone shows it whole
        page.locator("label[for=__search]").first.click()
        page.get_by_role("textbox", name="Search").fill("codebook")
        page.get_by_role("link", name="Codebooks").first.wait_for()
        browser.close()
    assert elsewhere == []
