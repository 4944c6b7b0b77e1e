"""The reference page and the schema say what the models say."""

from pathlib import Path

from labrun.cli.reference import reference
from labrun.lab.steps import VERBS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lab-language.md"


def test_the_page_is_fresh() -> None:
    assert PAGE.read_text() == reference(), "run: python -m labrun.cli.reference > docs/lab-language.md"


def test_every_verb_is_on_the_page() -> None:
    text = PAGE.read_text()
    for verb in VERBS:
        assert f"| `{verb}` |" in text, verb


def test_packet_fields_are_on_the_page() -> None:
    text = PAGE.read_text()
    for name in ("ip.ttl", "tcp.flags.syn", "dns.qry.name", "vxlan.vni"):
        assert f"| `{name}` |" in text, name
