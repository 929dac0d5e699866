"""VoIPBIN's acceptance checklist as a whole: for each line the tests that show it; one that is named and not there fails.

Each line of REST (8.1), of flows (8.2) and of webhooks (8.3) has tests that carry its number. `BESIDES` names those that show more:
real calls, real files, real processes.
"""

from __future__ import annotations

import re

import pytest

from beside import page
from checklists import defined, is_there

NUMBERED = {
    range(1, 31): ("unit/api/test_api_checklist.py",),
    range(31, 47): ("unit/flow/test_flow_voipbin_checklist.py", "sim/test_errands.py"),
    range(47, 55): ("unit/api/test_api_webhooks.py", "system/test_voipbin_webhooks.py"),
}
GUIDE = "system/test_voipbin_guide.py::"
SCENARIOS = "system/test_voipbin_scenarios.py::"
STATES = "sim/test_recording_states.py::"
BESIDES = {
    1: (GUIDE + "test_the_commands_of_the_guide", "system/test_live_control.py::test_started_and_stopped_from_outside"),
    4: (GUIDE + "test_the_command_for_conferences",),
    6: (GUIDE + "test_no_recording_id_returned",),
    7: (GUIDE + "test_recording_starts_but_immediately_stops",),
    12: (GUIDE + "test_404_not_found",),
    13: (GUIDE + "test_timeout_on_large_files",),
    16: ("system/test_archive.py::test_a_server_s_archive", "system/test_export.py"),
    22: (STATES + "test_states_only_move_forward_and_come_to_their_end",),
    23: (STATES + "test_what_the_last_life_left_comes_to_its_end",),
    24: ("sim/test_recording_lifetimes.py::test_the_longest_time_leaves_a_file_of_that_length",),
    25: (GUIDE + "test_file_won_t_play",),
    26: (GUIDE + "test_recording_expired", "system/test_archive.py::test_a_server_s_archive"),
    29: (GUIDE + "test_permission_denied",),
    30: ("system/test_tenancy.py",),
    31: (SCENARIOS + "test_the_example_holds_the_greeting_and_both_parties",),
    32: (SCENARIOS + "test_the_entire_call_is_recorded",),
    33: (SCENARIOS + "test_recorded_only_after_consent",),
    34: ("system/test_conferences.py::test_three_callers_are_recorded_into_one_file",),
    35: (SCENARIOS + "test_card_digits_are_in_neither_file",),
    36: ("system/test_recorded_calls.py::test_a_telephone_hears_speech",),
    38: ("sim/test_voipbin_recordings.py::test_38_a_second_recording_is_refused_and_the_flow_goes_on",),
    39: ("sim/test_voipbin_recordings.py::test_39_beep_start_is_heard_by_the_caller",),
    41: ("system/test_recorded_calls.py::test_a_telephone_hears_the_prompt_presses_digits_and_is_recorded",),
    45: ("system/test_live_control.py::test_each_format_holds_what_was_said",),
    50: ("system/test_export.py",),
}


@pytest.mark.parametrize(("number", "paths"), [(number, paths) for lines, paths in NUMBERED.items() for number in lines])
def test_each_line_has_tests_of_its_number(number: int, paths: tuple[str, ...]) -> None:
    assert [name for path in paths for name in defined(path) if name.startswith(f"test_{number:02}_")], number


@pytest.mark.parametrize(("number", "where"), [(number, where) for number, named in BESIDES.items() for where in named])
def test_what_shows_more_of_a_line_is_there(number: int, where: str) -> None:
    assert is_there(where), f"line {number}"


def test_the_lines_are_those_of_the_checklist() -> None:
    found = re.findall(r"^\| (\d+) \| ", page("spec/voipbin.md").partition("## 8. Acceptance checklist")[2], re.MULTILINE)
    assert [int(number) for number in found] == [number for lines in NUMBERED for number in lines]
