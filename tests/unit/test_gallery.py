"""The gallery: which pages there are, the same each time, and nothing that a finding has in it can be more than text."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
from labrun.cli.app import app
from labrun.finding.bundle import bundle
from labrun.finding.gallery import Claim, Sighting, claims_of, site, together
from support.recorded import hostile_run
from support.small import small_run, small_runs

SEEN = Sighting("f1", "run-1", "2026-09-21T14:13:20+00:00", "6.1.0", "docker", "supported", "supported", "why", "1",
                "findings/f1/index.html#x")  # fmt: skip
CLAIM = Claim("own", "h", "claims/own.html", "A claim", "T", "Q?", None, None, None, ("arp",), (SEEN,))
LATER = replace(SEEN, finding="f2", started="2026-09-22T14:13:20+00:00", kernel="6.2.0", verdict="refuted")


def gallery(*words: object) -> int:
    with app.make_context("labrun", ["gallery", *map(str, words)]) as context:
        return app.invoke(context) or 0


def test_claims_of_one_name_are_one_page_with_all_kernels_and_verdicts() -> None:
    other = replace(CLAIM, sightings=(LATER,), claim="A claim, reworded")
    pages = site([CLAIM, other], "Findings")
    assert sorted(pages) == ["claims/own.html", "feed.xml", "index.html"]
    page = pages["claims/own.html"]
    assert page.index("6.2.0") < page.index("6.1.0")
    assert "The verdicts are not all the same" in page and "A claim, reworded" in page
    assert "Linux 6.2.0, 6.1.0" in pages["index.html"]
    assert site([other, CLAIM], "Findings") == pages
    assert "The verdicts are not all the same" not in site([CLAIM], "Findings")["claims/own.html"]


def test_a_run_that_is_in_two_findings_is_told_once() -> None:
    again = replace(CLAIM, sightings=(replace(SEEN, finding="f0", href="findings/f0/index.html#x"),))
    assert len(together([CLAIM, again])[0].sightings) == 1
    assert len(together([CLAIM, replace(CLAIM, sightings=(replace(SEEN, verdict="refuted"),))])[0].sightings) == 2


def test_topics_are_in_order_and_those_without_come_last() -> None:
    claims = [replace(CLAIM, name=n, page=f"claims/{n}.html", topics=t) for n, t in
              (("a", ("other",)), ("b", ("zebra", "arp")), ("c", ("arp",)))]  # fmt: skip
    index = site(claims, "Findings")["index.html"]
    assert re.findall(r"<h2[^>]*>([^<]*)<", index) == ["arp", "zebra", "other"]
    assert index.count("claims/b.html") == 2


def test_the_feed_is_atom_and_the_newest_is_first() -> None:
    later = replace(CLAIM, name="z", page="claims/z.html", sightings=(LATER,))
    odd = replace(CLAIM, name="odd", page="claims/odd.html", sightings=(replace(SEEN, started="no time"),))
    text = site([CLAIM, later, odd], "Findings & more", "https://example.org/f/")["feed.xml"]
    feed = ElementTree.fromstring(text)
    atom = "{http://www.w3.org/2005/Atom}"
    assert feed.findtext(f"{atom}updated") == "2026-09-22T14:13:20Z"
    entries = feed.findall(f"{atom}entry")
    assert [one.findtext(f"{atom}updated") for one in entries] == [
        "2026-09-22T14:13:20Z", "2026-09-21T14:13:20Z", "1970-01-01T00:00:00Z",
    ]  # fmt: skip
    assert entries[0].find(f"{atom}link").get("href") == "https://example.org/f/claims/z.html"
    ids = [one.findtext(f"{atom}id") for one in (feed, *entries)]
    assert len(set(ids)) == 4 and all(one.startswith("urn:uuid:") for one in ids)
    again = ElementTree.fromstring(site([replace(CLAIM, sightings=(LATER,))], "x")["feed.xml"])
    assert again.find(f"{atom}entry").findtext(f"{atom}id") == entries[1].findtext(f"{atom}id")


def test_hostile_findings_are_text(tmp_path: Path) -> None:
    run, _ = hostile_run(tmp_path)
    pages = site(claims_of(run, "f"), '<script>alert("x")</script>')
    for name, page in pages.items():
        assert not name.startswith("/") and ".." not in name and len(name.rpartition("/")[2]) < 240
        if name.endswith(".html"):
            assert page.count("<script") == (1 if name == "index.html" else 0), name
            assert not re.search(r"<[^>]*\son[a-z]+\s*=", page), name
            assert "javascript:" not in " ".join(re.findall(r'href="([^"]*)"', page))
        else:
            ElementTree.fromstring(page)


def test_the_command_writes_the_site_twice_the_same(tmp_path: Path) -> None:
    bundle(small_runs(tmp_path / "run", ["a", "b"]), tmp_path / "one.zip")
    bundle(small_run(tmp_path / "other", "a", kernel="6.2.0"), tmp_path / "two.zip")
    for target in ("site", "again"):
        assert gallery(tmp_path / "one.zip", tmp_path / "two.zip", tmp_path / "one.zip", "-o", tmp_path / target) == 0
    files = {
        target: {path.relative_to(tmp_path / target): path.read_bytes() for path in (tmp_path / target).rglob("*") if path.is_file()}
        for target in ("site", "again")
    }  # fmt: skip
    assert files["site"] == files["again"]
    index = (tmp_path / "site/index.html").read_text()
    links = set(re.findall(r'href="(claims/[^"]+)"', index))
    assert len(links) == 4
    for link in links:
        page = (tmp_path / "site" / link).read_text()
        for href in re.findall(r'href="(\.\./[^"#]+)', page):
            assert (tmp_path / "site/claims" / href).resolve().is_file(), href


def test_what_is_not_verified_does_not_come_in(tmp_path: Path) -> None:
    bundle(small_run(tmp_path / "run"), tmp_path / "one.zip")
    (tmp_path / "bad.zip").write_bytes((tmp_path / "one.zip").read_bytes()[:-1])
    with pytest.raises(click.ClickException, match=r"bad\.zip is broken"):
        gallery(tmp_path / "one.zip", tmp_path / "bad.zip", "-o", tmp_path / "site")
    assert not (tmp_path / "site/index.html").exists()
