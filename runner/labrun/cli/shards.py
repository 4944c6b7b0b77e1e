"""`--shard 2/5`: which labs a machine runs of those that several share. The same on each of them. Pure."""

from __future__ import annotations

import re
import statistics
from collections.abc import Mapping, Sequence

import click

from labrun.protocol.record import dataclass

MAX_SHARDS = 10_000


@dataclass(frozen=True, slots=True)
class ShardName:
    """Number ``number``, from 1, of ``of``."""

    number: int
    of: int


def shard_name(text: str | None) -> ShardName | None:
    """Raises BadParameter for what is no shard."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,5})/([0-9]{1,5})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]) <= MAX_SHARDS:
        raise click.BadParameter(f"'{text}' is not a shard such as 2/5: the second of five")
    return ShardName(int(match[1]), int(match[2]))


def dealt(variants: Mapping[str, Sequence[str]], seconds: Mapping[str, float], of: int) -> tuple[tuple[str, ...], ...]:
    """Lab -> shard, the longest first, each to the shard that has least; labs keep their order within a shard.

    ``variants``: slug -> its sandboxes. ``seconds``: "slug/variant" -> how long it takes. What is not known takes
    as long as the middle one of those that are.
    """
    middle = statistics.median(seconds.values()) if seconds else 1.0
    lasts = {slug: sum(seconds.get(f"{slug}/{one}", middle) for one in names) for slug, names in variants.items()}
    loads = [0.0] * of
    shards: list[list[str]] = [[] for _ in range(of)]
    for slug in sorted(lasts, key=lambda slug: (-lasts[slug], slug)):
        least = min(range(of), key=lambda number: (loads[number], len(shards[number]), number))
        loads[least] += lasts[slug]
        shards[least].append(slug)
    order = {slug: place for place, slug in enumerate(variants)}
    return tuple(tuple(sorted(shard, key=order.__getitem__)) for shard in shards)
