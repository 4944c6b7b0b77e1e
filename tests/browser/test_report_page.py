"""The report in Debian's Chromium: it opens from a file, asks for nothing, fits a phone, and runs nobody's script."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from labrun.report.write import write_reports
from playwright.sync_api import Browser, Page, sync_playwright
from support.recorded import hostile_run, recorded_run

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("CI must have Debian's chromium")
        pytest.skip("Debian's chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, make in (("recorded", recorded_run), ("hostile", hostile_run)):
        run, result = make(tmp_path_factory.mktemp(name))
        found[name] = write_reports(run, result, ("html",))[0]
    return found


class Opened:
    """A page with what it asked for and complained about."""

    def __init__(
        self, browser: Browser, path: Path, width: int = 1440, scheme: str = "light", script: bool = True
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=script,  # type: ignore[arg-type]
            reduced_motion="reduce",
        )  # fmt: skip
        self.page: Page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.refused: dict[str, str | None] = {}
        self.page.on("requestfailed", lambda request: self.refused.update({request.url: request.failure}))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.url = path.as_uri()
        self.page.goto(self.url)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()


@pytest.mark.parametrize("name", ["recorded", "hostile"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 768, 1440])
def test_it_opens_quietly_and_fits(
    browser: Browser, pages: dict[str, Path], name: str, scheme: str, width: int
) -> None:
    with Opened(browser, pages[name], width, scheme) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert opened.page.evaluate("window.hit") is None
        assert opened.complaints == []
        assert opened.requests == [opened.url]


def test_hostile_text_makes_no_elements(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["hostile"]) as opened:
        page = opened.page
        assert page.locator("script, iframe, img, object, embed, form, link, textarea").count() == 0
        assert page.locator("h1").count() == 1
        for link in page.locator("a[href^='#'], main a:not([href])").all()[:40]:
            link.dispatch_event("mouseover")
        assert (
            page.evaluate("[...document.querySelectorAll('a')].filter(a => a.protocol === 'javascript:').length") == 0
        )
        assert page.evaluate("window.hit") is None
        assert page.locator("text=<script>window.hit=1</script>").count() > 0


def test_an_attack_that_gets_in_finds_a_closed_door(browser: Browser, pages: dict[str, Path]) -> None:
    """The page's policy, tried: even markup put in afterwards must neither run nor load nor look different."""
    with Opened(browser, pages["recorded"]) as opened:
        opened.page.evaluate("""() => {
            document.body.insertAdjacentHTML('beforeend',
                '<img src="https://evil.example/x.png" onerror="window.hit=1"><div id=z style="color:red">z</div>');
            const script = document.createElement('script'); script.textContent = 'window.hit = 2';
            document.body.append(script);
        }""")
        opened.page.wait_for_function("document.getElementById('z') !== null")
        assert opened.page.evaluate("window.hit") is None
        assert opened.page.evaluate("getComputedStyle(z).color") != "rgb(255, 0, 0)"
        assert opened.refused == {"https://evil.example/x.png": "csp"}


def test_it_can_be_read_without_scripts(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"], script=False) as opened:
        assert opened.page.locator("h1").inner_text() == "4 hypotheses in 4 labs"
        assert opened.page.get_by_text("64 bytes from 172.17.0.1").first.is_visible()
        summary = opened.page.locator("summary", has_text="The topology").first
        assert not opened.page.locator("#lab-own-address-s-topology-001").is_visible()
        summary.click()
        assert opened.page.locator("#lab-own-address-s-topology-001").is_visible()


def test_from_a_verdict_to_its_packet_and_back(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        page = opened.page
        page.get_by_role("link", name="A packet to my own address goes through lo.").click()
        assert page.url.endswith("#lab-own-address-h-goes-through-lo")
        page.locator("#lab-own-address-h-goes-through-lo").get_by_role("link", name="packet 1").click()
        row = page.locator(":target")
        assert row.get_attribute("id") == "lab-own-address-p-seen-1"
        assert "echo request" in row.inner_text()
        row.get_by_role("link", name="goes-through-lo").click()
        assert page.locator(":target").get_attribute("id") == "lab-own-address-h-goes-through-lo"


def test_a_deep_link_opens_what_is_folded(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        anchor = "lab-own-address-c-goes-through-lo-s-probe"
        opened.page.goto(f"{opened.url}#{anchor}")
        opened.page.wait_for_function(f"document.getElementById('{anchor}').closest('details').open")


def test_every_anchor_is_reached(browser: Browser, pages: dict[str, Path]) -> None:
    for path in pages.values():
        with Opened(browser, path) as opened:
            missing = opened.page.evaluate("""[...document.querySelectorAll('a[href^="#"]')].map(a => a.getAttribute('href'))
                .filter(href => href !== '#' && !document.getElementById(decodeURIComponent(href.slice(1))))""")
            assert missing == []


def test_dark_is_dark(browser: Browser, pages: dict[str, Path]) -> None:
    found = {}
    for scheme in ("light", "dark"):
        with Opened(browser, pages["recorded"], scheme=scheme) as opened:
            colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
            found[scheme] = sum(int(part) for part in colour[4:-1].split(","))
    assert found["light"] > 700 and found["dark"] < 120


def test_it_prints(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        assert len(opened.page.pdf(format="A4")) > 10_000
