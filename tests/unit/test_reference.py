"""The reference page and the schema say what the models say."""

from pathlib import Path

from labrun.cli.reference import reference
from labrun.lab.meanings import MEANINGS
from labrun.lab.schema import lab_schema
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


def test_every_key_has_a_sentence_and_every_sentence_a_key() -> None:
    schema = lab_schema()
    keys = {
        (name, key): spec
        for name, model in {"Lab": schema, **schema["$defs"]}.items()
        for key, spec in model.get("properties", {}).items()
    }
    assert not [key for key, spec in keys.items() if not spec.get("description", "").strip()]
    assert not {(name, key) for name, model in MEANINGS.items() for key in model} - set(keys)
    assert not [sentence for model in MEANINGS.values() for sentence in model.values() if "\n" in sentence]


def test_no_two_headings_are_the_same() -> None:
    headings = [line for line in PAGE.read_text().splitlines() if line.startswith("#")]
    assert len(headings) == len(set(headings))
