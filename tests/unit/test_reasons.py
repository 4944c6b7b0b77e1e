"""Every reason code has two recorded samples whose full explanation is a golden file: what people read is reviewed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.reasons import GOLDEN, SAMPLES, codes_of_source, text_of

ANEW = "PYTHONPATH=tests .venv/bin/python -m support.reasons"


@pytest.mark.parametrize("code", SAMPLES)
def test_the_explanation_is_the_golden_one(code: str, tmp_path: Path) -> None:
    assert text_of(code, tmp_path) == (GOLDEN / f"{code}.txt").read_text(encoding="utf-8"), f"to write anew: {ANEW}"


def test_every_code_of_the_source_has_two_samples_at_least() -> None:
    missing = codes_of_source() - SAMPLES.keys()
    assert not missing, f"codes without a sample in tests/support/reasons.py: {', '.join(sorted(missing))}"
    assert all(len(samples) >= 2 for samples in SAMPLES.values())


def test_the_codes_are_found_where_they_are() -> None:
    found = codes_of_source()
    assert {"timeout", "sandbox-died", "agent-crashed", "control-agrees", "unstable", "checker-crashed"} <= found
    assert len(found) > 40


def test_every_sample_is_of_a_code_that_the_source_gives() -> None:
    """`control-` stands before the reason of the control's own trace."""
    found = codes_of_source()
    for code in SAMPLES:
        assert code in found or code.removeprefix("control-") in found, code


def test_there_is_no_golden_file_too_many() -> None:
    assert {file.stem for file in GOLDEN.glob("*.txt")} == set(SAMPLES)


@pytest.mark.parametrize("code", SAMPLES)
def test_every_explanation_has_all_its_parts(code: str) -> None:
    for text in (GOLDEN / f"{code}.txt").read_text(encoding="utf-8").split("=== ")[1:]:
        assert "\nClaim: The ping is answered.\n" in text
        assert "\nVerdict: " in text
        assert f"[{code}]\n" in text
        assert "\nIn the experiment the prediction " in text
        assert "\nIn the control (" in text or "\nThere is no control: " in text
        assert "Traceback" not in text and "/tmp" not in text
        assert all(line == line.rstrip() and len(line) < 500 for line in text.splitlines())
