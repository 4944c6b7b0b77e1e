"""Labs of an earlier run, from its directory or its page: the same bytes, and nothing that a stranger's page may do."""

from __future__ import annotations

import hashlib
import html
import json
import re
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from labrun.cli.again import again, labs_of_page, labs_of_run
from labrun.cli.run import _from_here
from labrun.evidence.files import EvidenceError
from labrun.lab.load import load_cells
from labrun.lab.problems import LabError
from labrun.report.build import build_view
from labrun.report.html import render_html
from labrun.report.slim import LEVELS, slimmer
from support.recorded import hostile_run, recorded_run

LAB = """title: A lab
question: What?
parameters: {mtu: [1400, 1280]}
topology: {nodes: {host: {}}}
steps: [{id: probe, in: host, run: 'true'}]
hypotheses:
  - {id: a, claim: It ends., predict: {command: probe, exit: 0}, control: {none: It has no cause.}}
  - {id: b, claim: It ends so., predict: {command: probe, exit: 1}, control: {none: It has no cause.}, expect: refuted}
"""
TEXTS = {
    "plain": LAB,
    "quotes and tags": LAB.replace("What?", "</code></pre><pre class=\"lab-file\" data-file=\"x\"> & &amp; &#38; ' \" < >"),
    "no break at the end": LAB.rstrip("\n"),
    "a break at the beginning": "\n\n" + LAB,
    "breaks of Windows": LAB.replace("\n", "\r\n"),
    "hidden characters": LAB.replace("What?", "What\u202e\u200b\u2028 \x85?"),
    "signs for hidden characters": LAB.replace("What?", "What ␛ \\u202e?"),
    "every plane": LAB.replace("What?", "Was für ein 日本語 😀 is it?"),
    "tabs": LAB + "# a\ttab\t\n",
}  # fmt: skip


def page_of(tmp_path: Path, text: str) -> bytes:
    run, result = recorded_run(tmp_path)
    for lab in result.labs:
        (run / "labs" / lab.id / "lab.yaml").write_bytes(text.encode())
    return render_html(build_view(run, result)).encode()


@pytest.mark.parametrize("kind", TEXTS)
def test_a_page_has_each_lab_byte_by_byte(tmp_path: Path, kind: str) -> None:
    found = labs_of_page(page_of(tmp_path, TEXTS[kind]), "index.html")
    assert [str(lab.file) for lab in found] == [
        f"labs/{name}/lab.yaml" for name in ("own-address", "colours", "needs-a-tool", "broken")
    ]
    assert all(lab.kept is not None and lab.kept.text == TEXTS[kind] for lab in found)


def entry(text: str = LAB, file: str = "labs/a/lab.yaml", cell: object = None, only: str = "", digest: str = "") -> str:
    digest = digest or hashlib.sha256(text.encode()).hexdigest()
    cell = cell if isinstance(cell, str) else json.dumps(cell or {})
    values = [html.escape(part) for part in (file, cell, only)]
    return (
        '<pre class="lab-file" data-file="{}" data-cell="{}" data-only="{}" data-sha256="{}"><code>{}</code></pre>'
    ).format(*values, digest, html.escape(text))


def page(*entries: str, total: int | None = None) -> bytes:
    return f'<!doctype html><body data-labs="{len(entries) if total is None else total}">{"".join(entries)}'.encode()


HOSTILE = {
    "another text": (page(entry(digest="0" * 64)), "is not what ran: the page was changed"),
    "a folder that leads away": (page(entry(file="labs/../lab.yaml")), "no name that a lab could have"),
    "no folder": (page(entry(file="lab.yaml")), "no name that a lab could have"),
    "a NUL": (page(entry(file="labs/a\0/lab.yaml")), "no name that a lab could have"),
    "values that are no values": (page(entry(cell={"mtu": [1]})), "the values of its parameters make no sense"),
    "values that are a list": (page(entry(cell="[1]")), "the values of its parameters make no sense"),
    "values that are no JSON": (page(entry(cell="{")), "the values of its parameters: "),
    "values nested without end": (page(entry(cell="[" * 60_000)), "the values of its parameters: "),
    "too large for a lab": (page(entry("#" * (1 << 20) + LAB)), "too large for a lab file"),
    "a lab that it leaves out": (page(entry(), total=2), "it has the files of 1 of its 2 labs"),
    "a text that it leaves out": (
        page(entry(), entry("x").replace("<pre", "<p").replace("<code>", "")),
        "it has the files of 1 of its 2 labs",
    ),
    "no lab": (page(), "it has the files of 0 of its 0 labs"),
    "another page": (b"<!doctype html><body><p>Hello", "no labs' files are in this page"),
    "no page": (bytes(range(256)), "no labs' files are in this page"),
    "no end": (page(entry().replace("</code></pre>", "")), "is not what ran"),
    "no UTF-8": (page(entry()).replace(b"What?", b"What\xff"), "its text in the page is damaged"),
    "a damaged base64": (
        page(entry()).replace(b'"><code>', b'" data-exact="A"><code>'),
        "its text in the page is damaged",
    ),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_page_that_is_not_sound_is_refused_in_words(kind: str) -> None:
    data, words = HOSTILE[kind]
    with pytest.raises(LabError, match=re.escape(words)):
        labs_of_page(data, "index.html")


def test_a_page_is_read_in_one_pass() -> None:
    """Whatever is in it. What would look at each pair of places in it does not end before the test is ended."""
    for part in ('<pre class="lab-file" data-file="', '<pre class="lab-file" ', "<", '"', "&", "</code>"):
        with pytest.raises(LabError):
            labs_of_page(page(part * (4_000_000 // len(part))), "index.html")


def test_text_of_a_lab_makes_no_second_lab(tmp_path: Path) -> None:
    run, result = hostile_run(tmp_path)
    (run / "labs" / result.labs[0].id / "lab.yaml").write_text(entry() + LAB)
    found = labs_of_page(render_html(build_view(run, result)).encode(), "index.html")
    assert [lab.kept.text for lab in found if lab.kept] == [entry() + LAB]


def test_a_page_that_was_cut_says_what_it_lacks(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path)
    view = build_view(run, result)
    for level in range(1, len(LEVELS) + 1):
        text = render_html(slimmer(view, level)).encode()
        if level < 3:
            assert len(labs_of_page(text, "index.html")) == 4
        else:
            with pytest.raises(LabError, match="it has the files of 0 of its 4 labs"):
                labs_of_page(text, "index.html")


def test_a_lab_runs_with_the_values_that_it_had() -> None:
    (lab,) = labs_of_page(page(entry(cell={"mtu": 1280}, only="b")), "index.html")
    assert [(one.slug, one.cell) for one in load_cells(lab.file, lab)] == [("a--mtu-1280", {"mtu": 1280})]
    assert [one.slug for one in load_cells(lab.file, lab, {"mtu": (9000,)})] == ["a--mtu-9000"]
    assert lab.kept is not None and lab.kept.hypotheses == ("b",)
    (lab,) = labs_of_page(page(entry(cell={"size": 1})), "index.html")
    with pytest.raises(LabError, match="it has not the parameters that it ran with: size"):
        load_cells(lab.file, lab)


def test_a_name_means_a_run_or_a_page_or_neither(tmp_path: Path) -> None:
    run, result = recorded_run(tmp_path / "reports")
    for lab in result.labs:
        (run / "labs" / lab.id / "lab.yaml").write_text(json.dumps({**_own(run, lab.id), "extra": 1}))
    (tmp_path / "page.html").write_bytes(page(entry()))
    stack = ExitStack()
    named = {
        name: again(name, Path("reports"), tmp_path, stack) for name in (run.name, f"reports/{run.name}", str(run))
    }
    assert {len(found or ()) for found in named.values()} == {4}
    assert len(again("page.html", Path("reports"), tmp_path, stack) or ()) == 1
    assert again("own-address", Path("reports"), tmp_path, stack) is None
    with pytest.raises(EvidenceError, match="not a run directory"):
        labs_of_run(tmp_path, stack)


def _own(run: Path, lab: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "labs" / lab / "lab.yaml").read_text())
    return found


def test_a_lab_of_a_page_is_checked_as_every_lab(tmp_path: Path) -> None:
    bad = LAB.replace("in: host", "in: hosts")
    (tmp_path / "index.html").write_bytes(page(entry(bad)))
    command = [sys.executable, "-m", "labrun", "run", "index.html", "--engine", "native", "--userland", "host"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "labs/a/lab.yaml:5:" in done.stderr and "Did you mean 'host'?" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["index.html"]


def test_a_command_line_has_no_folder_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    words = [f"--out={tmp_path}/project/reports", f"{tmp_path}/project/labs/a", f"{tmp_path}/other", "-k", "a/b", "//x"]
    assert [_from_here(word) for word in words] == ["--out=reports", "labs/a", "../other", "-k", "a/b", "//x"]
