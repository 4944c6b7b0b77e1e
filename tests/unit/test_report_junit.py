"""JUnit XML: a surprise fails, an inconclusive errs, a skipped lab is skipped; any text gets through."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from labrun.report.build import build_view
from labrun.report.junit import render_junit
from support.recorded import hostile_run, recorded_run


def test_verdicts_as_cases(tmp_path: Path) -> None:
    root = ElementTree.fromstring(render_junit(build_view(*recorded_run(tmp_path))))
    assert (root.get("tests"), root.get("failures"), root.get("errors"), root.get("skipped")) == ("7", "1", "2", "2")
    failure = root.find(".//testcase[@name='There are three colours.']/failure")
    assert failure is not None and failure.get("type") == "contradicted"
    assert "expected supported, got refuted" in str(failure.get("message"))
    said = str(failure.text).split("\n")
    assert said[0] == "Lab file: labs/colours/lab.yaml:12"
    assert "  ✘ exit of colours: predicted == 0, observed 2" in said
    assert "    evidence: labs/colours/experiment/outputs/colours.stderr:1" in "".join(f"{line}\n" for line in said)
    error = root.find(".//testcase[@name='It ends.']/error")
    assert error is not None and error.get("type") == "timeout"
    skipped = root.find(".//testcase[@name='one']/skipped")
    assert skipped is not None and skipped.get("message") == "Skipped: wg is not in the image."
    assert root.find(".//testsuite[@name='broken']/testcase/error") is not None
    assert root.find(".//testcase[@name='It goes out on docker0. (expected: refuted)']") is not None
    times = {str(suite.get("name")): float(str(suite.get("time"))) for suite in root.iter("testsuite")}
    assert times == {"own-address": 0.17, "colours": 0.09, "needs-a-tool": 0, "broken": 0}


def test_hostile_text_is_still_xml(tmp_path: Path) -> None:
    text = render_junit(build_view(*hostile_run(tmp_path)))
    root = ElementTree.fromstring(text)
    assert "␛]0;title␇" in ElementTree.tostring(root, encoding="unicode")
    assert {element.tag for element in root.iter()} <= {
        "testsuites", "testsuite", "testcase", "properties", "property", "failure", "error", "skipped",
    }  # fmt: skip
