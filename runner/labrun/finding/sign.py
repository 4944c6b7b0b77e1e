"""Who made a finding: a DSSE envelope with an in-toto Statement about each of its files, signed by an Ed25519 key.

The statement is a function of the finding, so that whoever verifies makes it again: an envelope of another finding does
not fit. Its predicate is in-toto's test-result; a verdict is `passed` there where it is as expected, `warned` where it
is inconclusive, and the verdicts themselves, which that predicate has no words for, are beside.
Ed25519 alone: its signatures are the same each time, and cannot be written in a second way that holds as well.

https://github.com/secure-systems-lab/dsse and https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from labrun.judge.results import RunResult, is_surprise

if TYPE_CHECKING:
    from securesystemslib.signer import SSlibKey

SIGNATURE = "signature.dsse.json"
MAX_BYTES = 64 * 1024 * 1024  # of an envelope; a statement has a line for each file
_PAYLOAD = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://in-toto.io/attestation/test-result/v0.1"


class KeyUnusable(Exception):
    """The key, or what works with it, is not there. The message says what to do."""


def statement(digests: Mapping[str, str], result: RunResult) -> bytes:
    """``digests``: path -> SHA-256 of each file of the finding, but for the envelope and the manifest."""
    every = [(f"{lab.id}/{one.id}", one) for lab in result.labs for one in lab.hypotheses]
    passed = [name for name, one in every if one.as_expected]
    failed = [name for name, one in every if is_surprise(one)]
    warned = [name for name, _ in every if name not in {*passed, *failed}]
    labs = {path: digest for path, digest in digests.items() if path.startswith("labs/") and path.count("/") == 2}
    predicate: dict[str, Any] = {
        "result": "FAILED" if failed else "WARNED" if warned or not passed else "PASSED",
        "configuration": [_resource(path, digest) for path, digest in sorted(labs.items())],
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
        "verdicts": {name: one.verdict for name, one in every},
    }
    subject = [_resource(path, digest) for path, digest in sorted(digests.items())]
    whole = {"_type": _STATEMENT, "subject": subject, "predicateType": _PREDICATE, "predicate": predicate}
    return json.dumps(whole, ensure_ascii=True, separators=(",", ":")).encode()


def _resource(path: str, digest: str) -> dict[str, Any]:
    return {"name": path, "digest": {"sha256": digest}}


def signed(payload: bytes, key: bytes, password: bytes | None = None) -> str:
    """The envelope's text. ``key``: a private key in PEM. Raises KeyUnusable."""
    _library()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner

    try:
        private = load_pem_private_key(key, password)
        signer = CryptoSigner(private, _key(private.public_key()))
    except TypeError as error:
        raise KeyUnusable(f"the private key has a password: {error}") from error
    except ValueError as error:
        raise KeyUnusable(f"no private key of Ed25519 in PEM (openssl genpkey -algorithm ed25519): {error}") from error
    envelope = Envelope(payload, _PAYLOAD, {})
    envelope.sign(signer)
    return _text(envelope.to_dict())


def signer_of(text: bytes, payload: bytes) -> str:
    """The id of the key that the envelope names. Nothing is checked by a key here.

    Raises ValueError where it is no envelope of one signature, in the one form that `signed` writes, of this payload.
    """
    import base64

    try:
        value = json.loads(text)
        (signature,) = value["signatures"]
        keyid, found = signature["keyid"], base64.b64decode(signature["sig"], validate=True)
        again = {"payload": base64.b64encode(payload).decode(), "payloadType": _PAYLOAD,
                 "signatures": [{"keyid": keyid, "sig": base64.b64encode(found).decode()}]}  # fmt: skip
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError("it is no envelope with one signature") from error
    if not isinstance(keyid, str) or _text(again).encode() != text:
        raise ValueError("it is of another finding, or not in the form that labrun writes")
    return keyid


def check(text: bytes, key: bytes) -> str:
    """The id of the key, in PEM and public, that made the envelope. Raises KeyUnusable; ValueError where it did not."""
    _library()
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError

    try:
        public = _key(load_pem_public_key(key))
    except ValueError as error:
        raise KeyUnusable(f"no public key of Ed25519 in PEM (openssl pkey -pubout): {error}") from error
    try:
        Envelope.from_dict(json.loads(text)).verify([public], 1)
    except (VerificationError, ValueError, KeyError) as error:
        raise ValueError(f"the key {public.keyid[:16]} did not sign it") from error
    return str(public.keyid)


def _key(public: Any) -> SSlibKey:
    """Raises ValueError where it is of another kind."""
    from securesystemslib.signer import SSlibKey

    key = SSlibKey.from_crypto(public)
    if key.keytype != "ed25519":
        raise ValueError(f"the key is of the kind {key.keytype}")
    return key


def _text(envelope: Mapping[str, Any]) -> str:
    return json.dumps(envelope, separators=(",", ":")) + "\n"


def _library() -> None:
    try:
        import cryptography  # noqa: F401
        import securesystemslib  # noqa: F401
    except ImportError as error:
        raise KeyUnusable("signatures need securesystemslib: pip install 'labrun[sign]'") from error
