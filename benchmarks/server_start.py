"""kill -9 and a new start of `v2l serve` ──► seconds until it answers, until its page is there, and until the page is of use.

    python benchmarks/server_start.py --rounds 5

The page is of use when a browser (Debian's chromium) shows the place for a photograph and the tab of words; the
seconds run from the line that the server prints. The browser itself has been started before.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import time

from playwright.sync_api import Browser, sync_playwright
from server_process import ServerProcess


def first_screen(browser: Browser, url: str) -> float:
    """Seconds until a new visitor sees what to do."""
    context = browser.new_context()  # nothing is kept from the visitor before
    page = context.new_page()
    started = time.perf_counter()
    page.goto(url)
    page.get_by_role("tab", name="Words").wait_for()
    page.locator("#photograph input[type=file]").wait_for(state="attached")
    seconds = time.perf_counter() - started
    context.close()
    return seconds


def until_line(server: ServerProcess, started: float) -> float:
    """Seconds until the server prints its address, because its page is there."""
    while server.url not in server.log():
        if not server.is_alive():
            raise SystemExit(f"the server did not start:\n{server.log()}")
        time.sleep(0.05)
    return time.perf_counter() - started


def main() -> None:
    """Measure."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args()
    found: dict[str, list[float]] = {"ready at /healthz": [], "page there": [], "page of use, from then": []}
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for _ in range(given.rounds):
            server = ServerProcess()
            started = time.perf_counter()
            found["ready at /healthz"].append(server.start())
            found["page there"].append(until_line(server, started))
            found["page of use, from then"].append(first_screen(browser, server.url))
            server.kill()
        browser.close()
    for name, seconds in found.items():
        middle = statistics.median(seconds)
        print(f"{name}: {middle:.1f} s ({min(seconds):.1f} to {max(seconds):.1f}, n = {len(seconds)})")


if __name__ == "__main__":
    main()
