"""The recording's state machine: every cell of its table, its ways to end, and any order of inputs."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.core.errors import InvalidState
from tapeline.core.recordspec import RecordSpec, SilenceRule
from tapeline.recording import session, table
from tapeline.recording.session import Changed, Finished, MaskTap, OpenTap, PlayBeep, Recording, StopTap, UnmaskTap

WALL = 1_700_000_000.0


def make(**spec: Any) -> Recording:
    return Recording("3f0e6c0a-5a4e-4f0c-9a5e-0c4f6f0d9b1e", RecordSpec(**spec), 100.0, WALL)


def recording(**spec: Any) -> Recording:
    made = make(**spec)
    made.take_actions()
    made.captured(100.5)
    made.take_actions()
    return made


def events(made: Recording) -> list[tuple[float, str]]:
    return [(item["at"], item["event"]) for item in made.timeline.as_dicts()]


def test_every_cell_of_the_table_leads_forward() -> None:
    for (before, _), (after, _) in table.TRANSITIONS.items():
        assert table.order(after) >= table.order(before)
    for state in get_args(table.State):
        assert state in table.ORDER


@pytest.mark.parametrize("state", get_args(table.State))
@pytest.mark.parametrize("what", get_args(table.Input))
def test_cells_that_are_empty_change_nothing(state: table.State, what: table.Input) -> None:
    made = make()
    made.take_actions()
    made.state = state
    made._move(what, 101.0)
    expected = table.TRANSITIONS.get((state, what))
    assert made.state == (expected[0] if expected else state)
    assert bool(made.take_actions()) == (expected is not None)


def test_the_plain_course() -> None:
    made = make()
    assert made.take_actions() == [OpenTap(), Changed("starting")]
    made.captured(100.5)
    assert made.take_actions() == [Changed("recording")]
    made.stop("stopped", 110.5)
    assert made.take_actions() == [StopTap(), Changed("stopping")]
    made.tap_ended(80_000, "stopped", 110.6)
    assert made.take_actions() == [Finished()]
    kept = made.manifest(account="a", rate=8000)
    assert (kept.state, kept.reason, kept.frames) == ("stopped", "stopped", 80_000)
    assert (kept.started, kept.ended) == (WALL + 0.5, pytest.approx(WALL + 10.6))
    assert events(made) == [(0.0, "started"), (10.0, "stopped")]


def test_a_stop_before_the_tap_is_open_waits_for_it() -> None:
    made = make()
    made.take_actions()
    made.stop("hangup", 100.1)
    assert made.take_actions() == [Changed("stopping")]
    made.captured(100.2)
    assert made.take_actions() == [StopTap()]
    made.tap_ended(0, "stopped", 100.3)
    assert made.take_actions() == [Finished()]
    assert made.manifest(account="a").state == "stopped"  # valid, and empty


def test_a_tap_that_cannot_be_opened_is_a_failure_with_its_reason() -> None:
    made = make()
    made.take_actions()
    made.tap_ended(0, "disk_full", 100.1)
    assert made.take_actions() == [Changed("stopping"), Finished()]
    assert (made.manifest(account="a").state, made.manifest(account="a").reason) == ("failed", "disk_full")


def test_a_disk_that_fills_up_keeps_what_was_written() -> None:
    made = recording()
    made.tap_ended(40_000, "disk_full", 105.5)
    assert (made.manifest(account="a").state, made.manifest(account="a").reason) == ("stopped", "disk_full")


def test_the_longest_time_ends_it() -> None:
    made = recording(max_s=60.0)
    assert made.next_deadline() == 160.5
    made.tick(160.4)
    assert made.state == "recording"
    made.tick(160.5)
    assert (made.state, made.reason) == ("stopping", "max_seconds")


def test_nobody_ever_speaks() -> None:
    made = recording(silence=SilenceRule(initial_s=5.0, final_s=2.0))
    assert made.next_deadline() == 105.5
    made.tick(105.5)
    assert (made.state, made.reason) == ("stopping", "silence")


def test_nobody_speaks_any_more() -> None:
    made = recording(silence=SilenceRule(initial_s=5.0, final_s=2.0))
    made.voice(True, 103.0)
    assert made.next_deadline() == 100.5 + 86_400
    made.voice(False, 120.0)
    assert made.next_deadline() == 122.0
    made.voice(True, 121.9)
    made.voice(False, 130.0)
    made.tick(132.0)
    assert (made.state, made.reason) == ("stopping", "silence")


def test_a_key_ends_it_and_other_keys_do_not() -> None:
    made = recording(end_keys=frozenset("#"))
    made.digit("5", 101.0)
    assert made.state == "recording"
    made.digit("#", 102.0)
    assert (made.state, made.reason) == ("stopping", "key")


def test_digits_are_not_kept() -> None:
    made = recording(end_keys=frozenset("#"))
    for digit in "4111":
        made.digit(digit, 101.0)
    assert b"4111" not in made.manifest(account="a").to_json()


def test_the_first_reason_stays() -> None:
    made = recording()
    made.stop("key", 101.0)
    made.stop("hangup", 102.0)
    assert made.reason == "key"


def test_a_beep_is_played_once_the_tap_is_open() -> None:
    made = make(beep=True)
    assert PlayBeep() not in made.take_actions()
    made.captured(100.5)
    assert made.take_actions() == [PlayBeep(), Changed("recording")]


def test_mask_and_unmask() -> None:
    made = recording()
    made.mask("tone", 102.5)
    made.mask("tone", 103.0)
    made.mask("cut", 104.0)
    made.unmask(105.5)
    made.unmask(106.0)
    assert made.take_actions() == [MaskTap("tone"), MaskTap("cut"), UnmaskTap()]
    assert events(made)[1:] == [(2.0, "masked"), (3.5, "masked"), (5.0, "unmasked")]


@pytest.mark.parametrize("command", ["mask", "unmask"])
def test_commands_that_do_not_fit_are_refused(command: str) -> None:
    made = make()
    for _ in range(2):
        with pytest.raises(InvalidState) as caught:
            made.mask("tone", 101.0) if command == "mask" else made.unmask(101.0)
        assert caught.value.reason == "RECORDING_NOT_ACTIVE"
        made.stop("stopped", 101.0)


def test_too_short_has_failed() -> None:
    made = recording(min_s=3.0)
    made.stop("hangup", 102.0)
    made.tap_ended(12_000, "stopped", 102.0)
    kept = made.manifest(account="a", rate=8000)
    assert (kept.state, kept.reason) == ("failed", "too_short")


def test_just_long_enough_has_not() -> None:
    made = recording(min_s=3.0)
    made.stop("hangup", 103.5)
    made.tap_ended(24_000, "stopped", 103.5)
    assert made.manifest(account="a", rate=8000).state == "stopped"


INPUTS = st.sampled_from(
    ["captured", "media", "voice", "silence", "key", "mask", "unmask", "stop", "tap_ended", "disk_full", "tick", "note"]
)


@given(st.lists(st.tuples(INPUTS, st.floats(0.0, 4000.0)), max_size=60))
def test_any_order_of_inputs_goes_forward_and_finishes_once(inputs: list[tuple[str, float]]) -> None:
    made = make(max_s=3600.0, silence=SilenceRule(initial_s=20.0, final_s=5.0), end_keys=frozenset("#"), beep=True)
    now, states, finished = 100.0, [made.state], 0
    deeds = {
        "captured": lambda: made.captured(now),
        "media": lambda: made.media(now),
        "voice": lambda: made.voice(True, now),
        "silence": lambda: made.voice(False, now),
        "key": lambda: made.digit("#", now),
        "mask": lambda: made.mask("tone", now),
        "unmask": lambda: made.unmask(now),
        "stop": lambda: made.stop("stopped", now),
        "tap_ended": lambda: made.tap_ended(int((now - 100) * 8000), "stopped", now),
        "disk_full": lambda: made.tap_ended(0, "disk_full", now),
        "tick": lambda: made.tick(now),
        "note": lambda: made.note("held", now),
    }
    for what, step in inputs:
        now += step
        try:
            deeds[what]()
        except InvalidState:
            assert what in ("mask", "unmask")
        actions = made.take_actions()
        finished += actions.count(Finished())
        states.append(made.state)
        assert all(type(action).__name__ in session.__all__ for action in actions)
    assert [table.order(state) for state in states] == sorted(table.order(state) for state in states)
    assert finished == (made.frames is not None)
    times = [at for at, _ in events(made)]
    assert times == sorted(times)
    names = [name for _, name in events(made)]
    assert names.count("started") <= 1 and names.count("stopped") <= 1
