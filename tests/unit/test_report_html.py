"""The HTML page: self-contained, its links lead somewhere, hostile text is text. A real parser reads it."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, FileSystemLoader
from labrun.evidence.run import LabEntry, write_run
from labrun.judge.results import LabResult, RunResult
from labrun.protocol.actions import Run
from labrun.protocol.plan import Step
from labrun.report.build import build_view
from labrun.report.compiled import Compiled
from labrun.report.html import render_html
from labrun.report.prose import full, label, plain, prose
from support.recorded import ATTACKS, Recorder, hostile_run, recorded_run, run_record

VOID = {"meta", "link", "br", "hr", "img", "input", "path", "circle", "rect"}
FETCHING = {"src", "srcset", "poster", "data", "action", "formaction", "background", "xlink:href", "style"}


class Page(HTMLParser):
    """Tags, ids and links of a page, and whether its tags match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.hrefs: list[tuple[str, str]] = []
        self.headings: list[int] = []
        self.text = ""
        self.style = self.script = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), (tag, attrs)
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append(tag)
        if attributes.get("id"):
            self.ids.append(str(attributes["id"]))
        if attributes.get("href"):
            self.hrefs.append((tag, str(attributes["href"])))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, (tag, self._open[-5:])
        self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "style":
            self.style += data
        elif self._open and self._open[-1] == "script":
            self.script += data
        else:
            self.text += data


@pytest.fixture(params=[recorded_run, hostile_run], ids=["recorded", "hostile"])
def page(request: pytest.FixtureRequest, tmp_path: Path) -> Page:
    run, result = request.param(tmp_path)
    return Page(render_html(build_view(run, result)))


def test_nothing_runs_and_nothing_is_fetched(page: Page) -> None:
    assert [attributes for tag, attributes in page.tags if tag == "script"] == [{}]
    assert {"iframe", "object", "embed", "img", "link", "base", "form"} & {tag for tag, _ in page.tags} == set()
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name in FETCHING], (tag, attributes)
    assert "url(" not in page.style and "@import" not in page.style
    assert "</" not in page.style


def test_links_go_to_the_page_the_evidence_or_the_web(page: Page) -> None:
    for tag, href in page.hrefs:
        assert tag == "a"
        assert href.startswith(("#", "./", "https://", "http://", "data:application/x-pcapng;base64,")), href
        assert not re.match(r"\./+\.\.|\./.*/\.\./", unquote(href)), href
        if href.startswith("http"):
            assert not href.startswith("https://evil.example/x.png"), "an image became a link"


def test_every_anchor_resolves_and_is_there_once(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {href[1:] for _, href in page.hrefs if href.startswith("#") and href != "#"} - set(page.ids) == set()
    labels = [str(a["aria-labelledby"]) for _, a in page.tags if a.get("aria-labelledby")]
    assert set(labels) <= set(page.ids)


def test_headings_are_in_order(page: Page) -> None:
    assert page.headings[0] == 1 and page.headings.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in zip(page.headings, page.headings[1:], strict=False))


def test_the_policy_allows_this_style_sheet_alone(page: Page) -> None:
    policy = next(str(a["content"]) for tag, a in page.tags if tag == "meta" and "http-equiv" in a)
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'")
    assert f"style-src 'sha256-{digest}'" in policy
    code = base64.b64encode(hashlib.sha256(page.script.encode()).digest()).decode()
    assert f"script-src 'sha256-{code}'" in policy
    assert "unsafe" not in policy


def test_relative_links_are_files_of_the_run(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    found = Page(render_html(build_view(run, result)))
    files = {unquote(href) for _, href in found.hrefs if href.startswith("./")} - {"./results.json"}
    assert files and all((run / file).is_file() for file in files)


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        run, result = recorded_run(tmp_path / name)
        texts.append(render_html(build_view(run, result)))
    assert texts[0] == texts[1]


def test_a_reader_finds_what_matters(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    found = Page(render_html(build_view(run, result)))
    for text in (
        "1 surprise, 1 inconclusive, 2 as expected, 2 labs broke, 1 lab skipped.",
        "labrun run labs/own-address/lab.yaml",
        "Skipped: wg is not in the image.",
        "The kernel refused: File exists (EEXIST)",
        "Deadline passed: not done after 10 s",
        "This step did not run.",
        "exit 2",
        "stopped by labrun",
        "echo request id 7 seq 1",
        "during probe",
        "before step 'probe': ip route delete local 172.17.0.1",
        "nft: not available: nft is not installed",
        "iproute2",
        "776 more lines",
        "The first 800 and the last 200 lines of 87 KiB are shown.",
        "labrun kept the first 8.7 KiB of 87 KiB.",
    ):
        assert text in found.text, text
    order = [found.text.index(claim) for claim in ("There are three colours.", "It ends.", "address goes through lo.")]
    assert order == sorted(order)


def test_prose_keeps_no_html_of_its_author() -> None:
    shown = prose("\n\n".join(ATTACKS))
    found = Page(str(shown))
    assert {tag for tag, _ in found.tags} <= {"p", "em", "strong", "code", "pre", "a", "ul", "li", "blockquote"}
    assert all(href.startswith(("http://", "https://")) for _, href in found.hrefs)
    assert str(label("a `b<i>` <c>")) == "a <code>b&lt;i&gt;</code> &lt;c&gt;"
    assert 'rel="noopener noreferrer"' in str(prose("[a](https://example.org)"))


def test_absurd_prose_is_shown_as_it_is() -> None:
    assert str(prose(">" * 5000)).startswith("<")
    assert str(prose("a" * 30_000)).startswith("<pre>")


WORDS = st.text(alphabet="ab c``**.,-!:;_&<>#1\n\n'()|\\=~\"/", max_size=40)


@settings(max_examples=500, deadline=None)
@given(st.one_of(WORDS, st.text(max_size=30), st.lists(WORDS, max_size=3).map("\n\n".join)))
def test_plain_prose_is_as_markdown_would_have_it(text: str) -> None:
    shown = plain(text)
    assert shown is None or shown == full(text)


@pytest.mark.parametrize("text", [
    "The host's side. `veth0` is the container's cable, plugged into the bridge `cni0`.",
    "It *does* not `f(a\nb)`,\n127.0.0.1 **not at all**: INADDR_ANY.\n... 5 of `man 7`",
    "One\nparagraph, with `a & b < c`.\n\nAnd (another) one: well-known, isn't it?",
])  # fmt: skip
def test_the_usual_prose_needs_no_markdown(text: str) -> None:
    assert plain(text) == full(text)


def test_compiled_templates_are_kept_and_not_believed_when_they_are_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.dont_write_bytecode", False)
    (tmp_path / "a.j2").write_text("{{ 1 + 1 }}")

    def rendered(settings: str) -> str:
        cache = Compiled(tmp_path, settings)
        return Environment(loader=FileSystemLoader(tmp_path), bytecode_cache=cache).get_template("a.j2").render()

    assert rendered("x") == "2"
    (kept,) = (tmp_path / "__pycache__").iterdir()
    first = kept.read_bytes()
    kept.write_bytes(first[:20])
    assert rendered("x") == "2" and kept.read_bytes() == first, "damaged: compiled again"
    assert rendered("y") == "2" and kept.read_bytes() != first, "other settings"
    (tmp_path / "a.j2").write_text("{{ 1 + 2 }}")
    assert rendered("y") == "3"
    shutil.rmtree(tmp_path / "__pycache__")
    (tmp_path / "__pycache__").write_text("")
    assert rendered("y") == "3", "where nothing can be kept it is compiled each time"


def test_fifty_megabytes_of_output_stay_in_their_file(tmp_path: Path) -> None:
    """What matters is on the page: the beginning, the end, how much there is and where; and memory is bounded."""
    run = tmp_path / "run"
    line = b"the same line again and again, 50 MB of it\n"
    with Recorder(run / "labs/big/experiment", (Step("loud", Run(("yes",))),)) as recorder:
        recorder.command("loud", b"first\n" + line * (50_000_000 // len(line)) + b"last\n")
        recorder.done()
    write_run(run, run_record((LabEntry("big", "labs/big/lab.yaml", ("experiment",)),)))
    lab = LabResult("big", "Big", "labs/big/lab.yaml", "done", (), ())
    tracemalloc.start()
    page = render_html(build_view(run, RunResult({}, (lab,))))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(page.encode()) < 200_000 and peak < 12_000_000
    assert "<pre>first\n" in page and "50 MB of it\nlast</pre>" in page
    assert "of 48 MiB are shown. The whole: <a href" in page
    assert (run / "labs/big/experiment/outputs/loud.stdout").stat().st_size > 49_000_000


def test_a_capture_that_is_too_large_to_be_carried_says_how_large_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, result = recorded_run(tmp_path)
    assert "Download seen.pcapng" in render_html(build_view(run, result))
    monkeypatch.setattr("labrun.report.packets.MAX_INLINE", 100)
    page = render_html(build_view(run, result))
    assert "Download seen.pcapng" not in page
    size = (run / "labs/own-address/experiment/captures/seen.pcapng").stat().st_size
    assert f'captures/seen.pcapng">seen.pcapng</a>, {size} bytes, beside this page</p>' in page
