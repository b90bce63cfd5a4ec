"""The workbench in a real browser: `whet serve` in a process of its own, and a page that a person would use."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect, sync_playwright

PATIENCE = 30.0  # seconds after which a test has failed; never a thing that is measured
expect.set_options(timeout=PATIENCE * 1000)
WHET = [sys.executable, "-c", "from whetstone.cli.main import run; run()"]


def chromium() -> str | None:
    """The browser of this machine; Playwright's own is never downloaded."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextlib.contextmanager
def serving(home: Path, models: dict[str, str], token: str | None = None) -> Iterator[str]:
    """The address of a server that keeps everything under `home`, and asks for the token if there is one."""
    named = [part for name, spec in models.items() for part in ("--model", f"{name}={spec}")]
    environment = {**os.environ, "WHETSTONE_HOME": str(home)}
    environment.pop("WHETSTONE_TOKEN", None)
    if token is not None:
        environment["WHETSTONE_TOKEN"] = token
    process = subprocess.Popen(
        [*WHET, "serve", "--port", "0", *named], env=environment, stdout=subprocess.PIPE, text=True, cwd=home
    )
    try:
        assert process.stdout is not None
        found = re.search(r"workbench\s+(\S+)", process.stdout.readline())
        assert found, "the server printed no address of a workbench"
        yield found[1]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def browsing() -> Iterator[BrowserContext]:
    """A browser without a window, whose tabs share what they have loaded."""
    with sync_playwright() as playwright:
        # No sandbox: root may have none, and the pages are ours.
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        context = browser.new_context(accept_downloads=True)
        context.set_default_timeout(PATIENCE * 1000)
        yield context
        browser.close()


class Chat:
    """The Chat tab in one browser tab.

    Attributes:
        page: Playwright's page.
        elsewhere: addresses outside this machine that the page asked for.
        complaints: errors of its scripts.
    """

    def __init__(self, browser: BrowserContext, url: str, *, width: int = 1200, dark: bool = False) -> None:
        self.url = url
        self.elsewhere: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page()
        self.page.set_viewport_size({"width": width, "height": 800})
        self.page.emulate_media(color_scheme="dark" if dark else "light")
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.open(url)

    def open(self, url: str) -> None:
        """Go to an address, and wait until the page can be used."""
        self.page.goto(url)
        self.ready()

    def ready(self) -> None:
        """Wait until what the server shows first is there: the meter comes last."""
        expect(self.page.locator(".wh-meter")).to_be_visible()

    @property
    def box(self) -> Locator:
        """The message field."""
        return self.page.locator("#wh-box textarea")

    @property
    def answers(self) -> Locator:
        """The answers that are shown, finished or not."""
        return self.page.locator("article.wh-assistant")

    @property
    def users(self) -> Locator:
        """What the person said."""
        return self.page.locator("article.wh-user")

    @property
    def notice(self) -> Locator:
        """What is said above the message field."""
        return self.page.locator("#wh-notice")

    @property
    def thread(self) -> Locator:
        """The finished part of the conversation."""
        return self.page.locator(".wh-thread")

    def say(self, text: str) -> None:
        """Send a message with the keyboard."""
        self.box.fill(text)
        self.box.press("Enter")

    def ask(self, text: str) -> Locator:
        """Send a message, and wait for the end of the answer."""
        before = self.answers.count()
        self.say(text)
        expect(self.answers).not_to_have_count(before)
        return self.end()

    def end(self) -> Locator:
        """Wait until nothing is under way; the last answer."""
        expect(self.page.locator("#wh-live article")).to_have_count(0)
        expect(self.page.locator("#wh-send")).to_be_visible()
        return self.answers.last

    def choose(self, where: str, option: str) -> None:
        """Choose in a list: "model" or "second"."""
        self.page.locator(f"#wh-{where} input").click()
        self.page.locator(f"#wh-{where}").get_by_role("option", name=option, exact=True).click()
        expect(self.page.locator(f"#wh-{where} input")).to_have_value(option)

    def press(self, name: str, within: Locator | None = None) -> None:
        """Press the last button with this name."""
        (within or self.page).get_by_role("button", name=name, exact=True).last.click()

    def unfold_settings(self) -> None:
        """Show system prompt and sampling options."""
        self.page.get_by_role("button", name="System prompt and sampling").click()

    def contrast(self, selector: str) -> float:
        """The least contrast of text and background, as WCAG counts it, among the elements that match."""
        least: float = self.page.evaluate(_CONTRAST, selector)
        return least

    def close(self) -> None:
        """Close the browser tab."""
        self.page.close()

    def _note(self, request: Request) -> None:
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.elsewhere.append(request.url)


_CONTRAST = """selector => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgba(getComputedStyle(e).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  return Math.min(...[...document.querySelectorAll(selector)].map((element) => {
    const a = luminance(rgba(getComputedStyle(element).color)), b = luminance(behind(element));
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }));
}"""


class WorkbenchTab(Chat):
    """Another tab of the workbench in one browser tab.

    Attributes:
        name: what is written on it.
        prefix: what the ids of its parts begin with.
    """

    name, prefix = "", ""

    def ready(self) -> None:
        super().ready()
        self.view(self.name)

    def one(self, name: str) -> Locator:
        """A part of the tab."""
        return self.page.locator(f"#{self.prefix}-{name}")

    def view(self, name: str) -> None:
        """Open one of its views."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        wider: int = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider

    def close(self) -> None:
        """Close it, after it has run no script of a text's, complained of nothing, and asked for nothing elsewhere."""
        hacked = self.page.evaluate("window.hacked")
        super().close()
        assert hacked is None
        assert self.elsewhere == []
        assert self.complaints == []
