"""What importers share: formats by name, folders that are safe to read, and labs that read back as they were written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.importers.base import Imported, Names, Options, Remark, slug
from labrun.importers.formats import OURS, format_names, importer, read_folder, recognised
from labrun.importers.images import IMAGES, Image, image_of, packages_of_scripts, short_name, without_systemd
from labrun.importers.shell_scripts import interpreter, run_step
from labrun.importers.written import lab_text
from labrun.lab.problems import LabError
from labrun.lab.text import parse_yaml
from support.folders import make

BEGINS = {
    "kathara-lab-checker": "correction.yaml",
    "kathara": "lab.conf",
    "containerlab": "demo.clab.yml",
    "compose": "docker-compose.yml",
    "selftests": "a.sh",
}


def test_every_format_is_there() -> None:
    assert set(BEGINS) == set(OURS)
    for name in OURS:
        assert importer(name).title
    assert set(OURS) <= set(format_names())


@pytest.mark.parametrize("name", OURS)
def test_a_folder_is_recognised_by_the_names_in_it(name: str, tmp_path: Path) -> None:
    make(tmp_path, {BEGINS[name]: "", "README.md": "", "z.sh": ""})
    assert recognised(tmp_path) == name


def test_what_is_no_format(tmp_path: Path) -> None:
    assert recognised(make(tmp_path, {"README.md": ""})) is None
    assert recognised(tmp_path / "none") is None
    with pytest.raises(LabError, match=r"kathra: unknown format\. Did you mean 'kathara'\?"):
        importer("kathra")


def test_another_package_may_add_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, {
        "theirs.py": "class Theirs:\n    title = 'theirs'\n    recognises = staticmethod(lambda names: 'their.lab' in names)\n"
                     "    def read(self, folder, options): return ()\nIMPORTER = Theirs()\n",
        "theirs-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: theirs\nVersion: 1\n",
        "theirs-1.dist-info/entry_points.txt": "[labrun.importers]\ntheirs = theirs:IMPORTER\n",
        "folder/their.lab": "",
    })  # fmt: skip
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in format_names()
    assert recognised(tmp_path / "folder") == "theirs"


def _too_many(folder: Path) -> None:
    for number in range(3000):
        (folder / f"f{number}").touch()


def _too_deep(folder: Path) -> None:
    (folder / "/".join(["d"] * 60)).mkdir(parents=True)


HOSTILE = {
    "a link out": (lambda folder: (folder / "x").symlink_to("../../etc/passwd"), "leaves the lab's folder"),
    "a link to the root": (lambda folder: (folder / "x").symlink_to("/etc/passwd"), "leaves the lab's folder"),
    "a linked folder": (lambda folder: (folder / "r1").symlink_to("/etc"), "leaves the lab's folder"),
    "a pipe": (lambda folder: os.mkfifo(folder / "pc1.startup"), "neither a file"),
    "too many": (_too_many, "more than"),
    "too deep": (_too_deep, "folders in folders"),
    "no text": (lambda folder: (folder / "lab.conf").write_bytes(b"\xff\xfe"), "not UTF-8"),
    "no file": (lambda folder: (folder / "lab.conf").unlink() or (folder / "lab.conf").mkdir(), "plain file"),
    "no end": (lambda folder: (folder / "lab.conf").write_bytes(b"# x\n" * 400_000), "too large"),
}


@pytest.mark.parametrize("how", HOSTILE)
def test_a_hostile_folder_is_an_error(how: str, tmp_path: Path) -> None:
    break_it, told = HOSTILE[how]
    make(tmp_path, {"lab.conf": 'pc1[0]="A"\n'})
    break_it(tmp_path)  # type: ignore[no-untyped-call]
    with pytest.raises(LabError, match=told):
        importer("kathara").read(read_folder(tmp_path), None)  # type: ignore[arg-type]


@given(st.text(), st.dictionaries(st.text(min_size=1, max_size=8), st.text(max_size=40), max_size=3))
def test_what_is_written_reads_back_the_same(text: str, more: dict[str, str]) -> None:
    try:
        parse_yaml("x: " + repr(text), "x")
    except LabError:
        return  # what no YAML may have in it
    if any(key == "<<" for key in more):
        return
    lab = {"title": text, "steps": [{"run": text, "env": more}], "x": {"y": {"z": [text, {"a": text}]}}}
    written = lab_text(Imported("x", lab, remarks=(Remark("left out", "a", "b"),)))
    value, _ = parse_yaml(written, "lab.yaml")
    assert value.pop("background") == "Left out:\n\n- a: b\n"
    assert value == lab


@given(st.lists(st.text(max_size=80)))
def test_every_name_becomes_another_one(names: list[str]) -> None:
    made = Names()
    found = {made[name] for name in names}
    assert len(found) == len(set(names))
    assert all(slug(name) == name for name in found)


@pytest.mark.parametrize(("image", "name"), [
    ("kathara/base", "kathara/base"), ("kathara/bind:9.11", "kathara/bind"), ("quay.io/frrouting/frr:9.1", "frrouting/frr"),
    ("docker.io/library/nginx@sha256:00", "nginx"), ("localhost:5000/x/y:1", "x/y"), ("alpine", "alpine"),
])  # fmt: skip
def test_an_image_by_its_name(image: str, name: str) -> None:
    assert short_name(image) == name
    assert image_of(image, Options()) == IMAGES.get(name)
    assert image_of(image, Options({name: ("a", "b")})) == Image(("a", "b"))
    assert image_of(image, Options({image: ("c",), name: ("d",)})) == Image(("c",) if image != name else ("d",))


SERVICES_OF = {
    "systemctl start frr\n": ("/etc/init.d/frr start\n", {"frr"}),
    "systemctl start frr.service; x": ("/etc/init.d/frr start; x", {"frr"}),
    "/etc/init.d/zebra start": ("/etc/init.d/frr start", {"frr"}),
    "sleep 1 && service bind9 restart": ("sleep 1 && /etc/init.d/named restart", {"bind9"}),
    "systemctl start odd": ("/etc/init.d/odd start", set()),
    "systemctl daemon-reload": ("systemctl daemon-reload", set()),
    "echo the service frr start": ("echo the /etc/init.d/frr start", {"frr"}),
    "if true; then dig a.b; fi": ("if true; then dig a.b; fi", {"bind9-dnsutils"}),
    "x=$(vtysh -c 'show version')": ("x=$(vtysh -c 'show version')", {"frr"}),
    "echo dig; ip link set digger up": ("echo dig; ip link set digger up", set()),
    "cat host": ("cat host", set()),
}


@pytest.mark.parametrize("script", SERVICES_OF)
def test_services_and_programs_of_a_script(script: str) -> None:
    changed, packages = SERVICES_OF[script]
    assert without_systemd(script) == changed
    assert packages_of_scripts([script]) == packages
    assert packages_of_scripts([changed]) == packages


@pytest.mark.parametrize(("first", "program"), [
    ("", ("bash",)), ("#!/bin/sh", ("sh",)), ("#!/bin/bash -e", ("bash", "-e")), ("#! /usr/bin/env -S python3 -u", ("python3", "-u")),
    ("#!/usr/bin/env perl", ("perl",)), ("# no", ("bash",)),
])  # fmt: skip
def test_what_runs_a_script(first: str, program: tuple[str, ...]) -> None:
    assert interpreter(f"{first}\necho\n") == program


SCRIPTS = {
    "": None,
    "#!/bin/sh\n\n# nothing\n": None,
    "ip link\n": ("ip link", False),
    "#!/bin/bash\nip link\nip addr\n": ("ip link\nip addr\n", False),
    "for i in 1 2; do echo ${i}; done\n": ("for i in 1 2; do echo ${i}; done", False),
    "echo ${nobody_sets_it}\n": ("source ./a.startup", True),
    "echo \x1b[1m\n": ("source ./a.startup", True),
    "true\n" * 70: ("source ./a.startup", True),
    "#!/usr/bin/env python3\nprint()\n": ("python3 ./a.startup", True),
}


@pytest.mark.parametrize("text", SCRIPTS)
def test_a_script_is_a_step(text: str) -> None:
    step, needs_file = run_step("a", "n", text, "a.startup")
    assert (None if step is None else (step["run"], needs_file)) == SCRIPTS[text]
