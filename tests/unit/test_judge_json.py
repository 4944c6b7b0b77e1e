"""What a command printed as JSON, and how long it took: true, false and unknown."""

from __future__ import annotations

import json

import pytest
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.observe.jsonpath import search_json
from labrun.observe.unknown import Unknown
from pydantic import ValidationError
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"
SAID = {
    "n": 3, "f": 2.5, "s": "x", "yes": True, "no": False, "nothing": None, "zero": 0, "": "empty",
    "list": [{"ifname": "lo", "mtu": 65536}, {"ifname": "eth0", "mtu": 1500}], "words": ["a", "b"], "a b": 1,
}  # fmt: skip


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def judge(evidence, checks):
    return evaluate(prediction({"command": "say", "json": checks}), evidence.read(), PREFIX)


@pytest.mark.parametrize(
    ("expression", "check", "truth"),
    [
        ("n", 3, True),
        ("n", 4, False),
        ("n", {"ge": 3, "lt": 4}, True),
        ("n", "4", None),  # a number is no text
        ("f", 2.5, True),
        ("s", "x", True),
        ("s", {"matches": "^x$"}, True),
        ("s", {"matches": "y"}, False),
        ("yes", True, True),
        ("yes", 1, None),  # a truth is not a number
        ("zero", False, None),
        ("no", False, True),
        ("nothing", "", False),
        ("nothing", 0, False),
        ("absent", 0, None),  # a slip of the pen, or not there: nobody knows
        ("absent", {"lacks": "x"}, None),  # there is nothing to search in
        ("nothing", {"matches": "x"}, None),
        ("absent", {"le": 3}, None),  # nor to put in order
        ("list[1].mtu", 1500, True),
        ("list[?ifname=='eth0'].mtu | [0]", 1500, True),
        ("list[9].mtu", 1500, None),
        ("list[9].mtu", {"one_of": [1500, 9000]}, None),
        ("length(list)", 2, True),
        ("words", {"contains": "a"}, True),
        ("words", {"contains": "c"}, False),
        ('"a b"', 1, True),
        ("words", {"one_of": ["a"]}, None),
        ("words", {"ge": 1}, None),  # a list is in no order with a number
        ("n", {"contains": "3"}, None),
        ("s", {"lt": 3}, None),
    ],
)
def test_what_is_found(evidence, expression, check, truth):
    trace = judge(evidence.run("say", json.dumps(SAID).encode()).done(), {expression: check})
    assert trace.truth is truth
    nothing = "json-nothing-found" if expression in ("absent", "nothing", "list[9].mtu") else "type-mismatch"
    assert trace.reason == (nothing if truth is None else None)
    assert str(trace.leaves()[0].subject) == f"json of say: {expression}"
    assert str(trace.leaves()[0].refs[0]) == f"{PREFIX}outputs/say.stdout"


def test_every_expression_is_checked(evidence):
    trace = judge(evidence.run("say", json.dumps(SAID).encode()).done(), {"n": 3, "s": "y", "f": {"gt": 2, "lt": 2.1}})
    assert [(leaf.path, leaf.truth) for leaf in trace.children] == [
        ("json.n.equals", True),
        ("json.s.equals", False),
        ("json.f.gt", True),
        ("json.f.lt", False),
    ]
    assert trace.truth is False


@pytest.mark.parametrize(
    "text",
    [b"", b"hello", b"{", b'{"n": 3} and more', b"{'n': 3}", b"\xff\xfe", b"[" * 100_000, b'{"n": NaN}', b"Infinity",
     b'{"n": ' + b"9" * 5000 + b"}"],
)  # fmt: skip
def test_what_is_not_json_is_unknown(evidence, text):
    trace = judge(evidence.run("say", text).done(), {"n": {"ge": 0}})
    assert (trace.truth, trace.reason) == (None, "not-json")
    assert sentence(trace).startswith("the output is not JSON: ")


def test_a_search_that_fails_is_unknown(evidence):
    trace = judge(evidence.run("say", b'{"n": 3}').done(), {"length(n)": 1})
    assert (trace.truth, trace.reason) == (None, "json-search-failed")
    assert "\n" not in sentence(trace) and sentence(trace).startswith("length(n): ")


def test_json_that_was_cut_is_unknown(evidence):
    trace = judge(evidence.run("say", b'{"n": 3}', size=9999).done(), {"n": 3})
    assert (trace.truth, trace.reason) == (None, "output-cut")


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda evidence: evidence.done(), "evidence-missing"),
        (lambda evidence: evidence.run("say", status="timeout", message="10 s").done(), "timeout"),
        (lambda evidence: evidence.run("say", status="failed", message="no such command").done(), "step-failed"),
        (lambda evidence: evidence.run("say", ended=False).fault("sandbox-died"), "sandbox-died"),
    ],
)
def test_without_an_output_nothing_is_known(evidence, build, reason):
    trace = judge(build(evidence), {"n": 3, "s": "x"})
    assert (trace.truth, trace.reason, len(trace.children)) == (None, reason, 2)


def test_a_command_may_fail_and_still_print_json(evidence):
    asked = {"command": "say", "json": {"n": 3}, "exit": 1}
    assert evaluate(prediction(asked), evidence.run("say", b'{"n": 3}', exit=1).done().read(), PREFIX).truth is True


def test_a_process_that_was_stopped_has_printed_what_it_has(evidence):
    evidence.start("say").process_ended("say", b'{"n": 3}', stopped=True)
    assert judge(evidence.done(), {"n": 3}).truth is True


@pytest.mark.parametrize("expression", ["", "a..b", "[", "a ==", "length(", "\0"])
def test_what_is_no_jmespath_is_an_error_of_the_lab(expression):
    with pytest.raises(ValidationError, match="not a JMESPath expression"):
        prediction({"command": "say", "json": {expression: 1}})


def test_no_expression_asserts_nothing():
    with pytest.raises(ValidationError):
        prediction({"command": "say", "json": {}})


def test_what_the_search_gives():
    assert search_json('{"a": [1, 2]}', "a") == [1, 2]
    assert search_json('"text"', "@") == "text"
    assert search_json("null", "a") is None
    assert isinstance(search_json("", "a"), Unknown)


# --- duration ---


@pytest.mark.parametrize(
    ("check", "truth"),
    [({"lt": 0.3}, True), ({"ge": 0.25, "le": 0.25}, True), ({"gt": 0.25}, False), (0.25, True), ({"lt": 0.1}, False)],
)
def test_duration(evidence, check, truth):
    evidence.run("say", at=(20, 270))
    trace = evaluate(prediction({"command": "say", "duration": check}), evidence.done().read(), PREFIX)
    assert (trace.truth, trace.leaves()[0].actual) == (truth, "0.25")
    assert str(trace.leaves()[0].subject) == "command say: duration in s"
    assert str(trace.leaves()[0].refs[0]) == f"{PREFIX}events.jsonl:3"


def test_duration_is_on_the_monotonic_clock(evidence):
    evidence.run("say", at=(20, 270), wall_shift=5000)
    assert evaluate(prediction({"command": "say", "duration": {"lt": 1}}), evidence.done().read(), PREFIX).truth is True


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda evidence: evidence.done(), "evidence-missing"),
        (lambda evidence: evidence.run("say", started=False).done(), "evidence-missing"),
        (lambda evidence: evidence.run("say", ended=False).fault("agent-crashed"), "agent-crashed"),
        # It took at least so long, but nobody knows how long it would have taken.
        (lambda evidence: evidence.run("say", status="timeout", message="10 s").done(), "timeout"),
        (lambda evidence: evidence.run("say", status="failed", message="x").done(), "step-failed"),
    ],
)
def test_a_duration_that_is_not_known(evidence, build, reason):
    asked = prediction({"command": "say", "duration": {"lt": 1}})
    trace = evaluate(asked, build(evidence).read(), PREFIX)
    assert (trace.truth, trace.reason) == (None, reason)


@pytest.mark.parametrize(
    ("expression", "check"),
    [
        ("n", "3"),
        ("n", {"one_of": ["2", "3"]}),
        ("f", "2.5"),
        ("yes", "true"),
        ("no", "false"),
        ("to_string(n)", 3),
        ("to_string(n)", {"one_of": [4, 3]}),
        ("to_string(yes)", True),
    ],
)
def test_a_text_that_reads_like_the_number_is_no_finding(evidence, expression, check):
    """`not` of it would be true of every such output: the author took one for the other."""
    evidence.run("say", json.dumps(SAID).encode()).done()
    trace = judge(evidence, {expression: check})
    assert (trace.truth, trace.reason) == (None, "type-mismatch")
    assert "cannot compare" in sentence(trace)


@pytest.mark.parametrize("check", [{"equals": 3, "ge": 3}, {"one_of": ["3", 3]}, {"equals": 3.0}])
def test_where_the_type_is_right_it_is_one(evidence, check):
    evidence.run("say", json.dumps(SAID).encode()).done()
    assert judge(evidence, {"n": check}).truth is True


@pytest.mark.parametrize(
    ("text", "expression", "reason", "words"),
    [
        ('{"address": 1}', "adress", "json-nothing-found", "Did you mean 'address'?"),
        ('[{"a": 1}, {"b": 2}]', "[?c == `1`]", "json-nothing-found", "no object has the key 'c'"),
        ('[{"a": 1}]', "length([?adr == `1`])", "json-nothing-found", "no object has the key 'adr'"),
        ('[{"port": 80}]', "length([?port == '80'])", "type-mismatch", "it compares number with text"),
        ('[{"mtu": 1500}, {"mtu": "1400"}, {"x": 1}]', "length([?mtu == `1400`])", "type-mismatch", "number with text"),
        ('[{"mtu": 1500}, {"mtu": "1400"}]', "[?mtu > `1450`] | length(@)", "type-mismatch", "number with text"),
        ('[{"port": "80"}]', "[?port > `79`] | length(@)", "type-mismatch", "number with text"),
        ("[1, 2]", "contains(@, '1')", "type-mismatch", "it looks for a text in a list of number"),
        ("[1, 2]", "[5]", "json-nothing-found", "the list has 2"),
        ('{"a": 3}', "a.b", "json-nothing-found", "no object has the key 'b'"),
        ('{"n": 1, "n": 2}', "n", "json-ambiguous", "twice"),
        ('{"n": 1e400}', "n", "json-ambiguous", "too large"),
    ],
)
@pytest.mark.parametrize("negated", [False, True])
def test_what_is_asked_for_and_not_there_decides_nothing(evidence, text, expression, reason, words, negated):
    asked = {"command": "say", "json": {expression: 0}}
    variant = evidence.run("say", text.encode()).done().read()
    trace = evaluate(prediction({"not": asked} if negated else asked), variant, PREFIX)
    assert (trace.truth, trace.reason) == (None, reason)
    assert words in sentence(trace.leaves()[0])


@pytest.mark.parametrize(
    ("text", "expression", "expected", "truth"),
    [
        ('[{"a": 1}, {"b": 2}]', "length([?b == `2`])", 1, True),  # some objects have it
        ('[{"f": ["UP"]}, {"f": []}]', "length([?contains(f, 'LOWER')])", 0, True),
        ("[]", "length([?b == `2`])", 0, True),  # there is nobody to have it
        ('{"a": null}', "a", 0, False),
        ('{"a": 1}', "b || `7`", 7, True),
        ('{"a": 1}', "not_null(b, a)", 1, True),
        ('{"n": 1, "n": 1}', "n", 1, True),
        ('{"l": [{"s": "x"}, {"s": "y"}]}', "length(l[?s == 'z'])", 0, True),
    ],
)
def test_what_may_be_missing_is_no_trouble(evidence, text, expression, expected, truth):
    variant = evidence.run("say", text.encode()).done().read()
    assert evaluate(prediction({"command": "say", "json": {expression: expected}}), variant, PREFIX).truth is truth
