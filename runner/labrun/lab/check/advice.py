"""What a lab may say, and had better not: told by `labrun check`, never an error."""

from __future__ import annotations

import re
from collections.abc import Iterator

from labrun.lab.load import Lab
from labrun.lab.problems import Problem

_HIDDEN = re.compile(r"2>\s*/dev/null[^|;&\n]*\|(?!\|)")


def advice(lab: Lab) -> Iterator[Problem]:
    for index, step in enumerate(lab.model.steps):
        line = step.run if step.run is not None else step.start
        if isinstance(line, str) and _HIDDEN.search(line):
            text = "a part of this pipeline hides its complaints (2>/dev/null): its failure looks like no output"
            yield lab.problem(("steps", index, step.verb), text)
