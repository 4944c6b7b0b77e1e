"""The expression language: every operator and function, values from evidence, what is unknown, and what is refused."""

from __future__ import annotations

import ast
import json
import math
import time
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.judge.expression import evaluate_expression
from labrun.lab.expression import FUNCTIONS, MAX_DEPTH, MAX_LENGTH, check_expression, parse_expression
from labrun.protocol.state import LinkState, NodeState
from pydantic import ValidationError
from support.evidence_builder import Evidence, Seen, icmp, prediction, udp

PREFIX = "labs/lab/experiment/"
UNKNOWN = "unknown"  # a name whose step never ran


def said(tmp_path, values):
    """A command that prints these values as JSON; lists of names that are unknown are left out."""
    text = json.dumps({name: value for name, value in values.items() if value is not UNKNOWN})
    return Evidence(tmp_path / "experiment").run("say", text.encode()).done().read()


def let(values):
    """A name for each value: of the command's JSON, or of a step that never ran."""
    return {
        name: {"command": "never", "of": "exit"} if value is UNKNOWN else {"command": "say", "json": name}
        for name, value in values.items()
    }


def judge(tmp_path, expr, **values):
    return evaluate(prediction({"expr": expr, "let": let(values)}), said(tmp_path, values), PREFIX)


SAMPLES = [
    ("a + b == 5", {"a": 2, "b": 3}, True),
    ("a + b == 6", {"a": 2, "b": 3}, False),
    ("a - b == -1", {"a": 2, "b": 3}, True),
    ("a - b == 1", {"a": 2, "b": 3}, False),
    ("a * b == 6", {"a": 2, "b": 3}, True),
    ("a * b == 5", {"a": 2, "b": 3}, False),
    ("a / b == 1.5", {"a": 3, "b": 2}, True),
    ("a / b == 1", {"a": 3, "b": 2}, False),
    ("a // b == 1", {"a": 3, "b": 2}, True),
    ("a // b == 1.5", {"a": 3, "b": 2}, False),
    ("a % b == 1", {"a": 3, "b": 2}, True),
    ("a % b == 0", {"a": 3, "b": 2}, False),
    ("-a == b", {"a": 3, "b": -3}, True),
    ("-a == b", {"a": 3, "b": 3}, False),
    ("a == b", {"a": 3, "b": 3.0}, True),
    ("a != b", {"a": 3, "b": 4}, True),
    ("a != b", {"a": 3, "b": 3}, False),
    ("a < b", {"a": 3, "b": 4}, True),
    ("a < b", {"a": 3, "b": 3}, False),
    ("a <= b", {"a": 3, "b": 3}, True),
    ("a <= b", {"a": 3, "b": 2}, False),
    ("a > b", {"a": 4, "b": 3}, True),
    ("a > b", {"a": 3, "b": 3}, False),
    ("a >= b", {"a": 3, "b": 3}, True),
    ("a >= b", {"a": 2, "b": 3}, False),
    ("a <= b <= c", {"a": 1, "b": 2, "c": 3}, True),
    ("a <= b <= c", {"a": 1, "b": 4, "c": 3}, False),
    ("a in b", {"a": "es", "b": "yes"}, True),
    ("a in b", {"a": "no", "b": "yes"}, False),
    ("a not in b", {"a": "no", "b": "yes"}, True),
    ("a not in b", {"a": "es", "b": "yes"}, False),
    ("a == 'x' + b", {"a": "xy", "b": "y"}, True),
    ("a < b", {"a": 0.1, "b": 0.2}, True),
    ("a + b == 0.3", {"a": 0.1, "b": 0.2}, True),
    ("a / b * b == a", {"a": 1, "b": 3}, True),
    ("a > 1 and b > 1", {"a": 2, "b": 2}, True),
    ("a > 1 and b > 1", {"a": 2, "b": 1}, False),
    ("a > 1 or b > 1", {"a": 1, "b": 2}, True),
    ("a > 1 or b > 1", {"a": 1, "b": 1}, False),
    ("not a > 1", {"a": 1}, True),
    ("not a > 1", {"a": 2}, False),
    ("abs(a) == 3", {"a": -3}, True),
    ("abs(a) == -3", {"a": -3}, False),
    ("min(a, b, c) == 1", {"a": 3, "b": 1, "c": 2}, True),
    ("min(a, b) == 3", {"a": 3, "b": 1}, False),
    ("max(a, b, c) == 3", {"a": 3, "b": 1, "c": 2}, True),
    ("max(a, b) == 1", {"a": 3, "b": 1}, False),
    ("round(a) == 3", {"a": 2.6}, True),
    ("round(a, 1) == 2.6", {"a": 2.64}, True),
    ("round(a, -2) == 1300", {"a": 1280}, True),
    ("round(a) == 2", {"a": 2.6}, False),
    ("round(a, 300) == 2.5 and round(a, -300) == 0", {"a": 2.5}, True),
    ("len(a) == 3", {"a": "abc"}, True),
    ("len(a) == 4", {"a": "abc"}, False),
    ("2 * (a + b) == c", {"a": 1, "b": 2, "c": 6}, True),
    ("(a > 1) + (b > 1) == 1", {"a": 2, "b": 1}, True),  # truths can be counted
    ("a == True", {"a": True}, True),
    # What is unknown is contagious ...
    ("a + b == 5", {"a": 2, "b": UNKNOWN}, None),
    ("-a == 5", {"a": UNKNOWN}, None),
    ("abs(a) == 5", {"a": UNKNOWN}, None),
    ("min(a, b) == 5", {"a": 5, "b": UNKNOWN}, None),
    ("not a == 5", {"a": UNKNOWN}, None),
    ("a != a", {"a": UNKNOWN}, None),
    ("a < b < c", {"a": 1, "b": 2, "c": UNKNOWN}, None),
    ("a > 1 and b > 1", {"a": 2, "b": UNKNOWN}, None),
    ("a > 1 or b > 1", {"a": 1, "b": UNKNOWN}, None),
    # ... unless the known side decides.
    ("a > 1 and b > 1", {"a": 1, "b": UNKNOWN}, False),
    ("b > 1 and a > 1", {"a": 1, "b": UNKNOWN}, False),
    ("a > 1 or b > 1", {"a": 2, "b": UNKNOWN}, True),
    ("b > 1 or a > 1", {"a": 2, "b": UNKNOWN}, True),
    ("a < b < c", {"a": 3, "b": 2, "c": UNKNOWN}, False),
    ("not (a > 1 and b > 1)", {"a": 1, "b": UNKNOWN}, True),
]


@pytest.mark.parametrize(("expr", "values", "truth"), SAMPLES)
def test_every_operator_and_function(tmp_path, expr, values, truth):
    trace = judge(tmp_path, expr, **values)
    assert trace.truth is truth
    assert trace.reason == ("evidence-missing" if truth is None else None)
    assert trace.actual == {True: "true", False: "false"}.get(truth, trace.actual)
    assert (str(trace.subject), trace.operator, trace.expected) == (expr, "expr", "true")


@pytest.mark.parametrize(
    ("expr", "values", "reason", "text"),
    [
        ("a / b == 1", {"a": 1, "b": 0}, "expression-failed", "1, 0"),
        ("a // b == 1", {"a": 1, "b": 0}, "expression-failed", "1, 0"),
        ("a % b == 1", {"a": 1, "b": 0}, "expression-failed", "1, 0"),
        ("a + b == 1", {"a": "x", "b": 1}, "type-mismatch", '"x" and 1: arithmetic needs numbers'),
        ("a + 1 == 2", {"a": True}, "type-mismatch", "true, 1: arithmetic needs numbers"),
        ("-a == b", {"a": True, "b": 1}, "type-mismatch", "true: arithmetic needs numbers"),
        ("max(a, 0) == 1", {"a": True}, "type-mismatch", "true, 0: arithmetic needs numbers"),
        ("a * b == 1", {"a": "x", "b": 3}, "type-mismatch", "arithmetic needs numbers"),
        ("a % b == 'x'", {"a": "%s", "b": "x"}, "type-mismatch", "arithmetic needs numbers"),
        ("a == b", {"a": "5", "b": 5}, "type-mismatch", '"5" and 5: a text and a number cannot be compared'),
        ("a != b", {"a": "5", "b": 5}, "type-mismatch", "a text and a number cannot be compared"),
        ("a < b", {"a": "5", "b": 5}, "type-mismatch", "cannot be compared"),
        ("a in b", {"a": 5, "b": "5"}, "type-mismatch", "5"),
        ("a in b", {"a": 5, "b": 5}, "type-mismatch", "5"),
        ("-a == 1", {"a": "x"}, "expression-failed", '"x"'),
        ("abs(a) == 1", {"a": "x"}, "type-mismatch", '"x"'),
        ("len(a) == 1", {"a": 5}, "expression-failed", "5"),
        ("min(a) == 1", {"a": 5}, "expression-failed", "5"),
        ("max(a, b) == 1", {"a": 5, "b": "x"}, "type-mismatch", "5"),
        ("round(a, b) == 1", {"a": 5, "b": -999999999}, "expression-failed", "round to -999999999 digits"),
        ("round(a, b) == 1", {"a": 5, "b": -301}, "expression-failed", "round to -301 digits"),
        ("round(a, b) == 1", {"a": 5, "b": 301}, "expression-failed", "round to 301 digits"),
        ("round(a, b) == 1", {"a": 5.5, "b": "x"}, "type-mismatch", '"x"'),
        ("round(a, b, b) == 1", {"a": 5.5, "b": 1}, "expression-failed", "5.5"),
        ("abs(a, b) == 1", {"a": 5.5, "b": 1}, "expression-failed", "5.5"),
        ("a * a * a * a > 0", {"a": 10**2000}, "expression-failed", "the result is too large"),
        ("a > 0", {"a": 10**4000}, "expression-failed", "a is too large"),
        ("a > 0", {"a": [1]}, "type-mismatch", "a is [1], neither a number nor a text"),
        ("a > 0", {"a": None}, "type-mismatch", "a is nothing, neither a number nor a text"),
    ],
)
def test_an_error_is_never_a_refutation(tmp_path, expr, values, reason, text):
    trace = judge(tmp_path, expr, **values)
    assert (trace.truth, trace.reason) == (None, reason)
    assert text in sentence(trace)


def test_what_goes_wrong_does_not_matter_where_the_other_side_decides(tmp_path):
    assert judge(tmp_path, "a > 1 or a / b > 1", a=2, b=0).truth is True


def test_the_value_of_every_sub_expression_is_in_the_trace(tmp_path):
    trace = judge(tmp_path, "2 * (a + b) == c or not a < 3", a=1, b=2, c=7)
    assert trace.truth is False
    assert [sentence(part) for part in trace.children] == [
        "a = 1",
        "b = 2",
        "a + b = 3",
        "2 * (a + b) = 6",
        "c = 7",
        "2 * (a + b) == c = false",
        "a = 1",
        "a < 3 = true",
        "not a < 3 = false",
        "2 * (a + b) == c or not a < 3 = false",
    ]
    assert sentence(trace) == "2 * (a + b) == c or not a < 3, where a = 1, b = 2, c = 7"
    assert trace.leaves() == (trace,), "sub-values are no predictions of their own"


def test_unknown_parts_say_why(tmp_path):
    trace = judge(tmp_path, "a + b == 3", a=1, b=UNKNOWN)
    why = "step 'never' is not in the evidence"
    assert [sentence(part) for part in trace.children] == [
        "a = 1",
        f"b = unknown ({why})",
        f"a + b = unknown ({why})",
        f"a + b == 3 = unknown ({why})",
    ]
    assert [part.reason for part in trace.children] == [None, *["evidence-missing"] * 3]
    assert sentence(trace) == f"a + b == 3, where a = 1, b = unknown ({why}); {why}"


def test_huge_texts_cost_little_and_are_told_short(tmp_path):
    big = "x" * 4_000_000
    begun = time.monotonic()
    trace = judge(tmp_path, "len(a + a) == 8000000 and 'y' not in a", a=big)
    assert trace.truth is True
    assert time.monotonic() - begun < 5
    assert len(sentence(trace)) < 1000
    assert all(len(sentence(part)) < 1000 for part in trace.children)
    assert (
        judge(tmp_path / "more", "len(a + a + a) > 0", a=big).reason == "type-mismatch"
    )  # past ten million characters


def test_whole_numbers_stay_small_enough_to_be_shown(tmp_path):
    product = "*".join("a" * 20)
    begun = time.monotonic()
    trace = judge(tmp_path, f"{product} > 0", a=10**1000)
    assert (trace.truth, trace.reason) == (None, "expression-failed")
    assert time.monotonic() - begun < 5


# --- values from evidence ---


@pytest.fixture
def evidence(tmp_path):
    evidence = Evidence(tmp_path / "experiment").capture("seen", "lo", at=(0, 10))
    evidence.run("probe", b'{"n": 3, "s": "x"}\n', b"oops\n", at=(20, 270))
    evidence.captured("seen", ("lo",), Seen(30, icmp()), Seen(40, icmp()), Seen(50, udp(53)))
    links = (
        LinkState(1, "lo", 65536, True, "UNKNOWN", ("UP",), "loopback"),
        LinkState(2, "eth0", 1500, True, "UP", ("UP",), "ether"),
    )
    return evidence.snapshot("state", {"host": NodeState(links=links)})


VALUES = [
    ({"packets": {"on": "host.lo", "during": "probe"}}, "3"),
    ({"packets": {"on": "host.lo", "during": "probe", "fields": {"udp.dstport": 53}}}, "1"),
    ({"command": "probe", "of": "exit"}, "0"),
    ({"command": "probe", "of": "stdout"}, '"{"n": 3, "s": "x"}"'),
    ({"command": "probe", "of": "stderr"}, '"oops"'),
    ({"command": "probe", "of": "duration"}, "0.25"),
    ({"command": "probe", "json": "n"}, "3"),
    ({"command": "probe", "json": "s"}, '"x"'),
    ({"links": {"at": "state"}}, "2"),
    ({"links": {"at": "state", "where": {"name": "eth0"}}, "of": "mtu"}, "1500"),
    ({"links": {"at": "state", "where": {"name": "eth0"}}, "of": "up"}, "true"),
    ({"links": {"at": "state", "where": {"name": "lo"}}, "of": "operstate"}, '"UNKNOWN"'),
]


@pytest.mark.parametrize(("value", "shown"), VALUES)
def test_what_a_name_stands_for(evidence, value, shown):
    variant = evidence.capture_ended("seen", 3, during=(0, 1000)).done().read()
    trace = evaluate(prediction({"expr": "v == v", "let": {"v": value}}), variant, PREFIX)
    assert trace.truth is True, sentence(trace)
    assert sentence(trace.children[0]) == f"v = {shown}"


@pytest.mark.parametrize(
    ("value", "reason", "text"),
    [
        ({"packets": {"on": "host.lo", "during": "probe"}}, "packets-dropped", "lost 5 packets"),
        ({"packets": {"on": "host.eth9", "during": "probe"}}, "evidence-missing", "a capture on host.eth9"),
        ({"command": "nobody", "of": "exit"}, "evidence-missing", "nobody"),
        ({"command": "nobody", "of": "duration"}, "evidence-missing", "nobody"),
        ({"command": "probe", "json": "absent"}, "json-nothing-found", "no object has the key 'absent'"),
        ({"command": "loud", "of": "stdout"}, "output-cut", "more than was kept"),
        ({"command": "loud", "json": "n"}, "output-cut", "more than was kept"),
        ({"command": "words", "json": "n"}, "not-json", "not JSON"),
        ({"command": "failed", "of": "duration"}, "timeout", "10 s"),
        ({"command": "server", "of": "exit"}, "still-running", "still running"),
        ({"links": {"at": "state"}, "of": "mtu"}, "not-one", "there are 2 of links"),
        ({"links": {"at": "state", "where": {"name": "x"}}, "of": "mtu"}, "not-one", "there are 0 of links"),
        ({"links": {"at": "state", "where": {"name": "lo"}}, "of": "flags"}, "type-mismatch", "flags of links is"),
        ({"links": {"at": "state", "where": {"name": "lo"}}, "of": "master"}, "type-mismatch", "is nothing"),
        ({"routes": {"at": "state"}}, "not-observable", "routes of host"),
    ],
)
def test_what_is_not_known_of_a_value(evidence, value, reason, text):
    evidence.run("loud", b"{}", size=99).run("words", b"no JSON").start("server")
    evidence.process_ended("server", stopped=True).capture_ended("seen", 3, during=(0, 1000), drops=5)
    variant = evidence.run("failed", status="timeout", message="not done after 10 s").done().read()
    trace = evaluate(prediction({"expr": "v == v", "let": {"v": value}}), variant, PREFIX)
    if reason == "evidence-missing":
        reason = "timeout"  # the variant's first trouble explains what is not there
    assert (trace.truth, trace.reason) == (None, reason)
    assert text in sentence(trace)


# --- what is refused when the lab is loaded ---


HOSTILE = {
    "attribute": "a.b == 1",
    "dunder attribute": "a.__class__ == 1",
    "subscript": "a[0] == 1",
    "slice": "a[0:9] == 1",
    "lambda": "(lambda: a)() == 1",
    "list comprehension": "[x for x in a] == 1",
    "generator": "max(x for x in a) == 1",
    "set comprehension": "{x for x in a} == 1",
    "dict comprehension": "{x: x for x in a} == 1",
    "list": "[a] == 1",
    "tuple": "(a, 1) == 1",
    "dict": "{'a': a} == 1",
    "set": "{a} == 1",
    "walrus": "(b := a) == 1",
    "f-string": "f'{a}' == '1'",
    "conditional": "(1 if a else 2) == 1",
    "power": "a ** 99999 == 1",
    "shift": "1 << a == 1",
    "bits": "a | 1 == 1",
    "xor": "a ^ 1 == 1",
    "bits and": "a & 1 == 1",
    "invert": "~a == 1",
    "plus sign": "+a == 1",
    "matrix": "a @ a == 1",
    "await": "await a == 1",
    "yield": "(yield a) == 1",
    "star": "max(*a) == 1",
    "keywords": "max(a, key=abs) == 1",
    "double star": "max(**a) == 1",
    "no arguments": "max() == a",
    "open": "open(a) == 1",
    "eval": "eval(a) == 1",
    "import": "__import__('os') == a",
    "dunder name": "__builtins__ == a",
    "a name called": "a(1) == 1",
    "a call called": "abs(a)(1) == 1",
    "is": "a is 1",
    "none": "a == None",
    "ellipsis": "a == ...",
    "bytes": "a == b'x'",
    "complex": "a == 1j",
    "statement": "a = 1",
    "import statement": "import os",
    "two lines": "a == 1\na == 2",
    "semicolon": "a == 1; a",
    "nothing": "",
    "white space": "   ",
    "comment": "# a == 1",
    "unfinished": "a == ",
    "parentheses": "(a == 1",
    "null byte": "a == '\0'",
    "raw null": "a\0 == 1",
    "surrogate": "a == '\ud800'",
    "too long": "a == 1 " + "or a == 2 " * 60,
    "too deep": "(" * 40 + "a" + ")" * 40 + " + 1" * 40 + " == 1",
    "deep parentheses": "not " + "(" * 240 + "a" + ")" * 240,
    "deep minus": "-" * 480 + "a == 1",
    "deep not": "not " * 100 + "a",
    "a function as a value": "abs == a",
    "unknown name": "a == bb",
    "no comparison": "a + 1",
    "a bare name": "a",
    "a constant": "1 == 1",
    "a huge number": "a == " + "9" * 450,
    "underscores": "a == _",
    "an escape that is none": "a == '\\>'",
}


@pytest.mark.parametrize("expr", HOSTILE.values(), ids=HOSTILE)
def test_what_is_refused(expr):
    begun = time.monotonic()
    problem = check_expression(expr, ["a"])
    if expr == HOSTILE["null byte"] or expr == HOSTILE["a huge number"]:
        assert problem is None or "not" in problem  # a text may have it, a number may be long: both are harmless
    else:
        assert problem
    assert time.monotonic() - begun < 1
    if problem:
        with pytest.raises(ValidationError):
            prediction({"expr": expr, "let": {"a": {"command": "say", "of": "exit"}}})


@pytest.mark.parametrize(
    ("expr", "says"),
    [
        ("a.b == 1", "Attribute is not part of this language (arithmetic, comparison, and, or, not)"),
        ("[a] == 1", "List is not part of this language"),
        ("a ** 2 == 1", "Pow is not part of this language"),
        ("open(a) == 1", "only these functions can be called: abs, min, max, round, len"),
        ("max(a, key=1) == 1", "max takes plain arguments"),
        ("a == None", "not a number or a text: None"),
        ("a == 1j", "not a number or a text: 1j"),
        ("sennt == a", "unknown value 'sennt'."),
        ("aa == a", "unknown value 'aa'. Did you mean 'a'?"),
        ("1 == 1", "the value 'a' is not used"),
        ("a + 1", "it must be true or false: compare something, such as `sent == 2 * seen`"),
        ("a ==", "not an expression: invalid syntax"),
        ("a == 1 " + "or a == 2 " * 60, f"longer than {MAX_LENGTH} characters: split it into several predictions"),
        ("not " * 40 + "a", f"nested more than {MAX_DEPTH} levels deep"),
        ("abs == a", "abs is a function: call it, as in abs(...)"),
    ],
)
def test_what_its_author_is_told(expr, says):
    assert check_expression(expr, ["a"]).startswith(says)


def test_the_limits_themselves_are_allowed():
    longest = "a == 1" + " " * (MAX_LENGTH - 6)
    assert len(longest) == MAX_LENGTH and check_expression(longest, ["a"]) is None
    assert check_expression(longest + " ", ["a"]) is not None
    deepest = "-" * (MAX_DEPTH - 4) + "a == 1"
    assert check_expression(deepest, ["a"]) is None


@settings(max_examples=300)
@given(st.text(max_size=80) | st.text(alphabet="ab()+-*/%<>=!., 019'\"[]{}:@&|~^\\\n\0", max_size=60))
@example("(" * 400)
@example("a" + ".a" * 200)
def test_whatever_is_written_is_an_expression_or_a_sentence(text):
    problem = check_expression(text, ["a", "b"])
    assert problem is None or problem.strip()
    if problem is None:
        parse_expression(text)


# --- against Python itself ---


NUMBERS = st.integers(-50, 50) | st.floats(-50, 50, allow_nan=False).map(lambda value: round(value, 3))
NAMES = {"a": 7, "b": -3, "c": 2.5, "d": 0}


def _atoms():
    return st.sampled_from(list(NAMES)) | NUMBERS.map(lambda value: f"({value!r})")


def _bigger(inner):
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(pair, st.sampled_from(["+", "-", "*", "/", "//", "%"])).map(
            lambda x: f"({x[0][0]} {x[1]} {x[0][1]})"
        ),
        inner.map(lambda x: f"(-{x})"),
        inner.map(lambda x: f"abs({x})"),
        inner.map(lambda x: f"round({x}, 2)"),
        pair.map(lambda x: f"min({x[0]}, {x[1]})"),
        pair.map(lambda x: f"max({x[0]}, {x[1]})"),
    )


ARITHMETIC = st.recursive(_atoms(), _bigger, max_leaves=6)
SIGNS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
COMPARISON = st.tuples(ARITHMETIC, SIGNS, ARITHMETIC).map(" ".join) | st.tuples(
    ARITHMETIC, SIGNS, ARITHMETIC, SIGNS, ARITHMETIC
).map(" ".join)
LOGIC = st.recursive(
    COMPARISON.map(lambda text: f"({text})"),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(lambda x: f"({' '.join(x)})"),
        inner.map(lambda x: f"(not {x})"),
    ),
    max_leaves=4,
)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return said(tmp_path_factory.mktemp("python"), NAMES)


class _Exact(ast.NodeTransformer):
    """Every number as the fraction that its decimal digits say."""

    def visit_Constant(self, node):
        if isinstance(node.value, bool | str):
            return node
        call = ast.Call(ast.Name("Fraction", ast.Load()), [ast.Constant(repr(node.value))], [])
        return ast.copy_location(call, node)


def exactly(expr):
    tree = ast.fix_missing_locations(_Exact().visit(ast.parse(expr, mode="eval")))
    # round() takes its digits as a whole number
    given = {name: Fraction(repr(value)) for name, value in NAMES.items()}
    functions = {name: __builtins__[name] for name in FUNCTIONS} | {
        "round": lambda value, digits=0: round(value, int(digits))
    }
    return eval(compile(tree, "", "eval"), {"__builtins__": {**functions, "Fraction": Fraction}}, given)


@settings(max_examples=400, deadline=None)
@given(expr=LOGIC)
def test_it_is_pythons_arithmetic(recorded, expr):
    """The same truth as Python's own eval over exact fractions; where that raises, unknown, or what the side without it decides."""
    used = _names(expr) & set(NAMES)
    if not used:
        expr, used = f"a == 7 and {expr}", {"a"}
    if check_expression(expr, used) is not None:
        return  # too long or too deep
    leaf = prediction({"expr": expr, "let": let({name: NAMES[name] for name in used})})
    trace = evaluate_expression(leaf, recorded, PREFIX, "")
    try:
        wanted = exactly(expr)
    except ZeroDivisionError:
        tree = ast.parse(expr, mode="eval").body
        if isinstance(tree, ast.Compare) and len(tree.ops) == 1:  # nothing beside it could decide
            assert trace.reason == "expression-failed"
        return
    if trace.truth is None:  # Python stopped before it came to what cannot be computed
        assert trace.reason == "expression-failed"
        return
    assert trace.truth is bool(wanted)
    assert trace.children[-1].actual == ("true" if wanted else "false")


def _names(expr):
    return {node.id for node in ast.walk(ast.parse(expr, mode="eval")) if isinstance(node, ast.Name)}


@settings(max_examples=100, deadline=None)
@given(expr=ARITHMETIC)
def test_every_value_is_the_one_that_python_has(recorded, expr):
    used = _names(expr) & set(NAMES)
    if not used or check_expression(f"{expr} == 0", used) is not None:
        return
    leaf = prediction({"expr": f"{expr} == 0", "let": let({name: NAMES[name] for name in used})})
    trace = evaluate_expression(leaf, recorded, PREFIX, "")
    for part in trace.children:
        if part.truth is None and part.reason is None:
            value = exactly(str(part.subject))
            assert part.actual == str(value) or math.isclose(float(part.actual), value)


@pytest.mark.parametrize(
    ("printed", "truth"),
    [("1000", True), (" 1e3\n", True), ("1000.0", True), ("1_000", None), ("1,000", None), ("", None)],
)
def test_what_a_command_prints_is_a_number_as_people_write_it(tmp_path, printed, truth):
    variant = Evidence(tmp_path / "experiment").run("say", printed.encode()).done().read()
    asked = {"expr": "n == 1000", "let": {"n": {"command": "say", "of": "number"}}}
    trace = evaluate(prediction(asked), variant, PREFIX)
    assert (trace.truth, trace.reason) == (truth, None if truth else "type-mismatch")
