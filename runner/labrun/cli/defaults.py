"""A project's own defaults for options: `labrun.toml` in the working directory, or `[tool.labrun]` in pyproject.toml.

    engine = "native"
    jobs = 4
    tag = ["not slow"]

A key is an option's long name. The command line comes first.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

KEYS = (
    "engine", "isolation", "userland", "jobs", "out", "tag", "timeout", "strict", "repeat",
    "max-failures", "failed-first", "set", "quiet", "verbose",
)  # fmt: skip


class Configured(click.Command):
    """A command whose options have the project's defaults."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        file, given = project_defaults(Path.cwd())
        extra["default_map"] = self._map(given)
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.BadParameter as error:
            name, context = error.param.name if error.param else None, error.ctx
            if name and context and context.get_parameter_source(name) is click.core.ParameterSource.DEFAULT_MAP:
                raise click.BadParameter(f"{error.message} ({file})", context, error.param) from error
            raise

    def _map(self, given: dict[str, Any]) -> dict[str, Any]:
        """By the names of this command's parameters."""
        found: dict[str, Any] = {}
        for parameter in self.params:
            key = next((key for key in given if f"--{key}" in parameter.opts), None)
            if key is None or parameter.name is None:
                continue
            value = given[key]
            found[parameter.name] = [value] if parameter.multiple and not isinstance(value, list) else value
        return found


def project_defaults(cwd: Path) -> tuple[str, dict[str, Any]]:
    """The file's name, and its keys. Raises UsageError for a file that cannot be read and for a key that is none."""
    file, given = "labrun.toml", _read(cwd / "labrun.toml")
    if given is None:
        file, project = "pyproject.toml", _read(cwd / "pyproject.toml")
        given = (project or {}).get("tool", {}).get("labrun", {})
    for key, value in given.items():
        if key not in KEYS:
            from labrun.logic.suggest import did_you_mean

            raise click.UsageError(f"{file}: no option is named '{key}'.{did_you_mean(key, KEYS)}")
        if isinstance(value, dict):
            raise click.UsageError(f"{file}: {key}: text, a number, true or false, or a list of these is needed")
    return file, given


def _read(path: Path) -> dict[str, Any] | None:
    """None where there is no such file."""
    if not path.is_file():
        return None
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path.name}: {error}") from error
