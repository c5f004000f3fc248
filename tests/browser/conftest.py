"""Chromium that sees no network: a page that asks for anything but files, or logs an error, fails its test."""

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

DESKTOP, PHONE = (1280, 900), (390, 844)
"""Viewports, CSS pixels."""


@pytest.fixture(scope="module")
def chromium() -> "Iterator[Browser]":
    """One browser for the tests of a module; Playwright's event loop is then over, and other tests may have theirs."""
    executable = shutil.which("chromium")
    if executable is None:
        pytest.skip("no chromium on this machine, so no page can be looked at")
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright, so no page can be looked at")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: "Browser") -> "Iterator[Callable[..., Page]]":
    """Open an address in a window of its own: open_page(url, viewport=PHONE, touch=True, allow=("http://localhost:",)).

    Requests that begin neither with "file:", "data:" or "blob:" nor with what is allowed are aborted. In the end no
    page may have tried one, logged an error, or thrown one.
    """
    problems: list[str] = []
    contexts = []

    def open_(
        url: str, *, viewport: tuple[int, int] = DESKTOP, touch: bool = False, allow: tuple[str, ...] = ()
    ) -> Any:
        size: Any = {"width": viewport[0], "height": viewport[1]}
        context = chromium.new_context(viewport=size, has_touch=touch, is_mobile=touch)
        contexts.append(context)

        def check(route: "Route") -> None:
            asked = route.request.url
            if asked.startswith(("file:", "data:", "blob:", *allow)):
                route.continue_()
            else:
                problems.append(f"asked the network for {asked}")
                route.abort()

        context.route("**/*", check)
        page = context.new_page()
        page.on("console", lambda said: problems.append(f"console: {said.text}") if said.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(f"page error: {error}"))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not problems, "; ".join(problems)
