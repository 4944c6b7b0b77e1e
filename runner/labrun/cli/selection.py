"""Which hypotheses of which labs a command line means: by words, tags, and how they did before. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labrun.logic.words import Matches, Meaning, meaning

if TYPE_CHECKING:
    from labrun.lab.load import Lab


@dataclass(frozen=True)
class Selection:
    """``words``: of -k. ``tags``: of each --tag. Both as functions of what a single word matches."""

    words: Meaning | None = None
    tags: tuple[Meaning, ...] = ()
    not_tags: tuple[Meaning, ...] = ()

    def of(self, lab: Lab, named: frozenset[str] | None) -> frozenset[str] | None:
        """The ids of the lab's hypotheses that are meant; None where the lab is not meant at all.

        ``named``: the only ones that were asked for by name. A lab without hypotheses is meant by its name and tags.
        """
        tags = {tag.lower() for tag in lab.model.tags}

        def tagged(word: str) -> bool:
            return word.lower() in tags

        if self.tags and not any(one(tagged) for one in self.tags):
            return None
        if not all(one(tagged) for one in self.not_tags):
            return None
        ids = [h.id for h in lab.model.hypotheses if named is None or h.id in named]
        if self.words is not None:
            ids = [name for name in ids if self.words(_within(f"{lab.slug}/{name}", *tags))]
        whole = not lab.model.hypotheses and (self.words is None or self.words(_within(lab.slug, *tags)))
        return frozenset(ids) if ids or whole else None


def selection(words: str | None, tags: Sequence[str]) -> Selection:
    """A --tag that begins with ``not`` rules out; of the others one must be so. Raises ValueError."""
    means = [(text.split()[:1] == ["not"] and len(text.split()) == 2, meaning(text)) for text in tags]
    return Selection(
        meaning(words) if words is not None else None,
        tuple(one for rules_out, one in means if not rules_out),
        tuple(one for rules_out, one in means if rules_out),
    )


def _within(*names: str) -> Matches:
    """What -k's words match: a part of a name, whatever its case."""
    lowered = [name.lower() for name in names]
    return lambda word: any(word.lower() in name for name in lowered)


@dataclass(frozen=True)
class Earlier:
    """How labs did when they last ran. ``failed``: slug -> hypothesis -> whether it was not as expected.

    ``broken``: labs that could not be run or judged at all when they were last tried.
    """

    failed: Mapping[str, Mapping[str, bool]]
    broken: frozenset[str] = frozenset()

    def failures(self, slug: str, ids: frozenset[str]) -> frozenset[str]:
        """Those of a lab's hypotheses that failed."""
        if slug in self.broken or slug.partition("--")[0] in self.broken:
            return ids
        return frozenset(name for name in ids if self.failed.get(slug, {}).get(name))
