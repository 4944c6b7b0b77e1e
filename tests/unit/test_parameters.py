"""Parameters: cells and their names, values put in with their types, commands left alone, controls by parameters."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_cells, load_lab, parse_lab
from labrun.lab.parameters import MAX_CELLS, cell_names, cells_of, fill
from labrun.lab.problems import LabError
from labrun.protocol.actions import Link

LAB = """\
title: With ${mtu}
question: Q
parameters: {mtu: [1500, 9000], mode: [on, off]}
topology:
  nodes: {host: {}}
steps:
  - {id: set, link: {set: lo, mtu: "${mtu}"}}
  - {id: show, run: 'echo "${mtu}" ${mode}', stdin: "${mtu}"}
  - {id: list, run: [echo, "${mtu}"]}
  - {id: wait, wait: {succeeds: 'test ${mtu} -gt 1'}}
  - {id: look, snapshot: all}
hypotheses:
  - {id: h, claim: "It is ${mtu}.", predict: {links: {at: look, where: {name: lo}}, each: {mtu: "${mtu}"}}}
  - {id: text, claim: C, predict: {command: show, stdout: {contains: "${mtu} ${mode}"}}}
"""


def written(tmp_path: Path, text: str = LAB, slug: str = "a-lab") -> Path:
    folder = tmp_path / slug
    folder.mkdir()
    (folder / "lab.yaml").write_text(text)
    return folder


def parsed(text: str, cell=None):
    return parse_lab(text, Path("labs/a-lab/lab.yaml"), "a-lab", "labs/a-lab/lab.yaml", cell)


def problems(text: str) -> list[str]:
    with pytest.raises(LabError) as caught:
        compile_lab(parsed(text))
    return [str(problem) for problem in caught.value.problems]


# --- cells ---


def test_every_combination_is_a_lab_of_its_own(tmp_path):
    labs = load_cells(written(tmp_path))
    assert [lab.cell for lab in labs] == [
        {"mtu": 1500, "mode": "on"}, {"mtu": 1500, "mode": "off"},
        {"mtu": 9000, "mode": "on"}, {"mtu": 9000, "mode": "off"},
    ]  # fmt: skip
    assert [lab.slug for lab in labs] == [
        "a-lab--mtu-1500--mode-on", "a-lab--mtu-1500--mode-off",
        "a-lab--mtu-9000--mode-on", "a-lab--mtu-9000--mode-off",
    ]  # fmt: skip
    assert {lab.text for lab in labs} == {LAB}
    assert load_lab(tmp_path / "a-lab").cell == {"mtu": 1500, "mode": "on"}


def test_a_lab_without_parameters_is_one_lab_with_its_own_name(tmp_path):
    text = re.sub(r"parameters.*\n", "", LAB).replace('mtu: "${mtu}"', "mtu: 1500").replace("${m", "$")
    (lab,) = load_cells(written(tmp_path, text))
    assert (lab.slug, lab.cell) == ("a-lab", {})


def test_plans_of_cells_differ_and_each_is_the_same_again(tmp_path):
    digests = [compile_lab(lab).experiment.digest for lab in load_cells(written(tmp_path))]
    assert len(set(digests)) == 4
    assert digests == [compile_lab(lab).experiment.digest for lab in load_cells(tmp_path / "a-lab")]


@pytest.mark.parametrize(
    ("cells", "names"),
    [
        ([{}], [""]),
        ([{"mtu": 1500}], ["--mtu-1500"]),
        ([{"x": "A b/c"}], ["--x-a-b-c"]),
        ([{"x": ""}, {"x": "../.."}], ["--x-x", "--x-x--2"]),
        ([{"x": 1}, {"x": -1}], ["--x-1", "--x-minus-1"]),
        ([{"x": 1}, {"x": "1"}, {"x": True}], ["--x-1", "--x-1--2", "--x-true"]),
        ([{"x": "a b"}, {"x": "a-b"}, {"x": "A.B"}], ["--x-a-b", "--x-a-b--2", "--x-a-b--3"]),
        ([{"x": 1.5}, {"x": "1-5"}], ["--x-1-5", "--x-1-5--2"]),
        ([{"x_y": "é"}], ["--x-y-x"]),
    ],
)
def test_names_of_cells(cells, names):
    assert list(cell_names(cells)) == names


VALUES = st.one_of(st.text(max_size=300), st.integers(-(2**63), 2**63), st.booleans(), st.floats(-9, 9))


@given(
    st.lists(st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,31}", fullmatch=True), VALUES, max_size=6), max_size=8)
)
def test_names_of_cells_are_unique_folder_names(cells):
    names = cell_names(cells)
    assert len(set(names)) == len(cells)
    assert all(re.fullmatch(r"[a-z0-9-]{0,200}", name) for name in names)


@pytest.mark.parametrize("values", [[1500, 9000, 1500], ["a", "a"], [True, True], [1.5, 1.5]])
def test_a_value_that_is_there_twice(tmp_path, values):
    text = LAB.replace("[1500, 9000]", json.dumps(values))
    with pytest.raises(LabError) as caught:
        load_cells(written(tmp_path, text))
    (problem,) = caught.value.problems
    assert problem.message == "parameters: mtu has this value already"
    assert (problem.line, problem.column) == (3, text.splitlines()[2].rindex(json.dumps(values[-1])) + 1)


def test_one_and_true_are_not_the_same(tmp_path):
    text = 'title: T\nquestion: Q\nparameters: {x: [1, true, "1", 1.0]}\ntopology: {nodes: {a: {}}}\n'
    text += "steps: [{id: r, run: 'true'}]\nhypotheses: [{id: h, claim: C, predict: {command: r, exit: 0}}]\n"
    assert [lab.slug for lab in load_cells(written(tmp_path, text))] == [
        "a-lab--x-1", "a-lab--x-true", "a-lab--x-1--2", "a-lab--x-1-0",
    ]  # fmt: skip


def test_the_limit(tmp_path):
    def text(count):
        return LAB.replace("[1500, 9000]", str(list(range(1000, 1000 + count))))

    assert len(load_cells(written(tmp_path, text(MAX_CELLS // 2), "fits"))) == MAX_CELLS
    with pytest.raises(LabError) as caught:
        load_cells(written(tmp_path, text(MAX_CELLS // 2 + 1), "more"))
    (problem,) = caught.value.problems
    assert (problem.line, problem.message) == (3, f"parameters: more than {MAX_CELLS} combinations")


def test_a_matrix_without_end_is_refused_at_once(tmp_path):
    many = ", ".join(f"p{number}: {list(range(99))}" for number in range(20))
    with pytest.raises(LabError, match="more than 64 combinations"):
        load_cells(written(tmp_path, LAB.replace("mtu: [1500, 9000]", many)))


@pytest.mark.parametrize(
    "parameters",
    ["{}", "{mtu: []}", "{mtu: 1500}", "[1500]", "7", "{mtu: [[1500]]}", "{mtu: [{a: 1}]}", "{MTU: [1]}", "{a-b: [1]}",
     "{mtu: [null]}", "{mtu: null}"],
)  # fmt: skip
def test_what_is_no_matrix_is_said_at_its_place(tmp_path, parameters):
    text = LAB.replace("{mtu: [1500, 9000], mode: [on, off]}", parameters)
    folder = written(tmp_path, text)
    with pytest.raises(LabError) as caught:
        compile_lab(load_cells(folder)[0])
    assert all(problem.line for problem in caught.value.problems)
    if parameters != "{}":
        assert any(problem.line == 3 for problem in caught.value.problems)


# --- filling in ---


def test_values_are_put_in_with_their_types():
    lab = parsed(LAB, {"mtu": 9000, "mode": "off"})
    assert lab.model.title == "With 9000"
    assert lab.model.hypotheses[0].claim == "It is 9000."
    assert lab.model.steps[0].link.mtu == 9000
    assert lab.model.hypotheses[0].predict.each["mtu"].equals == 9000
    assert type(lab.model.hypotheses[0].predict.each["mtu"].equals) is int
    assert lab.model.hypotheses[1].predict.stdout.contains == "9000 off"
    (link,) = [step.action for step in compile_lab(lab).experiment.steps if step.id == "set"]
    assert isinstance(link, Link) and link.mtu == 9000


def test_commands_are_left_alone_and_get_the_values_as_environment():
    lab = parsed(LAB, {"mtu": 9000, "mode": "off"})
    _, show, words, wait, _ = lab.model.steps
    assert (show.run, show.stdin) == ('echo "${mtu}" ${mode}', "${mtu}")
    assert words.run == ("echo", "${mtu}")
    assert wait.wait.succeeds == "test ${mtu} -gt 1"
    assert compile_lab(lab).experiment.values == (("mtu", "9000"), ("mode", "off"))


@pytest.mark.parametrize(
    ("value", "cell", "filled"),
    [
        ("${x}", {"x": 7}, 7),
        ("${x}", {"x": True}, True),
        ("${x}", {"x": 1.5}, 1.5),
        ("${x}", {"x": "7"}, "7"),
        ("a ${x}", {"x": 7}, "a 7"),
        ("${x}${y}", {"x": 7, "y": "b"}, "7b"),
        ("${x} ${z}", {"x": 7}, "7 ${z}"),  # a value that a step will save
        ("${z}", {"x": 7}, "${z}"),
        ("$x {x} ${X} ${x", {"x": 7}, "$x {x} ${X} ${x"),
        ("${x}", {"x": "${y}", "y": 1}, "${y}"),  # filled once, never again
        ("${x} ${y}", {"x": "${y}", "y": 1}, "${y} 1"),
        (5, {"x": 7}, 5),
        (None, {"x": 7}, None),
        ({"${x}": "${x}"}, {"x": 7}, {"${x}": 7}),  # keys are structure
        ({"run": "${x}"}, {"x": 7}, {"run": "${x}"}),
        ({"run": ["${x}"]}, {"x": 7}, {"run": ["${x}"]}),
        ({"parameters": {"x": ["${x}"]}}, {"x": 7}, {"parameters": {"x": ["${x}"]}}),
        ({"control": {"parameters": {"x": "${x}"}}}, {"x": 7}, {"control": {"parameters": {"x": 7}}}),
    ],
)
def test_where_values_go(value, cell, filled):
    assert fill(value, cell) == filled
    assert type(fill(value, cell)) is type(filled)


SCALARS = st.text(max_size=12) | st.integers() | st.booleans()
TREES = st.recursive(
    SCALARS | st.sampled_from(["${x}", "a ${x} b", "${y}", "${x}${y}", "$${x}"]) | st.none(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["a", "b", "run", "${x}", "parameters", "steps"]), inner, max_size=4)
    ),
    max_leaves=12,
)
HOSTILE = st.sampled_from(
    ["}", "{a: b}", "- x\n- y", "x: y", "\n", '"', "*alias", "&a b", "!!python/x", "${y}", "\\1", "null"]
)


def shape(value):
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else None


@given(TREES, SCALARS | HOSTILE, SCALARS | HOSTILE)
def test_no_value_can_change_the_structure_of_a_file(tree, x, y):
    assert shape(fill(tree, {"x": x, "y": y})) == shape(tree)


@given(SCALARS | HOSTILE)
def test_whatever_a_value_is_it_is_that_value_in_the_file(value):
    """Put into the parsed file, so no quoting is needed and none can be broken out of."""
    if isinstance(value, str):
        value = value.replace("${", "")
    content = {
        "title": "T", "question": "${x}", "parameters": {"x": [value]}, "topology": {"nodes": {"a": {}}},
        "steps": [{"id": "r", "run": "true"}],
        "hypotheses": [{"id": "h", "claim": "C", "predict": {"command": "r", "json": {"k": "${x}"}}}],
    }  # fmt: skip
    try:
        lab = parsed(json.dumps(content))
    except LabError as error:
        assert not isinstance(value, str) or any(
            "surrogate" in str(p) or "not allowed" in str(p) for p in error.problems
        )
        return
    found = lab.model.hypotheses[0].predict.json_["k"].equals
    assert (found, type(found)) == (value, type(value))
    assert len(lab.model.steps) == 1


def test_a_value_of_the_wrong_type_is_an_error_where_it_is_used():
    (problem,) = problems(LAB.replace("[1500, 9000]", "[much]").replace(', each: {mtu: "${mtu}"}', ", count: 1"))
    assert problem == "labs/a-lab/lab.yaml:7:36: step 'set': link.mtu: a whole number is needed, not 'much'"


def test_cells_of_an_unsound_file_do_not_break():
    for value in (None, 5, [], {}, {"parameters": None}, {"parameters": {"a": []}}, {"parameters": {"a": 1}}):
        assert cells_of(value) == ({},)


# --- a name that nothing gives ---


def test_a_parameter_that_does_not_exist_in_a_step():
    (problem,) = problems(LAB.replace("set: lo, ", 'set: "${mtuu}", '))
    assert problem.startswith("labs/a-lab/lab.yaml:7:")
    assert problem.endswith("step 'set': no earlier step saves 'mtuu', and it is no parameter. Did you mean 'mtu'?")


def test_a_parameter_that_does_not_exist_in_a_prediction():
    (problem,) = problems(LAB.replace('"${mtu} ${mode}"', '"${mtu} ${mod}"'))
    assert problem.startswith("labs/a-lab/lab.yaml:14:")
    assert problem.endswith("no step saves 'mod', and it is no parameter. Did you mean 'mode'?")


# --- controls ---


def controlled(control: str, predict: str = "{command: show, exit: 0}") -> str:
    return LAB + f"  - {{id: c, claim: C, predict: {predict}, control: {control}}}\n"


def test_a_control_by_parameters_is_the_other_cell():
    compiled = compile_lab(parsed(controlled("{parameters: {mtu: 1280}}")))
    (variant,) = compiled.variants
    assert compiled.controls["c"] == (variant.variant,) == ("c",)
    assert variant.values == (("mtu", "1280"), ("mode", "on"))
    (link,) = [step.action for step in variant.steps if step.id == "set"]
    assert link.mtu == 1280
    assert [step.id for step in variant.steps] == [step.id for step in compiled.experiment.steps]


def test_the_prediction_of_a_control_by_parameters_is_the_experiments():
    """So its filters and its times are, too: what is predicted stays, and the world is another one."""
    packets = '{packets: {on: host.lo, match: "greater ${mtu}"}, count: 0}'
    text = controlled("{parameters: {mtu: 1280}}", packets)
    text = text.replace("steps:\n", "steps:\n  - {id: seen, capture: {on: lo}}\n")
    compiled = compile_lab(parsed(text))
    assert compiled.experiment.filters == compiled.variants[0].filters == ("greater 1500",)


def test_equal_controls_run_once():
    text = controlled("[{parameters: {mtu: 1280}}, {parameters: {mtu: 1280, mode: on}}]")
    compiled = compile_lab(parsed(text))
    assert (len(compiled.variants), compiled.controls["c"]) == (1, ("c", "c"))


@pytest.mark.parametrize(
    ("control", "says"),
    [
        ("{parameters: {mtuu: 1280}}", "control: unknown parameter 'mtuu'. Did you mean 'mtu'?"),
        ("{parameters: {mtu: 1500}}", "control: these are the experiment's own values"),
        ("{parameters: {mtu: much}}", "step 'set': link.mtu: a whole number is needed, not 'much'"),
        (
            "{parameters: {}}",
            "a control is one of without, replace, before, after, parameters or none; nothing is given",
        ),
        ("{parameters: {mtu: 1}, without: set}", "given: without, parameters"),
    ],
)
def test_a_wrong_control_by_parameters(control, says):
    (problem,) = problems(controlled(control))
    assert problem.startswith("labs/a-lab/lab.yaml:")
    assert problem.endswith(says)
    assert ":0:" not in problem


def test_a_control_may_have_its_own_prediction():
    compiled = compile_lab(parsed(controlled("{without: set, predict: {command: show, exit: 1}}")))
    (control,) = compiled.lab.model.hypotheses[2].control
    assert control.predict.exit.equals == 1
    assert compiled.controls["c"] == ("c",)


@pytest.mark.parametrize(
    ("control", "says"),
    [
        (
            "{without: set, predict: {command: shw, exit: 1}}",
            "in this control: unknown step 'shw'. Did you mean 'show'?",
        ),
        ("{without: list, predict: {command: list, exit: 1}}", "in this control: unknown step 'list'."),
        ("{parameters: {mtu: 1280}, predict: {command: shw, exit: 1}}", "unknown step 'shw'. Did you mean 'show'?"),
        ('{without: set, predict: {command: show, exit: "${x}"}}', "no step saves 'x', and it is no parameter."),
    ],
)
def test_the_own_prediction_of_a_control_is_checked_as_any_other(control, says):
    text = controlled(control)
    (problem,) = problems(text)
    assert says in problem
    line = len(text.splitlines())
    assert problem.startswith(f"labs/a-lab/lab.yaml:{line}:")


def test_a_control_with_its_own_prediction_need_not_have_the_steps_of_the_other():
    text = controlled("{without: show, predict: {command: list, exit: 0}}")
    assert compile_lab(parsed(text)).controls["c"] == ("c",)


def test_a_control_without_the_step_that_its_hypothesis_asks_for():
    (problem,) = problems(controlled("{without: show}"))
    assert problem.endswith("hypothesis 'c': in this control: unknown step 'show'. Known: list.")
