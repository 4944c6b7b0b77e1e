"""The gallery in Chromium: it opens from a disk, is searched there, and asks for nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from labrun.cli.app import app
from labrun.finding.bundle import bundle
from playwright.sync_api import Browser, Page
from support.small import small_run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    for slug, kernel in (("one", "6.1.0"), ("two", "6.1.0"), ("two", "6.2.0")):
        run = small_run(tmp_path / f"{slug}-{kernel}", slug, kernel=kernel)
        bundle(run, tmp_path / f"{slug}-{kernel}.zip")
    with app.make_context(
        "labrun", ["gallery", *map(str, tmp_path.glob("*.zip")), "-o", str(tmp_path / "site")]
    ) as context:
        assert app.invoke(context) == 0
    return tmp_path / "site"


@pytest.fixture
def page(browser: Browser, site: Path) -> Page:
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    return page


def shown(page: Page) -> list[str]:
    return [item.inner_text() for item in page.locator("li:visible").all()]


def test_it_is_searched_and_leads_to_the_evidence(page: Page) -> None:
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("request", lambda request: told.append(request.url) if not request.url.startswith("file:") else None)
    assert len(shown(page)) == 4
    page.get_by_label("Search").fill("supported 6.2")
    assert len(shown(page)) == 1 and "6.1.0" in shown(page)[0]
    assert page.locator("output").inner_text() == "1 found"
    page.reload()
    assert len(shown(page)) == 1
    page.locator("li:visible a").click()
    assert page.locator("h1").inner_text() == "C"
    assert page.locator("tbody tr").count() == 2
    page.get_by_role("link", name="report").first.click()
    assert "#lab-two-h-holds" in page.url
    assert page.locator("#lab-two-h-holds").count() == 1
    assert told == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page: Page, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    for number in range(2):
        if number:
            page.locator("li a").first.click()
        found = Axe().run(page, options={"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa"]}})
        assert found.violations_count == 0, found.generate_report()
