"""What is wrong with a lab file is said with its place and its cause, and never as an exception of another kind."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_lab, parse_lab
from labrun.lab.problems import LabError
from labrun.lab.text import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_yaml

LAB = """\
title: T
question: Q
topology: {nodes: {r1: {}, r2: {}}}
steps:
  - id: probe
    run: "true"
    in: r1
hypotheses:
  - id: h
    claim: C
    predict: {command: probe, exit: 0}
"""
KNOWN = "Known: background, conclusion, defaults, env, files, hypotheses, include, parameters, question, requires, source, steps, tags, timeout, title, topology, userland, watch."
VERBS = "run, start, stop, capture, namespace, link, address, route, rule, neighbour, sysctl, nft, send, snapshot, lookup, trace, wait"


def problems(text: str) -> str:
    """All that is wrong with a lab file, as a user sees it."""
    with pytest.raises(LabError) as caught:
        compile_lab(parse_lab(text, Path("lab.yaml"), "a-lab", "lab.yaml"))
    return str(caught.value)


def instead(old: str, new: str, text: str = LAB) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def step(line: str) -> str:
    """The lab with another step in place of its own, and a prediction that needs neither."""
    return instead('run: "true"', line)


def change(line: str) -> str:
    """The lab with a typed change as its step."""
    text = instead("{command: probe, exit: 0}", "{change: probe, errno: ENODEV}")
    return instead('run: "true"', line, text)


def predict(text: str) -> str:
    return instead("{command: probe, exit: 0}", text)


def control(text: str) -> str:
    return f"{LAB}    control: {text}\n"


def test_the_lab_that_the_table_changes_is_valid():
    compile_lab(parse_lab(LAB, Path("lab.yaml"), "a-lab", "lab.yaml"))


NOT_A_LAB = {
    "a list": ("- a\n", "1:1: a lab file is a mapping with title, question, steps and hypotheses; this is a list"),
    "text": ("hello\n", "1:1: a lab file is a mapping with title, question, steps and hypotheses; this is text"),
    "a number": ("3\n", "1:1: a lab file is a mapping with title, question, steps and hypotheses; this is a number"),
    "nothing": ("", "1:1: a lab file is a mapping with title, question, steps and hypotheses; this is nothing"),
    "only a comment": ("# x\n", "1:1: a lab file is a mapping with title, question, steps and hypotheses; "
                                "this is nothing"),
    "a flow that does not end": ("title: [\n", "2:1: not YAML: expected the node content, but found '<stream end>'"),
    "a tab for indentation": (instead("    in: r1", "\tin: r1"),
                              "7:1: not YAML: found character '\\t' that cannot start any token"),
    "an @": ("title: @foo\n", "1:8: not YAML: found character '@' that cannot start any token"),
    "two documents": (f"{LAB}---\na: 1\n", "12:1: not YAML as labs use it: a second document begins here"),
    "another YAML": (f"%YAML 1.1\n---\n{LAB}", "2:1: a lab file is YAML 1.2; leave the %YAML line out"),
    "a NUL": ("title: \0\n", "1:8: not YAML: the character U+0000 is not allowed in it"),
    "a bell": ("title: x\nquestion: a\x07\n", "2:12: not YAML: the character U+0007 is not allowed in it"),
    "half a surrogate pair": ('title: "\\ud800"\n', "1:8: half of a surrogate pair is not a character"),
    "an alias for nothing": ("title: *b\n", "1:8: not YAML: nothing before is named &b"),
    "an alias in itself": (instead("{nodes: {r1: {}, r2: {}}}", "&t {nodes: *t}"),
                           "3:22: the alias *t is inside of what it stands for"),
    "a list in itself": ("tags: &a [*a]\n", "1:11: the alias *a is inside of what it stands for"),
    "a key that is a list": ("? [a, b]\n: x\n", "1:3: a key must be a word, not a list or a mapping"),
    "a key that is a mapping": ("{a: b}: c\n", "1:1: a key must be a word, not a list or a mapping"),
    "a merge key": (instead("  - id: probe", "  - <<: {may_fail: true}\n    id: probe"),
                    "5:5: merge keys (<<) are not YAML 1.2; write the keys out"),
    "a python object": ('title: !!python/object/apply:os.system ["id"]\n',
                        "1:8: tags such as tag:yaml.org,2002:python/object/apply:os.system are not used in lab files"),
    "an ordered map": ("title: !!omap [a: 1]\n",
                       "1:8: tags such as tag:yaml.org,2002:omap are not used in lab files"),
    "a tag of one's own": ("title: !foo bar\n", "1:8: tags such as !foo are not used in lab files"),
    "a duplicate key": (f"{LAB}title: again\n", "12:1: the key 'title' is there already, in line 1"),
    "a duplicate key in a step": (instead("in: r1", "in: r1\n    in: r2"),
                                  "8:5: the key 'in' is there already, in line 7"),
    "a number for the stars": (predict("{command: probe, exit: " + "9" * 5000 + "}"),
                               "11:37: this number is too large; in quotes it would be text"),
    "not a number": (step('run: "true"\n    timeout: .nan'),
                     "7:14: a number must be finite; in quotes it would be text"),
    "a float without end": (predict("{command: probe, exit: {le: 1e999}}"),
                            "11:42: a number must be finite; in quotes it would be text"),
}  # fmt: skip

WRONG_SHAPE = {
    "an unknown key": (f"{LAB}colour: red\n", f"12:1: unknown key 'colour'. {KNOWN}"),
    "a key that is a number": (f"{LAB}1: x\n", f"12:1: unknown key '1'. {KNOWN}"),
    "a key that is true": (f"{LAB}true: x\n", f"12:1: unknown key 'true'. {KNOWN}"),
    "a mistyped key of a step": (step('run: "true"\n    tiemout: 3'),
                                 "7:5: step 'probe': unknown key 'tiemout'. Did you mean 'timeout'?"),
    "a mistyped key deep inside": (change("route: {add: default, vai: 10.0.0.1}"),
                                   "6:27: step 'probe': route: unknown key 'vai'. Did you mean 'via'?"),
    "what is missing": ("title: T\n", "1:1: 'question' is missing\nlab.yaml:1:1: 'steps' is missing"),
    "an empty list of claims": (LAB[: LAB.index("hypo")] + "hypotheses: []\n",
                                "8:13: hypotheses: this is empty; at least one is needed"),
    "a list for text": (instead("question: Q", "question: [1]"), "2:11: question: text is needed, not [1]"),
    "a number for text": (instead("title: T", "title: 5"), "1:8: title: text is needed, not 5 (in quotes it is text)"),
    "nothing for text": (instead("title: T", "title:"), "1:1: title: text is needed, not None"),
    "text for a list": (instead(LAB[LAB.index("steps:") : LAB.index("hypo")], "steps: none\n"),
                        "4:8: steps: a list is needed, not 'none'. Write it as `steps: [{id: probe, in: a, run: ping -c 1 10.0.0.2}]`"),
    "no steps": (instead(LAB[LAB.index("steps:") : LAB.index("hypo")], "steps: []\n"),
                 "4:8: steps: this is empty; at least one is needed"),
    "a name with capitals": (instead("id: probe", "id: Probe!"),
                             "5:9: step 'Probe!': id: 'Probe!' is not a name here: small letters, digits and dashes, "
                             "such as 'probe' or 'ns1'"),
    "no verb": (instead('    run: "true"\n', ""),
                f"5:5: step 'probe': a step needs exactly one of {VERBS}; none is given"),
    "two verbs": (step('run: "true"\n    nft: x'),
                  f"5:5: step 'probe': a step needs exactly one of {VERBS}; given: run, nft"),
    "no command": (step('run: ""'), "5:5: step 'probe': run: the command is empty"),
    "no words": (step("run: []"), "5:5: step 'probe': run: the command is empty"),
    "a number for a command": (step("run: 5"),
                               "6:10: step 'probe': run: a command is a shell line, or a list of words"),
    "a list within a command": (step("run: [ping, [x]]"),
                                "6:10: step 'probe': run: a command is a shell line, or a list of words"),
    "a NUL in a command": (step('run: "a\\0b"'),
                           "6:10: step 'probe': run: a command cannot have a NUL character in it"),
    "a negative time": (step('run: "true"\n    timeout: -1'), "7:14: step 'probe': timeout: -1.0 is not more than 0.0"),
    "a time in weeks": (step('run: "true"\n    timeout: 2w'),
                        "7:14: step 'probe': timeout: a duration is needed, such as 500ms, 2s or 1m, not '2w'"),
    "ready without start": (step('run: "true"\n    ready: {port: 1}'), "5:5: step 'probe': ready goes with start"),
    "ready with two": (step('start: "true"\n    ready: {port: 1, output: x}'),
                       "7:12: step 'probe': ready: ready needs exactly one of port, output, succeeds; given: port, output"),
    "a port too high": (step('start: "true"\n    ready: {port: 65536}'),
                        "7:19: step 'probe': ready.port: 65536 is not at most 65535"),
    "a short MAC": (change("link: {set: eth0, mac: 52:54:00:12:34}"),
                    "6:28: step 'probe': link.mac: not a MAC address: '52:54:00:12:34' "
                    "(six bytes such as 02:00:00:00:00:01)"),
    "off for a boolean": (change("link: {set: eth0, up: off}"),
                          "6:27: step 'probe': link.up: true or false is needed, not 'off'"),
    "an interface with a slash": (change("link: {set: a/b, up: true}"),
                                  "6:17: step 'probe': link.set: not an interface name: 'a/b' "
                                  "(1 to 15 bytes, no space, '/' or ':')"),
    "a link of no known type": (change("link: {add: x, type: dumy}"),
                                "6:26: step 'probe': link.type: 'dumy' is not one of 'veth', 'bridge', 'dummy', "
                                "'vxlan', 'macvlan', 'ipvlan', 'vlan', 'vrf', 'tun', 'tap', 'bond' or 'wireguard'"),
    "a link set that sets nothing": (change("link: {set: eth0}"),
                                     "6:11: step 'probe': link: link set changes nothing: give up, mtu, mac, master, "
                                     "rename, move_to, ..."),
    "an address without its prefix": (change("address: {add: 10.0.0.1, dev: eth0}"),
                                      "6:20: step 'probe': address.add: the prefix length is missing: 10.0.0.1/24, "
                                      "or 10.0.0.1/32 for this address alone"),
    "no address": (change("address: {add: 10.0.0.256/24, dev: eth0}"),
                   "6:20: step 'probe': address.add: not an address: '10.0.0.256/24' does not appear to be an IPv4 or "
                   "IPv6 interface"),
    "predictions that are text": (predict("probe"), "11:14: hypothesis 'h': predict: a prediction is a mapping such as "
                                                    "{command: STEP, exit: 0}"),
    "a mistyped selector": (predict("{comand: probe, exit: 0}"),
                            "11:14: hypothesis 'h': predict: a prediction needs one of all, any, not, command, change, "
                            "packets, changes, lookup, tests, trace, expr, links, addresses, routes, rules, neighbours, sockets, nft, nft_counters, counters. "
                            "Did you mean 'command'?"),
    "two selectors": (predict("{command: probe, links: {at: x}, exit: 0}"),
                      "11:14: hypothesis 'h': predict: one thing at a time: command, links are given; join them with "
                      "all: or any:"),
    "nothing asserted": (predict("{command: probe}"),
                         "11:14: hypothesis 'h': predict: command: this asserts nothing. Give exit, stdout, stderr, json or duration"),
    "an empty all": (predict("{all: []}"), "11:20: hypothesis 'h': predict.all: this is empty; at least one is needed"),
    "an empty any in a not": (predict("{not: {any: []}}"),
                              "11:26: hypothesis 'h': predict.not.any: this is empty; at least one is needed"),
    "no operator": (predict("{command: probe, exit: {}}"),
                    "11:37: hypothesis 'h': predict.exit: no operator: this asserts nothing. Give one of equals, "
                    "contains, lacks, matches, one_of, ge, le, gt, lt"),
    "a state without a check": (predict("{links: {at: x}}"),
                                "11:14: hypothesis 'h': predict: links: this asserts nothing. Give count, or "
                                "each: {field: check}"),
    "text for an exit status": (predict('{command: probe, exit: "0"}'),
                                "11:37: hypothesis 'h': predict.exit: a number is needed, not '0'"),
    "true for an exit status": (predict("{command: probe, exit: true}"),
                                "11:37: hypothesis 'h': predict.exit: a number is needed, not True"),
    "a number for output": (predict("{command: probe, stdout: 8900}"),
                            "11:39: hypothesis 'h': predict.stdout: text is needed, not 8900 (in quotes it is text)"),
    "an order on text": (predict('{command: probe, stdout: {ge: 3}}'),
                         "11:39: hypothesis 'h': predict.stdout: ge compares numbers; this is text"),
    "half a regex": (predict('{command: probe, stdout: {matches: "("}}'),
                     "11:49: hypothesis 'h': predict.stdout.matches: not a regular expression: missing ), unterminated "
                     "subpattern at position 0"),
    "an expectation that is no verdict": (f"{LAB}    expect: true\n",
                                          "12:13: hypothesis 'h': expect: True is not one of 'supported' or 'refuted'"),
    "a control of nothing": (control("{}"), "12:14: hypothesis 'h': control: a control is one of without, replace, "
                                            "before, after, parameters or none; nothing is given"),
    "a control of two kinds": (control("{without: probe, none: x}"),
                               "12:14: hypothesis 'h': control: a control is one of without, replace, before, after, "
                               "parameters or none; given: without, none"),
    "a control that inserts nothing": (control("{before: probe, insert: []}"),
                                       "12:14: hypothesis 'h': control: insert: {...} and before: or after: STEP go "
                                       "together"),
    "a replacement by nothing": (control("{replace: probe}"),
                                 "12:14: hypothesis 'h': control: replace: STEP and with: {...} go together"),
    "a link with one end": (instead("{nodes: {r1: {}, r2: {}}}", "{nodes: {r1: {}, r2: {}}, links: [{r1.a: }]}"),
                            "3:45: topology.links.0: a link has two ends, written node.interface; 1 given"),
}  # fmt: skip

WRONG_REFERENCE = {
    "an unknown node": (instead("in: r1", "in: r3"), "7:9: step 'probe': unknown node 'r3'. Known: r1, r2."),
    "which node": (instead("    in: r1\n", ""), "5:5: step 'probe': 'in' is missing: in which node does this happen? Nodes here: r1, r2"),
    "an unknown step": (predict("{command: prob, exit: 0}"),
                        "11:24: hypothesis 'h': unknown step 'prob'. Did you mean 'probe'?"),
    "a step of another kind": (predict("{links: {at: probe}, count: 0}"),
                               "11:27: hypothesis 'h': step 'probe' is a run step; one of these is needed: snapshot"),
    "a step id twice": (instead("hypotheses:", "  - {id: probe, run: x, in: r1}\nhypotheses:"),
                        "8:10: the id 'probe' is there already, at number 1"),
    "a node made too late": (instead("hypotheses:", "  - {id: made, namespace: ns1}\nhypotheses:",
                                     instead("in: r1", "in: ns1")),
                             "7:9: step 'probe': node 'ns1' is made by step 'made', which comes later"),
    "stopping what never began": (instead("hypotheses:", "  - stop: server\nhypotheses:"),
                                  "8:11: step 'step-2': unknown step 'server'."),
    "packets that nobody captures": (predict("{packets: {on: r1.lo, during: probe}, count: 0}"),
                                     "11:29: hypothesis 'h': nothing captures on r1.lo."),
    "a control of an unknown step": (control("{without: prob}"),
                                     "12:24: control: unknown step 'prob'. Did you mean 'probe'?"),
    "a control without the step that is judged": (control("{without: probe}"),
                                                  "12:14: hypothesis 'h': in this control: unknown step 'probe'."),
    "an insertion into an unknown node": (control("{before: probe, insert: {run: x, in: r9}}"),
                                          "12:51: step 'inserted-1': unknown node 'r9'. Known: r1, r2."),
    "an insertion with a taken id": (control("{before: probe, insert: {id: probe, run: x, in: r1}}"),
                                     "12:43: control: the id 'probe' is there already"),
    "a replacement with an id": (control("{replace: probe, with: {id: z, run: x, in: r1}}"),
                                 "12:42: control: the replacement keeps the id 'probe'; leave its own out"),
    "a bridge in no node": (instead("{nodes: {r1: {}, r2: {}}}", "{nodes: {r1: {}, r2: {}}, bridges: {r3.br0: }}"),
                            "3:47: unknown node 'r3'. Known: r1, r2."),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), NOT_A_LAB.values(), ids=NOT_A_LAB)
def test_text_that_is_no_lab_file_is_refused_at_its_place(text, said):
    assert problems(text) == f"lab.yaml:{said}"


@pytest.mark.parametrize(("text", "said"), WRONG_SHAPE.values(), ids=WRONG_SHAPE)
def test_a_key_or_value_that_does_not_fit_is_refused_at_its_place(text, said):
    assert problems(text) == f"lab.yaml:{said}"


@pytest.mark.parametrize(("text", "said"), WRONG_REFERENCE.values(), ids=WRONG_REFERENCE)
def test_a_name_that_stands_for_nothing_is_refused_at_its_place(text, said):
    assert problems(text) == f"lab.yaml:{said}"


def test_every_problem_is_reported_in_the_order_of_the_file():
    text = instead("question: Q", "question: [1]", instead("exit: 0", 'exit: "0"', f"{LAB}colour: red\n"))
    lines = problems(instead("in: r1", "inn: r1", text)).splitlines()
    assert [line.split(":")[1] for line in lines] == sorted((line.split(":")[1] for line in lines), key=int)


def problems_of(path: Path) -> str:
    with pytest.raises(LabError) as caught:
        load_lab(path)
    return str(caught.value)


def test_a_binary_file_is_refused(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_bytes(b"title: T\n\x7fELF\xff\xfe\x00")
    assert problems_of(path) == f"{path}:2:1: not UTF-8 text: a lab file is YAML"


def test_a_file_in_utf_16_is_refused(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_bytes(LAB.encode("utf-16"))
    assert problems_of(path) == f"{path}:1:1: not UTF-8 text: a lab file is YAML"


def test_a_file_that_is_not_there_is_refused(tmp_path):
    assert problems_of(tmp_path / "lab.yaml") == f"{tmp_path}/lab.yaml: cannot be read: No such file or directory"


def test_a_folder_without_a_lab_is_refused(tmp_path):
    assert problems_of(tmp_path) == f"{tmp_path}/lab.yaml: cannot be read: No such file or directory"


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path):
    (tmp_path / "lab.yaml").mkdir()
    assert problems_of(tmp_path) == f"{tmp_path}/lab.yaml: cannot be read: Is a directory"


def test_a_file_that_nobody_may_read_is_refused(tmp_path):
    path = tmp_path / "lab.yaml"
    path.symlink_to("/proc/self/mem")  # readable by its mode, and yet not: true for root too
    assert problems_of(path) == f"{path}: cannot be read: Input/output error"


def test_a_link_to_itself_is_refused(tmp_path):
    path = tmp_path / "lab.yaml"
    path.symlink_to(path)
    assert problems_of(path) == f"{path}: cannot be read: Too many levels of symbolic links"


def test_an_endless_file_is_refused_without_being_read_to_its_end(tmp_path):
    path = tmp_path / "lab.yaml"
    path.symlink_to("/dev/zero")
    assert problems_of(path) == f"{path}: too large for a lab file: the limit is {MAX_BYTES} bytes"


def test_a_file_of_exactly_the_limit_is_read(tmp_path):
    path = tmp_path / "lab.yaml"
    path.write_text(LAB + "#" * (MAX_BYTES - len(LAB)))
    assert load_lab(path).model.title == "T"
    path.write_text(LAB + "#" * (MAX_BYTES - len(LAB) + 1))
    assert "too large" in problems_of(path)


def test_a_folder_stands_for_the_lab_in_it_and_gives_its_slug(tmp_path):
    folder = tmp_path / "my-lab"
    folder.mkdir()
    (folder / "lab.yaml").write_text(LAB)
    assert load_lab(folder).slug == load_lab(folder / "lab.yaml").slug == "my-lab"


def test_messages_name_the_file_as_seen_from_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "lab.yaml").write_text("[]")
    monkeypatch.chdir(tmp_path)
    assert problems_of(tmp_path / "x").startswith("x/lab.yaml:1:1: ")
    assert problems_of(Path(os.path.relpath(tmp_path / "x"))).startswith("x/lab.yaml:1:1: ")


def bomb(levels: int) -> str:
    first = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    return first + "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, levels))


HOSTILE = {
    "aliases that multiply": (bomb(9), f"more than {MAX_VALUES} values (do aliases multiply?)"),
    "a hundred thousand brackets": ("a: " + "[" * 100_000, f"nested too deeply: more than {MAX_DEPTH} levels"),
    "deep mappings": ("\n".join(" " * i + "a:" for i in range(900)), f"nested too deeply: more than {MAX_DEPTH} levels"),
    "aliases that nest": ("a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 90)),
                          f"nested too deeply: more than {MAX_DEPTH} levels"),
    "a very long key": ("k" * 900_000 + ": 1\n", "not YAML: mapping values are not allowed here"),
    "a long key": (f"{LAB}{'k' * 1000}: 1\n", f"unknown key '{'k' * 60}'. {KNOWN}"),
    "a hundred thousand values": ("tags: [" + "x," * 120_000 + "]", f"more than {MAX_VALUES} values"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE)
def test_a_file_that_is_made_to_hurt_is_refused_in_bounded_time(text, said):
    begun = time.process_time()
    assert said in problems(text)
    assert time.process_time() - begun < 20  # unbounded ones would take hours, or all memory


def test_predictions_nest_as_deep_as_files_may():
    depth = (MAX_DEPTH - 8) // 1
    text = predict("{not: " * depth + "{command: probe, exit: 0}" + "}" * depth)
    compile_lab(parse_lab(text, Path("lab.yaml"), "a-lab", "lab.yaml"))


TRAPS = {
    "52:54:00:12:34:56": "52:54:00:12:34:56",  # YAML 1.1: the integer 40983451016
    "12:34:56": "12:34:56",
    "off": "off",
    "yes": "yes",
    "NO": "NO",
    "n": "n",
    "0o17": 15,
    "017": 17,
    "0x1F": 31,
    "1_000": "1_000",
    "0b1": "0b1",
    "+7": 7,
    "-0": 0,
    "1e3": 1000.0,
    ".5": 0.5,
    "1.": 1.0,
    "1e": "1e",
    ".": ".",
    "2017-09-03": "2017-09-03",
    "2017-13-40": "2017-13-40",
    "2017-09-03T10:00:00Z": "2017-09-03T10:00:00Z",
    "10.0.0.1": "10.0.0.1",
    "10.0.0.0/8": "10.0.0.0/8",
    "::1": "::1",
    "=": "=",
    "true": True,
    "True": True,
    "tRUE": "tRUE",
    "null": None,
    "~": None,
    "": None,
    '""': "",
    '"true"': "true",
    "'0o17'": "0o17",
    "[null, ~, x]": [None, None, "x"],
}


@pytest.mark.parametrize(("written", "meant"), TRAPS.items(), ids=TRAPS)
def test_scalars_mean_what_yaml_1_2_says(written, meant):
    value, _ = parse_yaml(f"key: {written}\n", "lab.yaml")
    assert value == {"key": meant}
    assert type(value["key"]) is type(meant)


@pytest.mark.parametrize("key", ["1", "true", "~", "null", "off", "2017-09-03", "0x10", "1.5", '"a b"', "10.0.0.0/8"])
def test_keys_are_text_as_they_are_written(key):
    assert parse_yaml(f"{key}: x\n", "lab.yaml")[0] == {key.strip('"'): "x"}


def test_keys_that_are_the_same_text_are_duplicates_however_they_are_written():
    with pytest.raises(LabError, match="the key '1' is there already, in line 1"):
        parse_yaml('1: a\n"1": b\n', "lab.yaml")


def test_an_alias_stands_for_the_same_values_and_problems_in_it_are_told_where_they_are_written():
    text = instead('run: "true"', 'run: &command "true"', LAB)
    text = instead("hypotheses:", "  - {id: again, run: *command, in: r1}\nhypotheses:", text)
    lab = parse_lab(text, Path("lab.yaml"), "a-lab", "lab.yaml")
    assert lab.model.steps[1].run == "true"
    assert lab.places.of(("steps", 1, "run")) == lab.places.of(("steps", 0, "run"))


def test_line_ends_and_a_byte_order_mark_do_not_matter():
    plain = parse_lab(LAB, Path("lab.yaml"), "a-lab", "lab.yaml").model
    assert parse_lab("\ufeff" + LAB.replace("\n", "\r\n"), Path("lab.yaml"), "a-lab", "lab.yaml").model == plain


def test_the_nearest_place_is_given_for_what_is_not_in_the_file():
    places = parse_yaml("a:\n  b: [1, 2]\n", "lab.yaml")[1]
    assert places.of(("a", "b", 1)) == (2, 10)
    assert places.of(("a", "b", 7, "x")) == (2, 6)
    assert places.of(("a", "b"), key=True) == (2, 3)
    assert places.of(("z",)) == (1, 1)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}*&!#|>'\"%@, \n\t?0~<"))))
def test_no_text_makes_the_reader_fail_in_another_way(text):
    try:
        parse_lab(text, Path("lab.yaml"), "a-lab", "lab.yaml")
    except LabError as error:
        assert all(re.match(r"lab\.yaml(:\d+:\d+)?: \S", str(problem)) for problem in error.problems)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_to_a_lab_makes_the_loader_fail_in_another_way(data):
    lines = LAB.splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        words = re.split(r"(\W+)", lines[at])
        word = data.draw(st.integers(0, len(words) - 1))
        words[word] = data.draw(
            st.sampled_from(["", "x", "- ", "[]", "{}", "7", "true", "~", "probe", "r1", ": ", "all"])
        )
        lines[at] = "".join(words)
    try:
        compile_lab(parse_lab("\n".join(lines), Path("lab.yaml"), "a-lab", "lab.yaml"))
    except LabError as error:
        assert error.problems
