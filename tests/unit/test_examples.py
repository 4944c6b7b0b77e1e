"""The labs of examples/ bring software of their own, so tests do not run them; each is a sound lab with controls."""

from pathlib import Path

import pytest
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_lab

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*/lab.yaml"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.parent.name)
def test_an_example_is_sound_and_each_claim_has_a_control(file: Path) -> None:
    lab = load_lab(file)
    compiled = compile_lab(lab)
    assert not check_filters(lab)
    assert compiled.experiment.files and compiled.experiment.userland
    assert compiled.controls and all(compiled.controls.values())
    assert lab.model.source is not None and lab.model.source.url and lab.model.conclusion
    assert all(hypothesis.because for hypothesis in lab.model.hypotheses)


def test_there_are_examples() -> None:
    assert [file.parent.name for file in EXAMPLES] == ["hairpin", "ospf"]
