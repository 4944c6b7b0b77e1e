"""Markdown: nothing leaves its cell, its fence or its section, read by a CommonMark parser that obeys raw HTML."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.report import gfm
from labrun.report.build import build_view
from labrun.report.markdown import render_markdown
from labrun.report.write import write_reports
from markdown_it import MarkdownIt
from markdown_it.token import Token
from support.recorded import ATTACKS, hostile_run, recorded_run

NASTY = st.text(alphabet="ab`|<>[]()!*_\\~#-=&\n \t$:/", max_size=60)
OURS = ("<a id=", "</a>", "<details><summary>", "</summary>", "</details>", "<code>", "</code>")


def parse(text: str) -> list[Token]:
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    parser.validateLink = lambda url: True  # type: ignore[method-assign]  # it would hide what we let through
    tokens = parser.parse(text)
    return [*tokens, *(child for token in tokens for child in token.children or ())]


def html_of(tokens: list[Token]) -> list[str]:
    return [token.content for token in tokens if token.type in ("html_block", "html_inline")]


def hrefs(tokens: list[Token]) -> list[str]:
    found = [token.attrs.get("href") or token.attrs.get("src") for token in tokens]
    return [str(href) for href in found if href is not None]


@given(NASTY)
def test_text_is_text(words: str) -> None:
    tokens = parse("x " + gfm.text(words))
    assert {t.type for t in tokens} <= {
        "paragraph_open",
        "paragraph_close",
        "inline",
        "text",
        "text_special",
        "softbreak",
    }


@given(NASTY, NASTY)
def test_cells_stay_in_their_table(one: str, other: str) -> None:
    tokens = parse(gfm.table(["A", "B"], [[gfm.text(one), gfm.code(other)], [gfm.label(one), "x"]]))
    assert [t.type for t in tokens].count("tr_open") == 3
    assert [t.type for t in tokens].count("td_open") == 4
    assert html_of(tokens) == [] and hrefs(tokens) == []


@given(st.text(alphabet="a`~\n >", max_size=60))
def test_a_fence_cannot_be_closed_from_inside(content: str) -> None:
    tokens = parse(gfm.fence(content) + "\n\nafter")
    assert [t.type for t in tokens[:2]] == ["fence", "paragraph_open"]


@given(NASTY)
def test_prose_brings_no_html_no_image_no_heading(markdown: str) -> None:
    tokens = parse(gfm.prose(markdown) + "\n\nafter")
    assert {content.strip() for content in html_of(tokens)} <= {"<code>", "</code>"}
    assert not {"image", "heading_open"} & {t.type for t in tokens}
    assert tokens[[t.type for t in tokens].index("inline")].type == "inline"


@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_in_prose(attack: str) -> None:
    tokens = parse(gfm.prose(attack))
    assert all(href.startswith(("http://", "https://")) for href in hrefs(tokens))
    assert not {"image", "heading_open"} & {t.type for t in tokens}


def test_prose_stays_markdown() -> None:
    text = "# Title\n\nA `<b>` and *b* [c](https://d.example).\n\n```sh\n# kept <i>\n```\n- item"
    assert gfm.prose(text) == (
        "**Title**\n\nA <code>&lt;b&gt;</code> and *b* [c](https://d.example).\n\n```\n# kept <i>\n```\n\n- item"
    )


def test_a_hostile_run_stays_in_its_place(tmp_path: Path) -> None:
    text = render_markdown(build_view(*hostile_run(tmp_path)))
    tokens = parse(text)
    for content in html_of(tokens):
        assert content.startswith(OURS), content
        assert "script" not in content.replace("&lt;script", "") or "&lt;" in content
    assert not [t for t in tokens if t.type == "image"]
    for href in hrefs(tokens):
        assert href.startswith(("#", "./", "http://x")), href
    headings = [tokens[i + 1].content for i, t in enumerate(tokens) if t.type == "heading_open" and t.tag == "h2"]
    assert len(headings) == 3  # Verdicts, the lab, Environment
    assert not any(ord(c) < 32 and c not in "\n\t" for c in text)


def test_files_are_written_in_one_step(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    assert [path.name for path in write_reports(run, result)] == ["index.html", "index.md", "junit.xml"]
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    write_reports(run, result, ("md",))
    assert before == {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    with pytest.raises(KeyError):
        write_reports(run, result, ("pdf",))


def test_every_link_within_the_page_leads_somewhere(tmp_path: Path) -> None:
    text = render_markdown(build_view(*recorded_run(tmp_path)))
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) - set(re.findall(r'<a id="([^"]+)">', text)) == set()
