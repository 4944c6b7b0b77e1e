"""Signatures of findings: who did not make it is refused, whatever is changed."""

from __future__ import annotations

import base64
import importlib.util
import json
import os
from pathlib import Path

import pytest
from labrun.evidence.pack import MANIFEST, open_pack, write_pack
from labrun.finding.bundle import bundle
from labrun.finding.sign import SIGNATURE, KeyUnusable, check, signed, statement
from labrun.finding.verify import Step, verify
from labrun.judge.run import judge_run
from support.small import small_run

if importlib.util.find_spec("securesystemslib") is None and not os.environ.get("CI"):
    pytest.skip("needs securesystemslib: pip install --no-deps -r requirements-dev.txt", allow_module_level=True)

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

PEM = form.Encoding.PEM


def pair(private: object = None) -> tuple[bytes, bytes]:
    private = private or ed25519.Ed25519PrivateKey.generate()
    return (
        private.private_bytes(PEM, form.PrivateFormat.PKCS8, form.NoEncryption()),
        private.public_key().public_bytes(PEM, form.PublicFormat.SubjectPublicKeyInfo),
    )


KEY, PUBLIC = pair()


@pytest.fixture
def finding(tmp_path: Path) -> Path:
    bundle(small_run(tmp_path / "run"), tmp_path / "finding.zip", sign=lambda payload: signed(payload, KEY))
    return tmp_path / "finding.zip"


def last(file: Path, tmp_path: Path, key: bytes | None = PUBLIC) -> Step:
    into = tmp_path / f"into{len(list(tmp_path.iterdir()))}"
    return verify(file, into, key).steps[-1]


def with_signature(finding: Path, tmp_path: Path, text: bytes | None) -> Path:
    """The finding with another envelope, in its right form."""
    folder = tmp_path / f"laid{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    paths = [*open_pack(finding, folder)]
    (folder / MANIFEST).unlink()
    if text is None:
        paths.remove(SIGNATURE)
    else:
        (folder / SIGNATURE).write_bytes(text)
        paths = [*dict.fromkeys((*paths, SIGNATURE))]
    write_pack(tmp_path / "other.zip", folder, paths)
    return tmp_path / "other.zip"


def envelope(finding: Path, tmp_path: Path) -> bytes:
    folder = tmp_path / f"opened{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    open_pack(finding, folder)
    return (folder / SIGNATURE).read_bytes()


def test_its_signer_is_known(finding: Path, tmp_path: Path) -> None:
    step = last(finding, tmp_path)
    assert (step.word, step.name) == ("verified", "signature")
    assert step.message.startswith("made by the key ")
    assert "without --key it says nothing" in last(finding, tmp_path, None).message


def test_the_same_run_and_key_give_the_same_bytes(finding: Path, tmp_path: Path) -> None:
    bundle(tmp_path / "run", tmp_path / "again.zip", sign=lambda payload: signed(payload, KEY))
    assert (tmp_path / "again.zip").read_bytes() == finding.read_bytes()


def test_the_statement_is_in_totos_and_has_each_verdict(finding: Path, tmp_path: Path) -> None:
    told = json.loads(base64.b64decode(json.loads(envelope(finding, tmp_path))["payload"]))
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://in-toto.io/attestation/test-result/v0.1"
    predicate = told["predicate"]
    assert (predicate["result"], predicate["passedTests"], predicate["failedTests"]) == (
        "FAILED", ["small/holds"], ["small/not"],
    )  # fmt: skip
    assert predicate["verdicts"] == {"small/holds": "supported", "small/not": "refuted"}
    names = {subject["name"] for subject in told["subject"]}
    assert {"run.json", "results.json", "index.html", "labs/small/experiment/events.jsonl"} <= names
    assert not names & {SIGNATURE, MANIFEST}


def test_an_inconclusive_verdict_is_a_warning(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    result = judge_run(run)
    (run / "labs/small/holds/seal.json").write_text("{}")
    told = json.loads(statement({}, judge_run(run)))["predicate"]
    assert told["warnedTests"] == ["small/holds"]
    assert json.loads(statement({}, result))["predicate"]["warnedTests"] == []
    assert told["verdicts"]["small/holds"] == "inconclusive"


def test_another_key_no_signature_and_a_replayed_one_are_refused(finding: Path, tmp_path: Path) -> None:
    assert "did not sign it" in last(finding, tmp_path, pair()[1]).message
    unsigned = with_signature(finding, tmp_path, None)
    assert (last(unsigned, tmp_path).word, last(unsigned, tmp_path, None).word) == ("broken", "verified")
    bundle(small_run(tmp_path / "second", "second"), tmp_path / "second.zip", sign=lambda payload: signed(payload, KEY))
    replayed = with_signature(finding, tmp_path, envelope(tmp_path / "second.zip", tmp_path))
    for key in (PUBLIC, None):
        step = last(replayed, tmp_path, key)
        assert (step.word, step.name) == ("broken", "signature") and "of another finding" in step.message


def test_no_changed_byte_of_an_envelope_is_taken(finding: Path, tmp_path: Path) -> None:
    text = envelope(finding, tmp_path)
    value = json.loads(text)
    payload = base64.b64decode(value["payload"])
    twice = {**value, "signatures": value["signatures"] * 2}
    none = {**value, "signatures": []}
    others = [
        json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in (twice, none, [], {**value, "more": 1})
    ]
    others += [text[:-1], text + b"\n", b" " + text, json.dumps(value).encode(), b"[" * 9999, b"\xff"]
    place = text.index(b'"sig":"') + 7
    others += [text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :] for at in range(place - 90, len(text) - 1)]
    from labrun.finding.sign import signer_of

    assert signer_of(text, payload) and check(text, PUBLIC)
    for other in others:
        with pytest.raises(ValueError):
            (signer_of(other, payload), check(other, PUBLIC))
    for other in others[:4]:
        assert last(with_signature(finding, tmp_path, other), tmp_path).word == "broken"


@pytest.mark.parametrize("gone", ["labs/small/lab.json", "labs/small/experiment/plan.json", "index.md", "run.json"])
def test_a_missing_file_is_refused(gone: str, finding: Path, tmp_path: Path) -> None:
    folder = tmp_path / "laid"
    folder.mkdir()
    paths = [*open_pack(finding, folder)]
    paths.remove(gone)
    (folder / MANIFEST).unlink()
    write_pack(tmp_path / "less.zip", folder, paths)
    assert last(tmp_path / "less.zip", tmp_path).word == "broken"


@pytest.mark.parametrize("key", [b"", b"no key", PUBLIC, pair(ec.generate_private_key(ec.SECP256R1()))[0]])
def test_a_key_that_cannot_sign_is_told(key: bytes) -> None:
    with pytest.raises(KeyUnusable, match="private key"):
        signed(b"{}", key)


@pytest.mark.parametrize("key", [b"", KEY, pair(ec.generate_private_key(ec.SECP256R1()))[1]])
def test_a_key_that_cannot_check_is_told(key: bytes, finding: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable, match="public key"):
        last(finding, tmp_path, key)


def test_a_key_with_a_password_is_told() -> None:
    private = ed25519.Ed25519PrivateKey.generate()
    locked = private.private_bytes(PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret"))
    with pytest.raises(KeyUnusable, match="password"):
        signed(b"{}", locked)
