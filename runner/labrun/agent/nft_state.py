"""nftables of the current namespace, read with the `nft` binary: its JSON for the facts, its text for the words.

nft is what a reader trusts to print a rule; decoding expressions over netlink again would be a second opinion that
nobody asked for. It reads twice (JSON lacks the text, the text lacks structure) and matches by handle. Where nft is
absent or refused, Unavailable says so: an empty ruleset is only what nft itself calls empty. The tables with which
labrun itself traces packets are left out: they are not the lab's.
"""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

from labrun.protocol.state import NftChain, NftCounter, NftRule, NftState
from labrun.protocol.traces import OWN_TABLES

TIMEOUT_S = 10.0
ENVIRONMENT = {"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
TABLE_LINE = re.compile(r"table (\S+) (\S+) \{")
CHAIN_LINE = re.compile(r"\tchain (\S+) \{")
HANDLE = re.compile(r" # handle (\d+)$")
COMMENT = re.compile(r' comment "[^"]*"$')


class Unavailable(Exception):
    """It could not be looked at; the text says why."""


def nft_state() -> NftState:
    """Chains, rules and named counters. Raises Unavailable."""
    objects = [item for item in _objects(_nft("-j", "list", "ruleset")) if not _ours(item)]
    texts: dict[tuple[str, str, int], str] = {}
    if any("rule" in item for item in objects):
        texts = _texts(_nft("-a", "-s", "list", "ruleset"))
    chains = tuple(_chain(item["chain"]) for item in objects if "chain" in item)
    hooks = {(chain.family, chain.table, chain.name): chain.hook for chain in chains}
    rules = tuple(_rule(item["rule"], texts, hooks) for item in objects if "rule" in item)
    counters = [_counter(item["counter"]) for item in objects if "counter" in item]
    counters.sort(key=lambda counter: (counter.family, counter.table, counter.name))
    return NftState(chains=chains, rules=rules, counters=tuple(counters))


def _ours(item: dict[str, Any]) -> bool:
    return any(isinstance(entry, dict) and entry.get("table") in OWN_TABLES for entry in item.values())


def _nft(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["nft", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            env=ENVIRONMENT,
        )
    except FileNotFoundError:
        raise Unavailable("nft is not installed") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"nft did not end within {TIMEOUT_S:g} s") from None
    except OSError as error:
        raise Unavailable(f"nft cannot be run: {error.strerror}") from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise Unavailable(f"nft: {said[0] if said else f'exit status {done.returncode}'}")
    return done.stdout.decode(errors="replace")


def _objects(text: str) -> list[dict[str, Any]]:
    try:
        return list(json.loads(text)["nftables"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"nft printed no JSON that we know: {error}") from error


def _chain(chain: dict[str, Any]) -> NftChain:
    priority = chain.get("prio")
    device = chain.get("dev")
    return NftChain(
        family=chain["family"],
        table=chain["table"],
        name=chain["name"],
        hook=chain.get("hook"),
        type=chain.get("type"),
        priority=priority if isinstance(priority, int) else None,
        policy=chain.get("policy"),
        dev=",".join(device) if isinstance(device, list) else device,
    )


def _rule(
    rule: dict[str, Any], texts: dict[tuple[str, str, int], str], hooks: dict[tuple[str, str, str], str | None]
) -> NftRule:
    counts: dict[str, Any] = {}
    for expression in rule["expr"]:
        if isinstance(expression, dict) and isinstance(expression.get("counter"), dict):
            counts = expression["counter"]
    # A rule that came between the two readings has no text: then its JSON, which nobody can misread.
    text = texts.get((rule["family"], rule["table"], rule["handle"]))
    return NftRule(
        family=rule["family"],
        table=rule["table"],
        chain=rule["chain"],
        handle=rule["handle"],
        expression=json.dumps(rule["expr"]) if text is None else text,
        hook=hooks.get((rule["family"], rule["table"], rule["chain"])),
        comment=rule.get("comment"),
        packets=counts.get("packets"),
        bytes=counts.get("bytes"),
    )


def _counter(counter: dict[str, Any]) -> NftCounter:
    return NftCounter(
        family=counter["family"],
        table=counter["table"],
        name=counter["name"],
        packets=counter["packets"],
        bytes=counter["bytes"],
    )


def _texts(listing: str) -> dict[tuple[str, str, int], str]:
    """(family, table, handle) -> the rule's text, from `nft -a -s list ruleset`. Long sets go over several lines."""
    found: dict[tuple[str, str, int], str] = {}
    family = table = ""
    in_chain = False
    parts: list[str] = []
    for line in listing.splitlines():
        if start := TABLE_LINE.match(line):
            family, table = start.groups()
        elif CHAIN_LINE.match(line):
            in_chain, parts = True, []
        elif line == "\t}":
            in_chain = False
        elif in_chain:
            if not parts and line.startswith(("\t\ttype ", "\t\tcomment ")):
                continue
            parts.append(line.strip())
            if end := HANDLE.search(line):
                text = HANDLE.sub("", " ".join(parts))
                found[(family, table, int(end.group(1)))] = COMMENT.sub("", text)
                parts = []
    return found
