"""Compiled templates kept beside the templates, as Python keeps compiled modules: in ``__pycache__``, if that can be
written, and good for just this source, these settings, this Python and this Jinja.

Compiling takes a tenth of a second, which is more than rendering a lab. Who may write there could as well change the
templates or the program itself. What cannot be read or written is no error: then they are compiled.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import sys
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket, BytecodeCache

FOLDER = "__pycache__"


class Compiled(BytecodeCache):
    """``settings``: whatever else the compiled code depends on."""

    def __init__(self, templates: Path, settings: str) -> None:
        self._folder = templates / FOLDER
        self._settings = settings

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        return f"{name}.{sys.implementation.cache_tag}-jinja{jinja2.__version__}"

    def get_source_checksum(self, source: str) -> str:
        return hashlib.sha256(f"{self._settings}\0{source}".encode()).hexdigest()

    def load_bytecode(self, bucket: Bucket) -> None:
        try:
            with (self._folder / bucket.key).open("rb") as file:
                bucket.load_bytecode(file)
        except (OSError, EOFError, ValueError, TypeError, pickle.UnpicklingError):
            bucket.reset()

    def dump_bytecode(self, bucket: Bucket) -> None:
        if sys.dont_write_bytecode:
            return
        fresh = self._folder / f".{bucket.key}.{os.getpid()}"
        with contextlib.suppress(OSError):
            self._folder.mkdir(exist_ok=True)
            try:
                fresh.write_bytes(bucket.bytecode_to_string())
                fresh.replace(self._folder / bucket.key)
            finally:
                fresh.unlink(missing_ok=True)
