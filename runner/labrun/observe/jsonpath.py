"""A command's JSON, searched with JMESPath: https://jmespath.org/specification.html"""

from __future__ import annotations

import json
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from labrun.observe.unknown import Unknown


def _no_number(word: str) -> Any:
    """Python reads NaN and Infinity; RFC 8259, section 6, does not have them, and NaN would equal nothing."""
    raise ValueError(f"{word} is not a number")


def search_json(text: str, expression: str) -> Any:
    """What the expression finds; None where it finds nothing; Unknown where the text is not JSON."""
    try:
        value = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        return Unknown("not-json", f"the output is not JSON: {error}")
    try:
        return jmespath.search(expression, value)
    except (JMESPathError, RecursionError) as error:
        return Unknown("json-search-failed", f"{expression}: {' '.join(str(error).split())}")
