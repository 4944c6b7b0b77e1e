"""CTRF, the common test report format (https://ctrf.io): a test a hypothesis, for those who gather results as JSON.

A test has the claim's words as its name. Hypotheses share their lab's run: the first test has its time.
A surprise failed. Inconclusive is `other`, for nobody knows; a skipped lab's hypotheses are skipped, with the reason.
"""

from __future__ import annotations

import json
from typing import Any

from labrun.report.junit import duration_ms, explained, test_name
from labrun.report.view import HypothesisView, LabView, RunView

SPEC_VERSION = "0.0.0"
_STATUS = {"surprise": "failed", "inconclusive": "other", "as-expected": "passed"}


def render_ctrf(view: RunView) -> str:
    tests = [test for lab in view.labs for test in _tests(lab)]
    summary: dict[str, Any] = {"tests": len(tests)}
    for status in ("passed", "failed", "pending", "skipped", "other"):
        summary[status] = sum(test["status"] == status for test in tests)
    summary["start"], summary["stop"] = view.times_ms
    report = {
        "reportFormat": "CTRF",
        "specVersion": SPEC_VERSION,
        "results": {
            "tool": {"name": "labrun", "version": dict(view.facts).get("labrun", "")},
            "summary": summary,
            "tests": tests,
            "environment": {"extra": {"run": view.id, "where": view.where, "command": view.command}},
        },
    }
    return json.dumps(report, indent=1, ensure_ascii=False) + "\n"


def _tests(lab: LabView) -> list[dict[str, Any]]:
    tests = [_test(lab, hypothesis) for hypothesis in lab.hypotheses]
    for name in lab.unjudged:
        tests.append({**_base(lab, name), "status": "skipped", "message": lab.problem or "skipped"})
    if lab.status == "error" and not lab.hypotheses:
        tests.append({**_base(lab, "lab"), "status": "other", "message": lab.problem or "it broke"})
    return tests


def _base(lab: LabView, name: str) -> dict[str, Any]:
    return {"name": f"{lab.slug}: {name}", "duration": 0, "suite": [lab.slug]}


def _test(lab: LabView, hypothesis: HypothesisView) -> dict[str, Any]:
    test = {**_base(lab, test_name(lab, hypothesis)), "duration": duration_ms(lab, hypothesis)}
    test |= {"status": _STATUS[hypothesis.standing], "rawStatus": hypothesis.verdict}
    if hypothesis.place is not None:
        file, _, line = hypothesis.place.text.rpartition(":")
        test |= {"filePath": file, "line": int(line) if line.isdigit() else 0}
    if hypothesis.standing != "as-expected":
        test |= {"message": hypothesis.message, "trace": explained(hypothesis)}
    test["extra"] = {name: getattr(hypothesis, name) for name in ("id", "claim", "expect", "reason")}
    return test
