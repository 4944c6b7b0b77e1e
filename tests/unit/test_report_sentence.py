"""The first sentence of an author's prose, as a label."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.report.visible import first_sentence


@pytest.mark.parametrize(("prose", "sentence"), [
    ("One. Two.", "One."),
    ("One thing", "One thing"),
    ("It goes\nover lines. And on.", "It goes over lines."),
    ("The file `a. B` is read. Then no more.", "The file `a. B` is read."),
    ("Port 4.5 is no port, e.g. This one. Two.", "Port 4.5 is no port, e.g. This one."),
    ("It *is* **so**, see [the manual](https://example.org/a). Two.", "It is so, see the manual."),
    ("A `*b*` stays. Two.", "A `*b*` stays."),
    ("5 * 3 * 2 stays.", "5 * 3 * 2 stays."),
    ("First paragraph\n\nSecond one.", "First paragraph"),
    ("- a list", ""),
    ("```\ncode\n```", ""),
    ("", ""),
])  # fmt: skip
def test_first_sentence(prose: str, sentence: str) -> None:
    assert first_sentence(prose) == sentence


@given(st.text(alphabet="ab. `*[]()\n", max_size=60))
def test_any_prose_gives_one_line_of_its_own(prose: str) -> None:
    found = first_sentence(prose)
    assert "\n" not in found and len(found) <= len(prose)
