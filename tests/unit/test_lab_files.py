"""What is beside a lab's file: read whole, bounded, nothing followed; and what is written once and used twice."""

import os
import socket
from pathlib import Path

import pytest
from labrun.evidence import kept as kept_files
from labrun.lab import files as lab_files
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import compile_lab
from labrun.lab.files import FilesError, read_files
from labrun.lab.load import load_cells, load_lab
from labrun.lab.problems import LabError
from labrun.protocol.actions import Machine, Namespace, Put, Ready, Start
from labrun.protocol.plan import LabFile, Plan

LAB = """\
title: t
question: q
{more}topology: {{nodes: {{r1: {{}}}}}}
steps: [{{id: a, run: ./tool}}]
hypotheses: [{{id: h, claim: c, predict: {{command: a, exit: 0}}, control: {{none: x}}}}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Not the test's own folder, which may have more in it."""
    made = tmp_path / "mine"
    made.mkdir()
    return made


def lab(folder: Path, more: str = "") -> Path:
    (folder / "lab.yaml").write_text(LAB.format(more=more))
    return folder


def plan(folder: Path) -> Plan:
    return compile_lab(load_lab(folder)).experiment


def checked(folder: Path) -> None:
    found = load_lab(folder)
    compile_lab(found)
    if problems := check_filters(found):
        raise LabError(problems)


def paths(folder: Path, *nodes: str, only: tuple[str, ...] | None = None) -> list[str]:
    return [file.path for file in read_files(folder, "lab.yaml", nodes, only).entries]


def test_a_file_is_what_it_is(folder: Path) -> None:
    (folder / "a b").write_bytes(b"\0x")
    (folder / "tool").write_text("#!/bin/sh\n")
    (folder / "tool").chmod(0o700)
    (folder / "sub" / "none").mkdir(parents=True)
    (folder / "sub" / "link").symlink_to("../a b")
    (folder / "copy").write_bytes(b"\0x")
    found = read_files(lab(folder), "lab.yaml", ())
    tool, *_ = [file for file in found.entries if file.path == "tool"]
    assert (tool.size, tool.executable) == (10, True)
    same = found.entries[0].sha256
    assert found.entries == (
        LabFile("a b", same, 2), LabFile("copy", same, 2), LabFile("sub/link", target="../a b"), LabFile("sub/none"), tool,
    )  # fmt: skip
    assert len(found.contents) == 2 and found.contents[same or ""] == b"\0x"


def test_what_is_no_part_of_a_lab_is_left_out(folder: Path) -> None:
    for name in (".git/config", "reports/latest", "lab.yaml~", ".lab.yaml.swp", "sub/reports/kept", "sub/lab.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    assert paths(lab(folder)) == ["sub/lab.yaml", "sub/reports/kept"]


def test_only_what_the_lab_names(folder: Path) -> None:
    for name in ("a", "b/c", "b/d", "e"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(name)
    assert paths(folder, only=("a", "./b/")) == ["a", "b/c", "b/d"]
    assert paths(folder, only=(".",)) == ["a", "b/c", "b/d", "e"]
    assert paths(folder, only=()) == []
    for wrong, words in (("../x", "not below"), ("/etc/passwd", "not below"), ("..", "not below"), ("b/none", "no 'b/n"),
                         ("a/x", "no folder")):  # fmt: skip
        with pytest.raises(FilesError, match=words):
            paths(folder, only=(wrong,))


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", ".."])
def test_a_link_may_not_leave_the_folder(folder: Path, target: str) -> None:
    (folder / "link").symlink_to(target)
    with pytest.raises(FilesError, match="leaves the lab's folder"):
        paths(folder)
    (folder / "link").unlink()
    (folder / "r1").mkdir()
    (folder / "r1" / "link").symlink_to("/etc/passwd")
    assert paths(folder, "r1") == ["r1/link"]  # one of the node's own
    with pytest.raises(FilesError, match="leaves"):
        paths(folder, "r2")


def test_a_link_to_a_folder_is_not_gone_into(folder: Path) -> None:
    (folder / "r1").symlink_to(".")
    (folder / "loop").symlink_to("loop")
    assert paths(folder, "r1") == ["loop", "r1"]
    with pytest.raises(FilesError, match="no folder"):
        paths(folder, only=("r1/x",))


def test_what_is_no_file(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(FilesError, match="'pipe' is neither"):
        paths(folder)
    (folder / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as server:
        here = os.open(folder, os.O_PATH)
        server.bind(f"/proc/self/fd/{here}/socket")
        os.close(here)
        with pytest.raises(FilesError, match="'socket' is neither"):
            paths(folder)


def test_a_name_that_is_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff")).write_text("x")
    with pytest.raises(FilesError, match="UTF-8"):
        paths(folder)


def test_bounds(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_files, "MAX_FILES", 20)
    monkeypatch.setattr(lab_files, "MAX_BYTES", 2 * 1024**2)
    for number in range(21):
        (folder / f"{number}").touch()
    with pytest.raises(FilesError, match="more than 20 files"):
        paths(folder)
    for number in range(21):
        (folder / f"{number}").unlink()
    for number in range(21):
        (folder / f"{number}").mkdir()
        (folder / f"{number}" / "x").touch()
    with pytest.raises(FilesError, match="more than 20 files"):
        paths(folder)
    assert paths(folder, only=("7",)) == ["7/x"]
    (folder / "7" / "x").write_bytes(bytes(2 * 1024**2 + 1))
    with pytest.raises(FilesError, match="more than 2 MiB"):
        paths(folder, only=("7",))
    deep = folder.joinpath(*"d" * 40)
    deep.mkdir(parents=True)
    with pytest.raises(FilesError, match="folders in folders"):
        paths(folder, only=("d",))


def test_the_digest_has_them(folder: Path) -> None:
    lab(folder)
    without = plan(folder)
    assert without.files is None
    (folder / "tool").write_text("1")
    one = plan(folder)
    (folder / "tool").write_text("2")
    two = plan(folder)
    (folder / "tool").chmod(0o755)
    three = plan(folder)
    assert len({without.digest, one.digest, two.digest, three.digest}) == 4
    lab(folder, "files: []\n")
    assert plan(folder).digest == without.digest
    (folder / "lab.yaml").rename(folder / "other.yaml")
    (folder / "other.yaml").write_text(LAB.format(more=""))
    assert plan(folder / "other.yaml").digest == without.digest  # among other files, it has what it names


def test_what_is_wrong_is_told_with_its_place(folder: Path) -> None:
    lab(folder, "files: [none]\n")
    with pytest.raises(LabError, match=r"lab\.yaml:3:\d+: files: there is no 'none'"):
        load_lab(folder)


# --- written once ---


def test_environment_of_lab_node_and_step(folder: Path) -> None:
    (folder / "lab.yaml").write_text("""\
title: t
question: q
env: {A: lab, B: lab, C: 1}
defaults: {nodes: {env: {B: any, D: any}}}
topology: {nodes: {r1: {env: {B: node}}, r2: }}
steps:
  - {id: a, in: r1, run: x, env: {A: step}}
  - {id: b, in: r2, run: x}
  - {id: c, in: r1, wait: {succeeds: x}}
  - {id: d, in: r1, wait: {port: 1}}
hypotheses: [{id: h, claim: c, predict: {command: a, exit: 0}, control: {none: x}}]
""")
    env = {step.id: dict(step.env or ()) for step in plan(folder).steps}
    assert env["a"] == {"A": "step", "B": "node", "C": "1", "D": "any"}
    assert env["b"] == {"A": "lab", "B": "any", "C": "1", "D": "any"}
    assert env["c"] == {"A": "lab", "B": "node", "C": "1", "D": "any"}
    assert env["d"] == {}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ("env: {1A: x}\n", "no name of a variable"),
        ("env: {BASH_ENV: x}\n", "labrun's own"),
        ('env: {A: "a\\0b"}\n', "NUL"),
        ("env: {a: x}\nparameters: {a: [1]}\n", "is a parameter's name"),
        ("env: {A: '${none}'}\n", "no parameter is 'none'"),
        ("defaults: {steps: {timeuot: 3s}}\n", "did you mean"),
        ("defaults: {nodes: {ipv7: true}}\n", "unknown key"),
        ("y-own: 1\n", "unknown key"),
    ],
)
def test_mistakes(folder: Path, more: str, words: str) -> None:
    with pytest.raises(LabError, match=f"(?i){words}"):
        checked(lab(folder, more))


def test_own_keys_hold_anchors(folder: Path) -> None:
    text = LAB.format(more="x-node: &node {ipv6: true}\n").replace("r1: {}", "r1: *node")
    (folder / "lab.yaml").write_text(text)
    assert load_lab(folder).model.topology.nodes["r1"].ipv6


def test_defaults_fill_in_what_is_not_given(folder: Path) -> None:
    (folder / "lab.yaml").write_text("""\
title: t
question: q
defaults: {nodes: {ipv6: true}, links: {mtu: 1400, offloads: off}, steps: {in: a, timeout: 3s, exit: [0, 1]}}
topology:
  nodes: {a: , b: {ipv6: false}}
  links: [{a.x: , b.x: }, {a.y: , b.y: , mtu: 1300}]
steps:
  - {id: one, run: x}
  - {id: two, in: b, run: x, timeout: 4s, may_fail: true}
  - {id: three, snapshot: }
hypotheses:
  - {id: h, claim: c, predict: {command: one, exit: 0}, control: {replace: one, with: {run: y}}}
  - {id: i, claim: c, predict: {command: one, exit: 0}, control: {before: one, insert: [{run: y}]}}
""")
    compiled = compile_lab(load_lab(folder))
    topology = compiled.lab.model.topology
    assert [node.ipv6 for node in topology.nodes.values()] == [True, False]
    assert [(link.mtu, link.offloads) for link in topology.links] == [(1400, "off"), (1300, "off")]
    steps = {step.id: (step.node, step.timeout_s, step.exits) for step in compiled.experiment.steps}
    assert steps["one"] == ("a", 3.0, (0, 1)) and steps["two"] == ("b", 4.0, None) and steps["three"][:2] == (None, 3.0)
    for variant in compiled.variants:
        assert {step.timeout_s for step in variant.steps if step.phase == "lab"} == {3.0, 4.0}


def test_include_takes_a_topology_below(folder: Path) -> None:
    (folder.parent / "common").mkdir()
    (folder.parent / "common" / "net.yaml").write_text(
        "x-own: 1\ntopology: {nodes: {r1: {ipv6: true}, r2: }, links: [{r1.e: 10.0.0.1/24, r2.e: 10.0.0.2/24}]}\n"
    )
    lab(folder, "include: ../common/net.yaml\ndefaults: {steps: {in: r1}}\n")
    topology = load_lab(folder).model.topology
    assert list(topology.nodes) == ["r1", "r2"] and topology.nodes["r1"].ipv6 and len(topology.links) == 1
    before = plan(folder).digest
    (folder.parent / "common" / "net.yaml").write_text("topology: {nodes: {r2: }}\n")
    assert plan(folder).digest != before


@pytest.mark.parametrize(
    ("include", "text", "words"),
    [
        ("/etc/passwd", "", "neither in the lab's folder"),
        ("../../net.yaml", "", "neither in the lab's folder"),
        ("out.yaml", "", "neither in the lab's folder"),
        ("none.yaml", "", "there is no file"),
        ("net.yaml", "topology: {nodes: {r1: {ipv7: 1}}}", r"net\.yaml:1:\d+: topology\.nodes\.r1: unknown key"),
        ("net.yaml", "steps: []", "a topology, and nothing else"),
        ("net.yaml", "- a", "a topology, and nothing else"),
        ("net.yaml", "topology: [", "not YAML"),
    ],
)
def test_include_that_cannot_be(folder: Path, include: str, text: str, words: str) -> None:
    (folder / "net.yaml").write_text(text)
    (folder / "out.yaml").symlink_to("/etc/passwd")
    with pytest.raises(LabError, match=words):
        load_cells(lab(folder, f"include: {include}\nfiles: []\n"))


# --- kept ---


def test_small_files_are_kept_until_there_is_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_files, "MAX_FILE", 10)
    monkeypatch.setattr(kept_files, "MAX_ALL", 15)
    files = (LabFile("a/b", "1", 10, True), LabFile("big", "2", 11), LabFile("c", "3", 6), LabFile("d", "4", 5),
             LabFile("l", target="a"), LabFile("none"))  # fmt: skip
    kept_files.keep_files(tmp_path, files, {"1": b"b" * 10, "2": b"x" * 11, "3": b"c" * 6, "4": b"d" * 5})
    found = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {"b": b"b" * 10, "d": b"d" * 5}
    assert os.access(tmp_path / "lab.files" / "a" / "b", os.X_OK)


# --- nodes like machines ---

MACHINES = """\
title: t
question: q
topology:
  nodes:
    r1: {{{r1}}}
    r2: {{}}
  bridges: {{r2.br0: {{address: [10.0.1.1/24, 10.0.2.1/24]}}}}
  links: [{{r1.e: 10.0.0.1/24, r2.e: 10.0.0.2/24}}]
steps: [{{id: a, in: r1, run: x}}, {{id: b, in: r2, run: x}}]
hypotheses: [{{id: h, claim: c, predict: {{command: a, exit: 0}}, control: {{none: x}}}}]
"""


def machines(folder: Path, r1: str) -> dict[str, Machine | None]:
    (folder / "lab.yaml").write_text(MACHINES.format(r1=r1))
    checked(folder)
    actions = [step.action for step in plan(folder).steps]
    return {action.name: action.machine for action in actions if isinstance(action, Namespace)}


def test_a_node_is_a_machine_where_it_needs_to_be(folder: Path) -> None:
    hosts = (("10.0.1.1", "r2"), ("10.0.2.1", "r2"), ("10.0.0.1", "r1"), ("10.0.0.2", "r2"))
    assert machines(folder, "") == {"r1": None, "r2": None}
    assert machines(folder, "machine: true") == {"r1": Machine(hosts), "r2": None}
    assert machines(folder, "services: {x: {run: y}}") == {"r1": Machine(hosts), "r2": None}
    (folder / "r1").mkdir()
    assert machines(folder, "") == {"r1": None, "r2": None}
    (folder / "r1" / "x").touch()
    assert machines(folder, "") == {"r1": Machine(hosts, (Put("/", "r1"),)), "r2": None}
    assert machines(folder, "machine: false") == {"r1": None, "r2": None}
    made = machines(folder, 'files: {/etc//x: r1/x, /y: {text: t, mode: "640", owner: a:b}, /z: {from: ./r1/}}')
    puts = (Put("/", "r1"), Put("/etc/x", "r1/x"), Put("/y", None, "t", 0o640, "a:b"), Put("/z", "r1"))
    assert made == {"r1": Machine(hosts, puts), "r2": None}


@pytest.mark.parametrize(
    ("r1", "words"),
    [
        ("files: {/x: none}", "there is no file 'none'"),
        ("files: {/x: ../x}", r"there is no file '\.\./x'"),
        ("files: {/x: /etc/passwd}", "there is no file '/etc/passwd'"),
        ("files: {x: a}", "no place in a node"),
        ("files: {/a/../../x: a}", "no place in a node"),
        ("files: {/proc/x: a}", "is not for files"),
        ("files: {/x: {text: a, from: a}}", "`from` a file"),
        ("files: {/x: {}}", "`from` a file"),
        ("files: {/x: {text: a, mode: 9}}", "text is needed"),
        ('files: {/x: {text: a, mode: "0999"}}', "mode"),
        ('files: {/x: {text: a, owner: "a b"}}', "owner"),
        ("machine: false, services: {x: {run: y}}", "a node is a machine"),
        ("services: {x: {}}", "'run' is missing"),
        ("services: {X: {run: y}}", "not a name"),
        ("services: {x: {run: 'echo $nothing'}}", "no earlier step saves 'nothing'"),
        ("services: {x: {run: y, ready: {port: 1, succeeds: z}}}", "exactly one of"),
    ],
)
def test_mistakes_of_machines(folder: Path, r1: str, words: str) -> None:
    (folder / "a").touch()
    with pytest.raises(LabError, match=words):
        machines(folder, r1)


def test_services_are_steps_before_all_others(folder: Path) -> None:
    (folder / "lab.yaml").write_text("""\
title: t
question: q
env: {A: lab}
topology:
  nodes:
    r1:
      services:
        zebra: {run: zebra, ready: {succeeds: test -e x}, env: {B: own}}
        ospf: {run: [ospfd, -f], timeout: 3s, may_fail: true, note: n}
    r2: {services: {web: {run: nginx, ready: {port: 80}}}}
steps: [{id: a, in: r1, run: x}, {stop: r1-ospf}]
hypotheses:
  - {id: h, claim: c, predict: {command: r1-ospf, stdout: {contains: up}}, control: {without: r2-web}}
  - {id: i, claim: c, predict: {command: a, exit: 0}, control: {replace: r1-zebra, with: {in: r1, start: other}}}
""")
    compiled = compile_lab(load_lab(folder))
    steps = {step.id: step for step in compiled.experiment.steps if step.phase == "lab"}
    assert list(steps) == ["r1-zebra", "r1-ospf", "r2-web", "a", "step-2"]
    zebra, ospf = steps["r1-zebra"], steps["r1-ospf"]
    assert zebra.action == Start(("bash", "-c", "zebra"), Ready(succeeds=("bash", "-c", "test -e x")))
    assert (zebra.node, dict(zebra.env or ())) == ("r1", {"A": "lab", "B": "own"})
    assert (ospf.action, ospf.timeout_s, ospf.may_fail, ospf.note) == (Start(("ospfd", "-f")), 3.0, True, "n")
    without, replaced = compiled.variants
    assert "r2-web" not in {step.id for step in without.steps}
    assert next(step for step in replaced.steps if step.id == "r1-zebra").shell == "other"


def test_a_step_has_not_the_id_of_a_service(folder: Path) -> None:
    (folder / "lab.yaml").write_text(LAB.format(more="").replace("{r1: {}}", "{r1: {services: {web: {run: x}}}}")
                                     .replace("id: a,", "id: r1-web,").replace("command: a", "command: r1-web"))  # fmt: skip
    with pytest.raises(LabError, match="the id 'r1-web' is that of a service"):
        load_and_compile(folder)


def load_and_compile(folder: Path) -> None:
    compile_lab(load_lab(folder))
