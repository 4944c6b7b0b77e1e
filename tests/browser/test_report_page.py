"""The report in Debian's Chromium: it opens from a file, asks for nothing, fits a phone, and runs nobody's script."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from labrun.judge.results import results_json
from labrun.report import anchors
from labrun.report.history import history, past
from labrun.report.html import render_history
from labrun.report.write import write_reports
from playwright.sync_api import Browser, Page
from support.recorded import hostile_run, recorded_run


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for name, make in (("recorded", recorded_run), ("hostile", hostile_run)):
        run, result = make(tmp_path_factory.mktemp(name))
        found[name] = write_reports(run, result, ("html",))[0]
    shutil.copytree(found["recorded"].parent, folder := tmp_path_factory.mktemp("folder") / "run")
    write_reports(folder, recorded_run(tmp_path_factory.mktemp("again"))[1], ("html",), "folder")
    return {**found, "folder": folder / "index.html"}


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


@pytest.mark.parametrize("name", ["recorded", "hostile", "folder"])
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
        beside = ["report.css", "report.js"] if name == "folder" else []
        assert opened.requests == [opened.url, *(opened.url.replace("index.html", file) for file in beside)]


def test_hostile_text_makes_no_elements(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["hostile"]) as opened:
        page = opened.page
        assert (
            page.locator(
                "script:not(body > script:last-child), iframe, img, object, embed, form, link, textarea"
            ).count()
            == 0
        )
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
        assert not opened.page.get_by_text("64 bytes from 172.17.0.1").first.is_visible()  # all is as expected here
        opened.page.locator("#lab-own-address summary", has_text="Experiment").click()
        assert opened.page.get_by_text("64 bytes from 172.17.0.1").first.is_visible()
        summary = opened.page.locator("summary", has_text="The topology").first
        assert not opened.page.locator("#lab-own-address-setup pre").is_visible()
        summary.click()
        assert opened.page.locator("#lab-own-address-setup pre").is_visible()


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
        anchor = anchors.step("own-address", "goes-through-lo", "probe")
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
    with Opened(browser, pages["recorded"], width=700) as opened:  # A4 is narrower than most windows
        page = opened.page
        assert page.locator(".matrix thead").evaluate("e => e.getBoundingClientRect().width") == 1, "cards on a screen"
        page.emulate_media(media="print")
        assert page.locator(".matrix thead").evaluate("e => e.getBoundingClientRect().width") > 300, "a table on paper"
        for gone in (".contents", ".bar", ".copy"):
            assert not page.locator(gone).first.is_visible(), gone
        dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert not dark and page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("light", 390), ("dark", 390)])
@pytest.mark.parametrize("name", ["recorded", "hostile"])
def test_axe_finds_nothing(browser: Browser, pages: dict[str, Path], name: str, scheme: str, width: int) -> None:
    """WCAG 2.2 AA as far as a machine can tell, with everything unfolded."""
    with Opened(browser, pages[name], width, scheme) as opened:
        opened.page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        found = Axe().run(opened.page, options={"runOnly": {"type": "tag", "values": tags}})
        told = [(each["id"], node["html"][:160], node.get("failureSummary", "")[:300])
                for each in found.response["violations"] for node in each["nodes"][:3]]  # fmt: skip
        assert told == []


def test_the_filter_is_in_the_address(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        page = opened.page
        page.keyboard.press("/")
        page.keyboard.type("docker0 refuted")
        assert page.locator("output").inner_text() == "1 of 4 verdicts, 2 of 4 labs"
        assert page.locator(".matrix tbody tr:not(.of):visible").count() == 1
        assert not page.locator("#lab-broken").is_visible()
        address = page.url
        assert "q=docker0+refuted" in address
        page.keyboard.press("Escape")
        assert page.locator(".matrix tbody tr:not(.of):visible").count() == 4 and "q=" not in page.url
        page.goto(address)
        assert page.locator("#filter").input_value() == "docker0 refuted"
        assert page.locator(".matrix tbody tr:not(.of):visible").count() == 1
        page.goto(address + "#lab-colours-h-wrong")  # a link to what the filter hides shows it
        page.reload()
        assert page.locator("#lab-colours-h-wrong").is_visible()


def test_tabs_show_one_kind_and_are_in_the_address(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        page = opened.page
        told = [tab.inner_text() for tab in page.locator(".tabs button").all()]
        assert told == ["all 7", "surprises 1", "inconclusive 1", "broken 2", "skipped 1"]
        page.get_by_role("button", name="surprises 1").click()
        assert page.locator(".matrix tbody tr:not(.of):visible").count() == 1 and "show=surprise" in page.url
        assert [lab.get_attribute("id") for lab in page.locator("article.lab:visible").all()] == ["lab-colours"]
        page.reload()
        assert page.locator(".matrix tbody tr:not(.of):visible").count() == 1
        page.get_by_role("button", name="skipped 1").click()
        assert page.locator(".matrix tbody tr:visible").count() == 0
        assert page.locator("#verdicts > .problem:visible").count() == 1
        page.get_by_role("button", name="all 7").click()
        assert page.locator(".matrix tbody tr:not(.of):visible").count() == 4 and "show=" not in page.url


def test_what_is_not_as_expected_is_open_and_the_rest_is_folded(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        page = opened.page
        assert page.locator("#lab-colours .how").first.get_attribute("open") is not None
        assert page.locator("#lab-colours .evidence:not([open])").count() == 0
        assert page.locator("#lab-own-address :is(.how, .evidence)[open]").count() == 0
        page.goto(f"{opened.url}#lab-own-address-h-goes-through-lo")
        page.locator("#lab-own-address-h-goes-through-lo .trace").wait_for()


def test_keys_move_and_can_be_turned_off(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        page = opened.page

        def here() -> str:
            return str(page.evaluate("document.activeElement.id"))

        page.keyboard.press("j")
        first = here()
        page.keyboard.press("j")
        assert first.startswith("lab-") and here() not in ("", first)
        page.keyboard.press("k")
        assert here() == first
        page.keyboard.press("x")
        assert page.locator(f"#{here()}").evaluate("e => e.matches('.surprise, .inconclusive')")
        page.locator(".keys summary").click()
        page.locator("#keys").uncheck()
        page.locator("body").evaluate("() => document.activeElement.blur()")
        page.keyboard.press("j")
        assert here() == ""


def test_a_command_is_copied_without_its_prompt(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        opened.page.evaluate(
            "navigator.clipboard.writeText = (text) => { window.copied = text; return Promise.resolve(); }"
        )
        opened.page.goto(f"{opened.url}#lab-own-address-s-routes")
        opened.page.locator("#lab-own-address-s-routes").hover()
        opened.page.locator("#lab-own-address-s-routes .copy").click()
        assert opened.page.evaluate("window.copied") == "ip route show table local"
        opened.page.locator("#lab-own-address summary", has_text="Lab file").click()
        opened.page.locator("#lab-own-address").get_by_role("button", name="Copy the lab's file").click()
        file = pages["recorded"].parent / "labs" / "own-address" / "lab.yaml"
        assert opened.page.evaluate("window.copied") == file.read_text()


def test_from_the_ladder_to_the_row_to_the_bytes(browser: Browser, pages: dict[str, Path]) -> None:
    for script in (True, False):
        with Opened(browser, pages["recorded"], script=script) as opened:
            page = opened.page
            page.locator("#lab-own-address summary", has_text="Captures").click()
            page.locator(".ladder a[href='#lab-own-address-p-seen-1']").click()
            row = page.locator("#lab-own-address-p-seen-1")
            assert page.url.endswith("#lab-own-address-p-seen-1") and row.is_visible()
            row.get_by_role("link", name="A", exact=True).click()
            assert page.url.endswith("#lab-own-address-ladder-A") and page.locator("svg :target").is_visible()
            dump = page.locator("#lab-own-address-p-seen-1-b")
            assert not dump.is_visible()
            row.locator(".unfold summary").click()
            dump.get_by_text("ip.src").wait_for()
            assert dump.bounding_box()["y"] > row.bounding_box()["y"]  # type: ignore[index]
            dump.locator("li", has_text="ip.src").hover()
            lit = dump.locator("pre i").evaluate_all(
                "all => all.filter(i => getComputedStyle(i).backgroundColor !== 'rgba(0, 0, 0, 0)').map(i => i.textContent)"
            )
            assert " ".join(lit) == "ac 11 00 01"


@pytest.mark.parametrize("script", [True, False])
def test_an_address_of_bytes_opens_them(browser: Browser, pages: dict[str, Path], script: bool) -> None:
    with Opened(browser, pages["recorded"], script=script) as opened:
        opened.page.goto(opened.url + "#lab-own-address-p-seen-1-b")
        opened.page.locator("#lab-own-address-p-seen-1-b").wait_for()


@pytest.mark.parametrize("width", [1440, 1200, 768, 390])
def test_nothing_of_a_packet_is_out_of_view(browser: Browser, pages: dict[str, Path], width: int) -> None:
    with Opened(browser, pages["recorded"], width) as opened:
        page = opened.page
        page.locator("#lab-own-address summary", has_text="Captures").click()
        cells = page.locator("#lab-own-address-p-seen-1 > td").evaluate_all(
            "all => all.filter(one => one.textContent).map(one => [one.getBoundingClientRect().left, one.getBoundingClientRect().right])"
        )
        frame = page.locator(".scroll").first.evaluate(
            "one => [one.scrollWidth - one.clientWidth, one.getBoundingClientRect().right]"
        )
        assert len(cells) == 9 and frame[0] == 0
        assert all(0 <= left < right <= frame[1] <= width for left, right in cells)


def test_what_is_wider_than_its_frame_has_a_shadow(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"], 390) as opened:
        shadows = opened.page.locator(".picture, .scroll, .hex pre").evaluate_all(
            "all => all.map(one => getComputedStyle(one).backgroundAttachment)"
        )
        assert shadows and set(shadows) == {"local, local, scroll, scroll"}


def test_a_deep_link_is_there_at_once(browser: Browser, pages: dict[str, Path]) -> None:
    """Smooth scrolling is for who clicks; whoever opens an address waits for nothing."""
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="no-preference")
    page = context.new_page()
    page.goto(pages["recorded"].as_uri() + "#environment")
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == "auto"
    assert page.locator("#environment").is_visible() and page.evaluate("scrollY") > 0
    page.locator(".contents a[href='#lab-own-address']").click()
    assert page.evaluate("document.documentElement.classList.contains('moves')")
    context.close()


def test_a_step_in_which_nothing_was_seen_is_said(browser: Browser, pages: dict[str, Path]) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        opened.page.locator("#lab-own-address summary", has_text="Captures").click()
        for place in ("#lab-own-address .packets .nothing", "#lab-own-address .ladder .nothing.band-text"):
            assert opened.page.locator(place).first.text_content() == "during routes to before: nothing"


def test_the_capture_in_the_page_is_one_that_wireshark_reads(
    browser: Browser, pages: dict[str, Path], tmp_path: Path
) -> None:
    with Opened(browser, pages["recorded"]) as opened:
        opened.page.locator("#lab-own-address summary", has_text="Captures").click()
        with opened.page.expect_download() as download:
            opened.page.get_by_role("link", name="Download seen.pcapng").first.click()
        assert download.value.suggested_filename == "seen.pcapng"
        download.value.save_as(tmp_path / "seen.pcapng")
    kept = pages["recorded"].parent / "labs/own-address/experiment/captures/seen.pcapng"
    assert (tmp_path / "seen.pcapng").read_bytes() == kept.read_bytes()
    tshark = ["tshark", "-r", str(tmp_path / "seen.pcapng"), "-T", "fields", "-e", "icmp.type"]
    read = subprocess.run(tshark, capture_output=True, text=True)
    assert (read.stdout.split(), read.returncode) == (["8", "0"], 0)


JENKINS = "sandbox; default-src 'none'; img-src 'self'; style-src 'self';"


def test_under_jenkins_policy(browser: Browser, pages: dict[str, Path]) -> None:
    """Its default policy: no script at all, no inline style, nothing but images and style sheets of the same server."""

    class Handler(SimpleHTTPRequestHandler):
        def end_headers(self) -> None:
            self.send_header("Content-Security-Policy", JENKINS)
            super().end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(pages["folder"].parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{server.server_port}/index.html")
        assert page.locator("h1").inner_text() == "4 hypotheses in 4 labs"
        assert page.locator(".matrix").evaluate("e => getComputedStyle(e).tableLayout") == "fixed"  # it has its style
        page.locator("#lab-own-address summary", has_text="Experiment").click()
        page.locator("summary", has_text="The topology").first.click()
        assert page.locator("#lab-own-address-setup pre").is_visible()
        assert page.locator("a", has_text="seen.pcapng").first.get_attribute("href") == (
            "./labs/own-address/experiment/captures/seen.pcapng"
        )
        assert not re.search(r"<style|\sstyle=|<script>|\son[a-z]+=", page.content().split("<main>")[0])
    finally:
        context.close()
        server.shutdown()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 390)])
def test_the_history_opens_quietly_fits_and_axe_finds_nothing(
    browser: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    _, result = recorded_run(tmp_path)
    runs = []
    for day in range(1, 31):
        value = results_json(result)
        value = {**value, "run": {**value["run"], "id": f"run-{day}", "started": f"2026-01-{day:02}T00:00:00+00:00"}}
        for lab in value["labs"] if day > 20 else ():
            for one in lab["hypotheses"]:
                one.update(verdict="refuted", as_expected=False)
        runs.append(past(value, f"run-{day}/index.html"))
    page = tmp_path / "history.html"
    page.write_text(render_history(history(runs)))
    with Opened(browser, page, width, scheme) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
        assert (opened.complaints, opened.requests) == ([], [opened.url])
        found = Axe().run(opened.page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]})
        assert found.response["violations"] == []
        assert opened.page.locator(".turns tbody tr").count() > 0
