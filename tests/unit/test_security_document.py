"""SECURITY.md has no sentence that no test holds: each is advice, or names what holds it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from labrun.lab.check.filters import check_filters
from labrun.lab.compile import compile_lab
from labrun.lab.load import load_cells
from labrun.lab.problems import LabError

ROOT = Path(__file__).parents[2]
ADVICE: tuple[str, ...] = ()
ENGINES, BREAKAGE, RESOURCES = "e2e/test_engines.py", "e2e/test_breakage.py", "e2e/test_resources.py"
DOCTOR = f"{ENGINES}::test_the_doctor_finds_no_way_out"
ROOT_OUTSIDE = f"{ENGINES}::test_who_root_in_the_sandbox_is_out_here"
FORGING = f"{ENGINES}::test_a_lab_cannot_speak_for_the_agent"
PRIVILEGED = "e2e/test_privileged.py::test_what_a_privileged_container_can_do_is_plainly_said"
CAPABILITIES = "e2e/test_dockerd.py::test_privileged_starts_with_everything_but_the_one_capability"
GREEDY = f"{RESOURCES}::test_a_lab_that_takes_all_it_can_get_ends_with_an_honest_answer"
VM_DOCTOR = "e2e/test_vm.py::test_the_doctor_starts_a_machine_and_a_lab_in_it_has_no_way_out"
VM_PROCESS = "e2e/test_vm.py::test_a_killed_machine_and_a_killed_runner_leave_nothing_but_the_evidence"
VM_BOUND = "e2e/test_vm.py::test_a_machine_that_does_not_do_its_part_is_bounded_and_has_its_reason"
VM_COMMAND = "unit/test_kernel.py::test_a_machine_is_what_the_document_on_security_says"
INSTALLED = "unit/test_locks.py::test_what_is_installed_is_what_is_locked"
# How a sentence begins -> the tests that hold it
HELD: dict[str, tuple[str, ...]] = {
    "A lab is a program": ADVICE,
    "Read a lab by a stranger": ADVICE,
    "In this order": ADVICE,
    "`labrun run LAB --engine native` as": ADVICE,
    "Whoever is root in the sandbox is you": (ROOT_OUTSIDE, f"{ENGINES}::test_a_lab_cannot_reach_out"),
    "(With `--userland host`": (f"{ENGINES}::test_what_is_read_only_stays_so",),
    "`labrun run LAB --engine vm` as": ADVICE,
    "The lab has a kernel of its own": (
        "e2e/test_vm.py::test_labs_have_the_verdicts_that_they_have_natively_and_the_evidence_names_the_kernel",
        VM_COMMAND,
    ),
    "QEMU, which a lab would have to get out of": (VM_PROCESS,),
    "Either as root": (ROOT_OUTSIDE, VM_PROCESS),
    "`--engine docker --isolation least`": (ROOT_OUTSIDE,),
    "Never the default": ADVICE,
    "They are for your own labs": ADVICE,
    "All but the first share": ADVICE,
    "User namespaces let": ADVICE,
    "`labrun doctor --security` tries": (DOCTOR,),
    "The end-to-end tests run it": (DOCTOR, "unit/test_security.py::test_the_table_of_the_document_is_the_programs"),
    "Native sandboxes without cgroups bound": (
        f"{ENGINES}::test_limits_hold",
        f"{ENGINES}::test_what_labs_write_is_bounded_and_a_full_one_goes_on",
    ),
    "They do not bound all memory": (GREEDY,),
    "The first line of the run": (GREEDY,),
    "Where the machine runs out of memory": (ROOT_OUTSIDE,),
    "An ordinary account may make cgroups": (
        "unit/test_cgroups.py::test_where_systemd_delegates_cgroups_labs_get_theirs",
    ),
    "A lab's commands run below the agent": (FORGING,),
    "In native sandboxes and in `least`": (DOCTOR, f"{ENGINES}::test_what_is_read_only_stays_so"),
    "In privileged containers both": (FORGING,),
    "QEMU emulates the processor": (VM_COMMAND,),
    "It has no monitor": (VM_COMMAND,),
    "It runs": (VM_PROCESS, VM_COMMAND),
    "- in a native sandbox": (VM_PROCESS, VM_COMMAND),
    "What comes out of it": (VM_BOUND,),
    "Inside, labs are in namespaces": (VM_DOCTOR,),
    "Someone who takes over the kernel": ADVICE,
    "Everything": (PRIVILEGED,),
    "Its root is the host's root": (CAPABILITIES, PRIVILEGED),
    "It can mount the host's disk": (PRIVILEGED, CAPABILITIES),
    "That there is no network and no mount": ADVICE,
    "`least` is narrower": (DOCTOR,),
    "The container has CAP_SYS_ADMIN": ("unit/test_docker_stream.py::test_what_least_asks_the_daemon_for",),
    "A lab's commands are in a user namespace": (ROOT_OUTSIDE, DOCTOR),
    "But they are the host's user 0": (ROOT_OUTSIDE,),
    "Whatever that user may write": (DOCTOR,),
    "Someone who sets out to escape": (DOCTOR,),
    'The "no" in its column': (DOCTOR,),
    "Nothing that comes out of a sandbox": (
        "unit/test_frames.py::test_a_hostile_frame_is_a_protocol_error",
        "unit/test_frames.py::test_an_event_that_points_out_of_the_run_directory_is_refused",
        "unit/test_evidence.py::test_a_path_that_could_climb_out_or_hide_is_refused",
        "unit/test_evidence.py::test_the_limit_is_for_all_files_together",
        f"{BREAKAGE}::test_raw_bytes_and_escape_codes_are_kept_and_never_obeyed",
        "unit/test_report_html.py::test_prose_keeps_no_html_of_its_author",
    ),
    "The lab file is data": ("unit/test_security_document.py::test_compiling_a_lab_executes_nothing",),
    "`labrun run index.html` takes": (
        "unit/test_again.py::test_a_page_that_is_not_sound_is_refused_in_words",
        "unit/test_again.py::test_text_of_a_lab_makes_no_second_lab",
        "unit/test_again.py::test_a_lab_of_a_page_is_checked_as_every_lab",
    ),
    "A checkout's configuration": ("unit/test_provenance.py::test_a_checkout_runs_no_program",),
    "`labrun shell` is the exception": ("e2e/test_shell.py::test_the_lab_waits_with_a_prompt_in_each_node",),
    "Nothing that is typed or printed": (
        "e2e/test_shell.py::test_the_lab_waits_with_a_prompt_in_each_node",
        "e2e/test_shell.py::test_what_somebody_typed_in_is_no_evidence",
    ),
    "`make labs`, `make test` and the GitHub action": (
        INSTALLED,
        "unit/test_locks.py::test_what_the_project_asks_for_is_locked",
        "unit/test_ci_files.py::test_what_they_install_is_their_own_folder",
    ),
    "Labrun's own build runs with": (INSTALLED,),
    "The lab image is made of": ("unit/test_image_recipe.py::test_packages_are_signed",),
    "`make dist` writes": ("e2e/test_wheel.py::test_the_bill_of_materials_names_every_locked_package",),
    "Workflows name the actions": ("unit/test_ci_files.py::test_actions_of_others_are_named_by_commit",),
    "Please report a hole": ADVICE,
}


def sentences() -> list[str]:
    """Of the prose; the table is the program's own."""
    found: list[str] = []
    for block in re.split(r"\n\n+|\n(?=\d\. )", (ROOT / "SECURITY.md").read_text()):
        text = re.sub(r"^\d\. ", "", " ".join(block.split()))
        if text and not text.startswith(("|", "#")):
            found += re.split(r"(?<=[.)])\s+(?=[A-Z`(])", text)
    return found


def test_each_sentence_is_advice_or_has_a_test() -> None:
    assert not [one for one in sentences() if not any(one.startswith(start) for start in HELD)]


def test_nothing_is_held_that_is_not_said() -> None:
    assert not [start for start in HELD if not any(one.startswith(start) for one in sentences())]


@pytest.mark.parametrize("test", sorted({test for tests in HELD.values() for test in tests}))
def test_the_tests_are_there(test: str) -> None:
    path, _, name = test.partition("::")
    tree = ast.parse((ROOT / "tests" / path).read_text())
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_compiling_a_lab_executes_nothing(tmp_path: Path) -> None:
    """Commands, packets and expressions that would leave a file; tags that other loaders of YAML obey."""
    trap = tmp_path / "trap"
    python = f"open({str(trap)!r}, 'w')"
    (tmp_path / "x").mkdir()
    path = tmp_path / "x" / "lab.yaml"
    lab = f"""\
title: "$(touch {trap})"
question: q
topology: {{nodes: {{a: {{}}, b: {{}}}}, links: [{{a.eth0: 10.0.0.1/24, b.eth0: 10.0.0.2/24}}]}}
steps:
  - {{id: seen, in: a, capture: {{on: eth0, filter: icmp}}}}
  - {{id: v, in: a, run: "touch {trap}"}}
  - {{id: p, in: a, send: "{python}"}}
hypotheses:
  - {{id: h, claim: "{{{{ {python} }}}}", predict: {{command: v, exit: 0}}, control: {{none: x}}}}
"""
    for text in (lab, lab.replace("question: q", f"question: !!python/object/apply:os.system ['touch {trap}']")):
        path.write_text(text)
        try:
            for loaded in load_cells(path):
                compile_lab(loaded)
                check_filters(loaded)
        except LabError:
            assert "!!python" in text
    assert not trap.exists()
