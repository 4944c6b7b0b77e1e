"""Predictions in time over the moments of a repeated snapshot: true, false, unknown, and what was not watched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from labrun.evidence.record import EvidenceError
from labrun.judge.evaluate import evaluate
from labrun.judge.evaluation import sentence
from labrun.logic.compare import all_of, any_of, negate
from labrun.protocol.events import Load
from labrun.protocol.state import KernelState, NeighbourState, NodeState, Sample
from support.evidence_builder import Evidence, prediction

PREFIX = "labs/lab/experiment/"


@pytest.fixture
def evidence(tmp_path):
    return Evidence(tmp_path / "experiment")


def entries(state):
    """A node whose one neighbour is in this state; None: it has none; "?": its neighbours could not be read."""
    if state == "?":
        return NodeState(unavailable={"neighbours": "the kernel said EBUSY"})
    found = () if state is None else (NeighbourState("eth0", "inet", "10.0.0.2", state),)
    return NodeState(neighbours=found)


def moments(*states, every=100, first=7000.0):
    return [(first + number * every, entries(state)) for number, state in enumerate(states)]


def leaf(state="STALE", count=1, **time):
    return {"neighbours": {"at": "watch", "in": "host", "where": {"state": state}}, "count": count, **time}


def judge(evidence, predicted):
    return evaluate(prediction(predicted), evidence.read(), PREFIX)


WITHIN = {"eventually": {"within": "300ms", "every": "100ms"}}
NEVER = {"never": {"for": "300ms", "every": "100ms"}}
ALWAYS = {"consistently": {"for": "300ms", "every": "100ms"}}
R, S = "REACHABLE", "STALE"


@pytest.mark.parametrize(
    ("states", "time", "truth", "words"),
    [
        ((R, R, S, S), WITHIN, True, "it held after 0.2 s (moment 3 of 4)"),
        ((S, R, R, R), WITHIN, True, "it held after 0 s (moment 1 of 4)"),
        ((R, R, R, R), WITHIN, False, "it did not hold at any of 4 moments"),
        ((R, "?", S, R), WITHIN, True, "it held after 0.2 s (moment 3 of 4)"),
        ((R, "?", R, R), WITHIN, None, "moment 2 of 4 is not known: neighbours of host: the kernel said EBUSY"),
        ((R, R, R, R), NEVER, True, "it did not hold at any of 4 moments"),
        ((R, R, S, R), NEVER, False, "it held after 0.2 s (moment 3 of 4)"),
        ((R, "?", S, R), NEVER, False, "it held after 0.2 s (moment 3 of 4)"),
        ((R, "?", R, R), NEVER, None, "moment 2 of 4 is not known: neighbours of host: the kernel said EBUSY"),
        ((S, S, S, S), ALWAYS, True, "it held at all 4 moments"),
        ((S, S, R, S), ALWAYS, False, "it did not hold after 0.2 s (moment 3 of 4)"),
        ((S, "?", R, S), ALWAYS, False, "it did not hold after 0.2 s (moment 3 of 4)"),
        ((S, "?", S, S), ALWAYS, None, "moment 2 of 4 is not known: neighbours of host: the kernel said EBUSY"),
    ],
)
def test_the_moments_decide(evidence, states, time, truth, words):
    trace = judge(evidence.series("watch", moments(*states)).done(), leaf(**time))
    (word,) = time
    assert (trace.truth, trace.operator, trace.expected) == (truth, word, "== 1")
    assert trace.reason == ("not-observable" if truth is None else None)
    span = "within 0.3 s" if word == "eventually" else "for 0.3 s"
    assert sentence(trace) == f'neighbours of host at watch where state == "STALE": count: {word} {span}: {words}'
    assert trace.actual == words.partition(":")[0]


@pytest.mark.parametrize(("states", "line"), [((R, R, S, S), 3), ((S, R, R, R), 1), ((R, R, R, R), 4)])
def test_the_evidence_is_the_line_of_the_moment_that_decided(evidence, states, line):
    trace = judge(evidence.series("watch", moments(*states)).done(), leaf(**WITHIN))
    (ref,) = trace.refs
    assert (ref.file, ref.line) == (f"{PREFIX}snapshots/watch.jsonl", line)
    path = "nodes.host.neighbours[0]" if states[line - 1] == S else "nodes.host.neighbours"
    assert ref.path == path


@pytest.mark.parametrize(
    ("states", "time", "truth"),
    [
        ((R, R), WITHIN, None),  # it may have come true after the last look
        ((R, S), WITHIN, True),  # nothing that follows changes this
        ((R, R), NEVER, None),
        ((R, S), NEVER, False),
        ((S, S), ALWAYS, None),
        ((S, R), ALWAYS, False),
    ],
)
def test_what_was_not_watched_to_the_end_is_sure_only_where_a_moment_decided(evidence, states, time, truth):
    trace = judge(evidence.series("watch", moments(*states)).done(), leaf(**time))
    assert trace.truth is truth
    if truth is None:
        assert trace.reason == "not-watched-to-the-end"
        assert sentence(trace) == "'watch' was watched for less than 0.3 s"
        assert (trace.path, trace.operator) == ("", *time)


def test_what_was_not_watched_on_a_busy_machine_says_so(evidence):
    busy = evidence.series("watch", moments(R, R), at=(0, 500), load=Load(400_000, 0, 0)).done()
    assert "'watch' was watched for less than 0.3 s; this machine was busy" in sentence(judge(busy, leaf(**NEVER)))


def test_a_longer_time_than_was_recorded_is_not_known(evidence):
    """As `labrun judge --lab edited.yaml` may ask."""
    variant = evidence.series("watch", moments(R, R, R, R)).done().read()
    asked = leaf(never={"for": "1s", "every": "100ms"})
    assert evaluate(prediction(asked), variant, PREFIX).reason == "not-watched-to-the-end"
    assert evaluate(prediction(leaf(**NEVER)), variant, PREFIX).truth is True


def test_moments_after_the_time_do_not_count(evidence):
    """Another prediction needed the snapshot for longer, or the machine was busy: late is late."""
    variant = evidence.series("watch", moments(R, R, R, R, S)).done().read()
    assert evaluate(prediction(leaf(**WITHIN)), variant, PREFIX).truth is False
    assert evaluate(prediction(leaf(**NEVER)), variant, PREFIX).truth is True
    assert evaluate(prediction(leaf(R, **ALWAYS)), variant, PREFIX).truth is True
    longer = {"eventually": {"within": "400ms", "every": "100ms"}}
    assert evaluate(prediction(leaf(**longer)), variant, PREFIX).truth is True


def test_the_end_of_the_time_belongs_to_it(evidence):
    variant = evidence.series("watch", moments(R, R, R, S)).done().read()
    assert evaluate(prediction(leaf(**WITHIN)), variant, PREFIX).truth is True


@pytest.mark.parametrize(("last", "truth"), [(150, False), (149, None)])
def test_the_last_look_may_be_one_period_early_and_a_little(evidence, last, truth):
    """300 ms, every 100 ms, and 50 ms for a busy machine: from 150 ms on it was watched to the end."""
    at = [(7000.0, entries(R)), (7000.0 + last, entries(R))]
    assert judge(evidence.series("watch", at).done(), leaf(**WITHIN)).truth is truth


def test_a_late_moment_does_not_stand_for_those_that_were_missed(evidence):
    """The machine slept from 100 ms to 5 s: nobody saw the end of the 300 ms."""
    at = [(7000.0, entries(R)), (7100.0, entries(R)), (12000.0, entries(R))]
    trace = judge(evidence.series("watch", at).done(), leaf(**NEVER))
    assert (trace.truth, trace.reason) == (None, "not-watched-to-the-end")


@pytest.mark.parametrize(
    ("states", "time", "truth"),
    [((R, R), WITHIN, False), ((R, S), WITHIN, True), ((R, R), NEVER, True), ((R, S), NEVER, False),
     ((S, S), ALWAYS, True), ((S, R), ALWAYS, False)],
)  # fmt: skip
@pytest.mark.parametrize(("gap", "enough"), [(350, True), (351, False)])
def test_silence_over_a_gap_proves_nothing(evidence, states, time, truth, gap, enough):
    """Every 100 ms: three periods and 50 ms for a busy machine, no more. What was seen stays seen."""
    ((word, times),) = time.items()
    lasting = {word: {**times, ("within" if word == "eventually" else "for"): "400ms"}}
    at = [(7000.0, entries(states[0])), (7000.0 + gap, entries(states[1])), (7400.0, entries(states[1]))]
    trace = judge(evidence.series("watch", at).done(), leaf(**lasting))
    silent = truth is (word != "eventually")
    if enough or not silent:
        assert trace.truth is truth
    else:
        assert (trace.truth, trace.reason) == (None, "watched-with-gaps")
        assert sentence(trace) == "nobody looked at 'watch' for 0.351 s of the 0.4 s"
        assert (trace.path, trace.operator) == ("", word)


@pytest.mark.parametrize(
    ("unseen", "doubt"), [("host.neighbours", True), ("host.links", False), ("b.neighbours", False)]
)
@pytest.mark.parametrize(
    ("state", "time", "truth"),
    [(R, WITHIN, False), (S, WITHIN, True), (R, NEVER, True), (S, NEVER, False), (S, ALWAYS, True), (R, ALWAYS, False)],
)
def test_a_state_that_no_look_saw_may_have_been_any(evidence, state, time, truth, unseen, doubt):
    """What a look saw decides; that it was at no moment does not, where an object had states between two looks."""
    ((word, _),) = time.items()
    at = [(7000.0 + 100 * number, entries(state)) for number in range(4)]
    trace = judge(evidence.series("watch", at, unseen=(unseen,)).done(), leaf(**time))
    if doubt and truth is (word != "eventually"):
        assert (trace.truth, trace.reason) == (None, "watched-with-gaps")
        assert sentence(trace) == "neighbours of host changed faster than anybody looked at 'watch'"
    else:
        assert trace.truth is truth


@pytest.mark.parametrize(("state", "truth"), [(S, True), (R, None)])
def test_one_moment(evidence, state, truth):
    trace = judge(evidence.series("watch", moments(state)).done(), leaf(**WITHIN))
    assert trace.truth is truth


@pytest.mark.parametrize("time", [{"for": "50ms", "every": "100ms"}, {"for": "1s", "every": "2s"}])
def test_a_time_with_one_look_alone_is_refused(time):
    with pytest.raises(ValueError, match="one look alone"):
        prediction(leaf(consistently=time))


@pytest.mark.parametrize("often", [100, 50, 20, 10])
def test_a_prediction_s_looks_are_its_own(evidence, often):
    """Another prediction looks more often at the same snapshot: what it alone saw decides nothing here."""
    states = [R if at % 100 == 50 and often != 100 else S for at in range(0, 401, often)]
    variant = moments(*states, every=often)
    found = judge(evidence.series("watch", variant).done(), leaf("REACHABLE", never={"for": "400ms", "every": "100ms"}))
    assert found.truth is True
    assert "5 moments" in found.actual


def test_what_the_kernel_reported_between_two_looks_is_a_look(evidence):
    looks = [*moments(S, S, S), (7050.0, entries(R))]
    evidence.series("watch", sorted(looks, key=lambda look: look[0]), changes=(7050.0,)).done()
    found = judge(evidence, leaf("REACHABLE", never={"for": "200ms", "every": "100ms"}))
    assert found.truth is False and "after 0.05 s" in found.actual


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda evidence: evidence.done(), "evidence-missing"),
        (lambda evidence: evidence.series("watch", []).done(), "evidence-missing"),
        (lambda evidence: evidence.series("watch", moments(S), ship=False).done(), "evidence-missing"),
        (lambda evidence: evidence.series("watch", moments(S), ended=False).fault("sandbox-died"), "sandbox-died"),
        (
            lambda evidence: evidence.series("watch", [], result=None, status="failed", message="x").done(),
            "step-failed",
        ),
        # A snapshot that was made once says nothing about time.
        (lambda evidence: evidence.snapshot("watch", {"host": entries(S)}).done(), "evidence-missing"),
    ],
)
@pytest.mark.parametrize("time", [WITHIN, NEVER, ALWAYS])
def test_without_moments_nothing_is_known(evidence, build, reason, time):
    trace = judge(build(evidence), leaf(**time))
    assert (trace.truth, trace.reason, trace.actual) == (None, reason, None)
    assert (trace.path, trace.operator) == ("", *time)
    assert str(trace.subject) == f"{trace.operator} {'within' if time is WITHIN else 'for'} 0.3 s"
    assert sentence(trace).startswith("the moments of 'watch' ")


def test_without_a_word_of_time_the_first_moment_counts(evidence):
    variant = evidence.series("watch", moments(S, R, R)).done().read()
    trace = evaluate(prediction(leaf()), variant, PREFIX)
    assert (trace.truth, trace.refs[0].line) == (True, 1)
    assert evaluate(prediction(leaf(R)), variant, PREFIX).truth is False


def test_a_moment_that_is_cut_off_is_damaged_evidence(evidence):
    evidence.series("watch", moments(S), ship=False).piece("snapshots/watch.jsonl", b'{"t_ns": 1, "st')
    variant = evidence.done().read()
    with pytest.raises(EvidenceError, match=r"watch\.jsonl"):
        evaluate(prediction(leaf(**WITHIN)), variant, PREFIX)


def test_several_checks_at_a_moment_must_hold_together(evidence):
    variant = evidence.series("watch", moments(R, S, None, None)).done().read()
    both = {"neighbours": {"at": "watch"}, "count": {"ge": 1, "le": 1}, "each": {"state": S}}
    trace = evaluate(prediction({**both, **WITHIN}), variant, PREFIX)
    assert (trace.truth, trace.actual) == (True, "it held after 0.1 s (moment 2 of 4)")
    assert trace.expected == '>= 1 and <= 1 and == "STALE"'
    apart = {**both, "each": {"state": "FAILED"}}
    assert evaluate(prediction({**apart, **WITHIN}), variant, PREFIX).truth is False


def test_the_moments_are_read_once(evidence):
    variant = evidence.series("watch", moments(*[R] * 4)).done().read()
    assert variant.series("watch") is variant.series("watch")
    assert [sample.t_ns for sample in variant.series("watch")] == [7_000_000_000 + n * 100_000_000 for n in range(4)]
    assert variant.series("watch")[0] == Sample(7_000_000_000, KernelState({"host": entries(R)}))


@given(st.lists(st.sampled_from([R, S, "?"]), min_size=1, max_size=4))
def test_the_words_are_kleenes_over_the_moments_that_are_there(tmp_path_factory, states):
    states = [*states, *[states[-1]] * (4 - len(states))]
    folder = tmp_path_factory.mktemp("series")
    variant = Evidence(folder / "experiment").series("watch", moments(*states)).done().read()
    truths = [{R: False, S: True, "?": None}[state] for state in states]

    def told(time):
        return evaluate(prediction(leaf(**time)), variant, PREFIX).truth

    assert told(WITHIN) is any_of(truths)
    assert told(NEVER) is negate(any_of(truths))
    assert told(ALWAYS) is all_of(truths)
