"""A finding's pack: the same bytes from the same files, and nothing else is opened."""

from __future__ import annotations

import random
import subprocess
import zipfile
from pathlib import Path

import pytest
from labrun.evidence.files import EvidenceError
from labrun.evidence.pack import MANIFEST, open_pack, write_pack

FILES = {
    "run.json": b"{}\n",
    "labs/a b/lab.yaml": b"title: x\n",
    "labs/a b/experiment/out": bytes(range(256)),
    "é": b"",
}


def laid(root: Path, files: dict[str, bytes] = FILES) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    write_pack(tmp_path / "pack.zip", laid(tmp_path / "from"), list(FILES))
    return tmp_path / "pack.zip"


def opened(file: Path, into: Path) -> dict[str, bytes]:
    into.mkdir()
    return {path: (into / path).read_bytes() for path in open_pack(file, into)}


def test_there_and_back(pack: Path, tmp_path: Path) -> None:
    assert opened(pack, tmp_path / "into") == FILES
    subprocess.run(["sha256sum", "--strict", "-c", MANIFEST], cwd=tmp_path / "into", check=True, capture_output=True)


def test_same_files_same_bytes_whatever_their_order_and_times(pack: Path, tmp_path: Path) -> None:
    other = laid(tmp_path / "other", dict(reversed(FILES.items())))
    (other / "run.json").chmod(0o700)
    write_pack(tmp_path / "again.zip", other, list(reversed(FILES)))
    assert (tmp_path / "again.zip").read_bytes() == pack.read_bytes()


@pytest.mark.parametrize(
    "path", ["../x", "/x", "a//b", "a/./b", "", "a\nb", "a\\b", MANIFEST, "run.json/x", "a\0b", "x/" * 600 + "x"]
)
def test_no_such_name_goes_in_or_comes_out(path: str, pack: Path, tmp_path: Path) -> None:
    with pytest.raises(EvidenceError):
        write_pack(tmp_path / "no.zip", tmp_path / "from", ["run.json", path])
    with zipfile.ZipFile(pack, "a") as file, pytest.warns() if path == MANIFEST else pytest.MonkeyPatch.context():
        entry = zipfile.ZipInfo("x")
        entry.filename, entry.external_attr, entry.create_system = path, 0o100644 << 16, 3
        file.writestr(entry, b"")
    with pytest.raises(EvidenceError):
        opened(pack, tmp_path / "into")
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("kind", ["link", "folder", "device", "bomb", "comment", "ahead", "behind"])
def test_other_forms_are_refused(kind: str, pack: Path, tmp_path: Path) -> None:
    attributes = {"link": 0o120777, "folder": 0o040755, "device": 0o020666}
    if kind in ("ahead", "behind"):
        data = pack.read_bytes()
        pack.write_bytes(b"#!/bin/sh\n" + data if kind == "ahead" else data + b"\n")
    else:
        with zipfile.ZipFile(pack, "a") as file:
            entry = zipfile.ZipInfo("zz")
            entry.external_attr = attributes.get(kind, 0o100644) << 16
            if kind == "comment":
                file.comment = b"x"
            else:
                compressed = zipfile.ZIP_DEFLATED if kind == "bomb" else zipfile.ZIP_STORED
                file.writestr(entry, bytes(10**6), compressed)
    with pytest.raises(EvidenceError):
        opened(pack, tmp_path / "into")


@pytest.mark.parametrize("place", [32, 0])
def test_the_list_of_files_is_not_read_where_it_says_to_be_huge(
    place: int, pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = bytearray(pack.read_bytes())
    data[len(data) - 42 + place : len(data) - 38 + place] = b"\xff\xff\xff\x7f" if place else b"PK\6\7"
    pack.write_bytes(data)
    monkeypatch.setattr(zipfile.ZipFile, "__init__", lambda *_: pytest.fail("it was read"))
    with pytest.raises(EvidenceError, match=r"list of files|does not end"):
        opened(pack, tmp_path / "into")


def test_a_link_among_the_files_does_not_go_in(tmp_path: Path) -> None:
    root = laid(tmp_path / "from")
    (root / "link").symlink_to("/etc/passwd")
    with pytest.raises(EvidenceError, match="link"):
        write_pack(tmp_path / "no.zip", root, ["link"])
    assert [path.name for path in tmp_path.iterdir()] == ["from"]


def test_no_mutation_is_opened(pack: Path, tmp_path: Path) -> None:
    whole, chance = pack.read_bytes(), random.Random(16)
    for number in range(1000):
        data = bytearray(whole)
        place = chance.randrange(len(data))
        match number % 4:
            case 0:
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.randint(1, 40)]
            case 2:
                data[place:place] = chance.randbytes(chance.randint(1, 40))
            case _:
                del data[place:]
        pack.write_bytes(data)
        with pytest.raises(EvidenceError):
            opened(pack, tmp_path / f"into-{number}")
