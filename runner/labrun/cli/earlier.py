"""How labs did before, from the results of earlier runs, newest first."""

from __future__ import annotations

import json
from pathlib import Path

from labrun.cli.selection import Earlier
from labrun.evidence import layout

MAX_RUNS = 100  # that are looked through


def earlier(out: Path) -> Earlier | None:
    """The last that is known of each hypothesis, also where the newest run had only some. None: no run is there.

    A run whose results cannot be read is passed over: its labs did what they did in the run before.
    """
    failed: dict[str, dict[str, bool]] = {}
    broken: set[str] = set()
    runs = sorted((path for path in out.glob(f"2*/{layout.RESULTS}") if not path.parent.is_symlink()), reverse=True)
    found = False
    for file in runs[:MAX_RUNS]:
        try:
            told = _told(json.loads(file.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
        found = True
        known = {slug.partition("--")[0] for slug in failed} | failed.keys()
        for slug, verdicts in told.items():
            if verdicts is None and slug not in known:
                broken.add(slug)
            for name, as_expected in (verdicts or {}).items():
                if slug not in broken and slug.partition("--")[0] not in broken:
                    failed.setdefault(slug, {}).setdefault(name, not as_expected)
    return Earlier(failed, frozenset(broken)) if found else None


def _told(results: dict[str, list[dict[str, object]]]) -> dict[str, dict[str, bool] | None]:
    """Slug -> hypothesis -> as expected; None for a lab that broke before any was judged. Skipped ones say nothing."""
    told: dict[str, dict[str, bool] | None] = {}
    for lab in results["labs"]:
        verdicts = {h["id"]: h["as_expected"] for h in lab["hypotheses"]}  # type: ignore[attr-defined]
        if verdicts or lab["status"] == "error":
            told[str(lab["id"])] = verdicts or None
    return told
