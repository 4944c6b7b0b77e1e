"""pyroute2's class for messages of links, without the rest of pyroute2.

``import pyroute2`` runs a package ``__init__`` that loads everything pyroute2 can do, asyncio and NDB included:
120 ms and 340 modules for one class. The class itself needs none of it, so the package is entered by a bare
module object that has only its path: 35 ms. The bare object is taken away again at once, so that a later
``import pyroute2`` anywhere in the process gets the real package.

Nothing here opens a socket; see rtnetlink.py.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any

MODULES = ("pyroute2.netlink.rtnl.ifinfmsg",)


def _load() -> dict[str, Any]:
    """The modules of MODULES by their last name; through the whole package where the short way does not work."""
    if "pyroute2" in sys.modules:  # somebody has paid already
        return {name.rpartition(".")[2]: importlib.import_module(name) for name in MODULES}
    found = importlib.util.find_spec("pyroute2")
    if found is None or found.submodule_search_locations is None:
        raise ModuleNotFoundError("pyroute2 is not installed", name="pyroute2")
    bare = ModuleType("pyroute2")
    bare.__path__ = list(found.submodule_search_locations)
    sys.modules["pyroute2"] = bare
    try:
        return {name.rpartition(".")[2]: importlib.import_module(name) for name in MODULES}
    finally:
        del sys.modules["pyroute2"]


_modules = _load()

# Untyped, as pyroute2 is: Any ends here and in the modules that read these messages.
LinkMessage: Any = _modules["ifinfmsg"].ifinfmsg
