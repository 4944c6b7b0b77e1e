"""docs/results.schema.json is what results.json is: fresh, true, and without a key that it does not tell of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from labrun.judge.results import results_json
from labrun.judge.schema import results_schema, schema_text
from support.recorded import recorded_run

FILE = Path(__file__).parents[2] / "docs" / "results.schema.json"


def test_the_file_is_fresh() -> None:
    assert FILE.read_text() == schema_text(), "python -m labrun.judge.schema > docs/results.schema.json"
    Draft202012Validator.check_schema(results_schema())


def _untold(value: Any, schema: Any, path: str = "") -> Iterator[str]:
    if isinstance(value, dict) and "properties" in schema:
        for key, item in value.items():
            if key not in schema["properties"]:
                yield f"{path}.{key}"
            else:
                yield from _untold(item, schema["properties"][key], f"{path}.{key}")
    if isinstance(value, list) and "items" in schema:
        for item in value:
            yield from _untold(item, schema["items"], path + "[]")


def test_results_are_as_it_says(tmp_path: Path) -> None:
    _, result = recorded_run(tmp_path)
    results = results_json(result)
    assert [error.message for error in Draft202012Validator(results_schema()).iter_errors(results)] == []
    # The run record has more than the contract promises.
    assert {path for path in _untold(results, results_schema()) if not path.startswith(".run.")} == set()
