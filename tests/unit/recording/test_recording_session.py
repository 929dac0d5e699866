"""The recording's state machine: every cell of its table, its ways to end, and any order of inputs."""

from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tapeline.core.errors import InvalidState
from tapeline.core.recordspec import RecordSpec, SilenceRule
from tapeline.recording import session, table
from tapeline.recording.session import Changed, Finished, MaskTap, OpenTap, PlayBeep, Recording, StopTap, UnmaskTap
from tapeline.recording.timeline import MOST_EVENTS

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


def in_phase(phase: table.Phase) -> Recording:
    """A recording that has come to `phase` by its inputs alone."""
    made = make(begin="answer")
    ways: dict[table.Phase, tuple[str, ...]] = {
        "waiting": (),
        "opening": ("begin",),
        "capturing": ("begin", "opened"),
        "aborting": ("begin", "stop"),
        "closing": ("begin", "opened", "stop"),
        "captured": ("begin", "opened", "stop", "tap_ended"),
    }
    for what in ways[phase]:
        give(made, what, 101.0)
    made.take_actions()
    assert made._phase == phase
    return made


def give(made: Recording, what: str, now: float) -> None:
    match what:
        case "begin":
            made.begin(now)
        case "opened":
            made.captured(now)
        case "mask":
            made.mask("tone", now)
        case "unmask":
            made.unmask(now)
        case "stop":
            made.stop("stopped", now)
        case "tap_ended":
            made.tap_ended(8000, "stopped", now)


def test_every_cell_of_the_table_leads_forward() -> None:
    assert set(table.PHASES) == set(get_args(table.Phase)) and set(table.INPUTS) == set(get_args(table.Input))
    for (before, what), (after, deed) in table.TRANSITIONS.items():
        assert table.order(table.PHASES[after]) >= table.order(table.PHASES[before])
        assert what in table.INPUTS and deed in get_args(table.Deed)
    assert set(get_args(table.State)) == set(table.ORDER) == {*table.PHASES.values(), *table.AFTER_CAPTURE}
    assert all(table.order(state) > max(map(table.order, table.PHASES.values())) for state in table.AFTER_CAPTURE)


@pytest.mark.parametrize("phase", get_args(table.Phase))
@pytest.mark.parametrize("what", get_args(table.Input))
def test_every_cell_does_what_the_table_says_and_empty_ones_nothing(phase: table.Phase, what: table.Input) -> None:
    made = in_phase(phase)
    cell = table.TRANSITIONS.get((phase, what))
    before = (made.state, made.reason, made.frames, made.masked, events(made))
    if cell is None and what in table.COMMANDS:
        with pytest.raises(InvalidState) as caught:
            give(made, what, 102.0)
        assert caught.value.reason == "RECORDING_NOT_ACTIVE"
    else:
        give(made, what, 102.0)
    if cell is None:
        assert (made._phase, made.take_actions()) == (phase, [])
        assert (made.state, made.reason, made.frames, made.masked, events(made)) == before
    else:
        assert (made._phase, made.state) == (cell[0], table.PHASES[cell[0]])


def test_the_picture_in_the_readme_is_that_of_the_table() -> None:
    readme = Path(table.__file__).with_name("README.md").read_text()
    assert f"```mermaid\n{table.picture()}\n```" in readme
    assert table.picture().count(" --> ") == len(table.TRANSITIONS) + 2 + 2 * len(table.AFTER_CAPTURE)


def test_the_plain_course() -> None:
    made = make()
    assert made.take_actions() == [OpenTap(), Changed("starting")]
    made.captured(100.5)
    assert made.take_actions() == [Changed("recording")]
    made.media(100.5)
    made.stop("stopped", 110.5)
    assert made.take_actions() == [StopTap(), Changed("stopping")]
    made.tap_ended(80_000, "stopped", 110.6)
    assert made.take_actions() == [Finished()]
    kept = made.manifest(account="a", rate=8000)
    assert (kept.state, kept.reason, kept.frames) == ("stopped", "stopped", 80_000)
    assert (kept.started, kept.ended) == (WALL + 0.5, pytest.approx(WALL + 10.6))
    assert events(made) == [(0.0, "started"), (0.0, "media"), (10.0, "stopped")]


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


def test_mask_change_of_mask_and_unmask() -> None:
    made = recording()
    made.mask("tone", 102.5)
    made.mask("tone", 103.0)
    assert made.masked == "tone"
    made.mask("cut", 104.0)
    made.unmask(105.5)
    made.unmask(106.0)
    assert made.masked is None
    made.mask("silence", 107.0)
    made.unmask(108.0)
    assert made.take_actions() == [MaskTap("tone"), MaskTap("cut"), UnmaskTap(), MaskTap("silence"), UnmaskTap()]
    assert events(made)[1:] == [(2.0, "masked"), (3.5, "paused"), (5.0, "resumed"), (6.5, "masked"), (7.5, "unmasked")]
    assert [item.get("mode") for item in made.timeline.as_dicts()][1:] == ["tone", "cut", None, "silence", None]


def test_a_mask_before_the_tap_is_open_is_in_force_from_its_first_sample() -> None:
    made = make()
    made.take_actions()
    made.mask("cut", 100.1)
    made.mask("silence", 100.2)
    assert (made.masked, made.take_actions()) == ("silence", [])
    made.captured(100.5)
    assert made.take_actions() == [MaskTap("silence"), Changed("recording")]
    assert events(made) == [(0.0, "started"), (0.0, "masked")]
    again = make()
    again.mask("tone", 100.1)
    again.unmask(100.2)
    again.take_actions()
    again.captured(100.5)
    assert again.take_actions() == [Changed("recording")]


def test_no_mask_is_in_force_any_more_once_it_has_ended() -> None:
    made = recording()
    made.mask("tone", 101.0)
    made.stop("hangup", 102.0)
    assert made.masked is None


def test_what_a_pause_cuts_out_counts_neither_for_the_longest_nor_for_places_in_the_file() -> None:
    made = recording(max_s=60.0)
    made.mask("cut", 110.5)
    assert made.next_deadline() is None
    made.tick(100_000.0)
    assert made.state == "recording" and made.position(150.5) == 10.0
    made.unmask(130.5)
    assert made.next_deadline() == 180.5
    made.note("held", 140.5)
    made.mask("tone", 150.5)
    assert made.next_deadline() == 180.5, "what is masked by sound is in the file"
    made.tick(180.5)
    assert made.reason == "max_seconds"
    places = [(item["event"], item["at"], item.get("position")) for item in made.timeline.as_dicts()]
    assert places == [
        ("started", 0.0, None), ("paused", 10.0, None), ("resumed", 30.0, 10.0), ("held", 40.0, 20.0),
        ("masked", 50.0, 30.0), ("stopped", 80.0, 60.0),
    ]  # fmt: skip


def test_while_masked_neither_keys_nor_silence_end_it() -> None:
    made = recording(silence=SilenceRule(initial_s=5.0, final_s=2.0), end_keys=frozenset("#"))
    made.voice(True, 101.0)
    made.voice(False, 102.0)
    made.mask("silence", 103.0)
    made.digit("#", 104.0)
    made.tick(120.0)
    assert made.state == "recording" and made.next_deadline() == 100.5 + 86_400
    made.unmask(130.0)
    assert made.next_deadline() == 132.0, "silence is counted anew"
    made.digit("#", 131.0)
    assert made.reason == "key"


def test_it_waits_for_the_answer_or_the_bridge() -> None:
    made = make(begin="bridge", max_s=5.0)
    assert made.take_actions() == [Changed("starting")]
    made.tick(1000.0)
    made.captured(1000.0)
    made.tap_ended(5, "stopped", 1000.0)
    assert (made.state, made.next_deadline(), made.take_actions(), made.waits) == ("starting", None, [], True)
    made.begin(2000.0)
    assert not made.waits
    made.begin(2000.0)
    assert made.take_actions() == [OpenTap()]
    made.captured(2000.5)
    assert made.next_deadline() == 2005.5 and made.started_wall == WALL + 1900.5


def test_a_stop_cancels_a_start_that_still_waits() -> None:
    made = make(begin="answer")
    made.take_actions()
    made.stop("hangup", 105.0)
    assert made.take_actions() == [Changed("stopping"), Finished()]
    kept = made.manifest(account="a")
    assert (kept.state, kept.reason, kept.frames, kept.started, kept.ended) == ("failed", "cancelled", 0, None, WALL + 5)


def test_what_never_had_media_on_any_channel_is_absent() -> None:
    made = recording()
    made.stop("hangup", 100.5 + session.ABSENT_AFTER_S)
    made.tap_ended(16_000, "stopped", 103.0)
    assert (made.manifest(account="a").state, made.manifest(account="a").reason) == ("failed", "absent")


@pytest.mark.parametrize("when", [99.0, 100.6, 150.0])
def test_media_at_any_time_on_any_channel_is_enough(when: float) -> None:
    made = make()
    if when < 100.5:
        made.media(when)  # the prompt played before the tap was open
    made.captured(100.5)
    made.media(max(when, 100.5))
    made.media(151.0)
    made.stop("hangup", 160.0)
    made.tap_ended(480_000, "stopped", 160.0)
    assert made.manifest(account="a").state == "stopped"
    assert [name for _, name in events(made)].count("media") == 1


def test_whoever_stops_at_once_gets_what_there_is() -> None:
    made = recording()
    made.stop("stopped", 100.5 + session.ABSENT_AFTER_S - 0.01)
    made.tap_ended(0, "stopped", 103.0)
    kept = made.manifest(account="a")
    assert (kept.state, kept.reason, kept.frames) == ("stopped", "stopped", 0)


def test_a_broken_disk_is_no_absence() -> None:
    made = recording()
    made.tap_ended(40_000, "io_error", 110.0)
    assert (made.manifest(account="a").state, made.manifest(account="a").reason) == ("stopped", "io_error")


def test_before_it_began_every_event_is_at_its_start() -> None:
    made = make()
    made.note("participant", 105.0, name="caller")
    assert made.position(105.0) == 0.0
    made.captured(110.0)
    assert made.timeline.as_dicts()[0] == {"at": 0.0, "event": "participant", "name": "caller"}
    assert events(made) == [(0.0, "participant"), (0.0, "started")]


def test_a_timeline_is_bounded_but_its_end_is_kept() -> None:
    made = recording()
    for number in range(MOST_EVENTS + 10):
        made.note("held", 101.0 + number)
    made.stop("hangup", 99_999.0)
    assert len(made.timeline.as_dicts()) == MOST_EVENTS + 1 and made.timeline.as_dicts()[-1]["event"] == "stopped"


def test_late_news_change_nothing() -> None:
    made = in_phase("captured")
    kept = made.manifest(account="a")
    made.note("transfer", 200.0)
    made.tap_ended(1, "io_error", 200.0)
    made.stop("hangup", 200.0)
    made.tick(1e9)
    assert made.manifest(account="a") == kept and made.take_actions() == []


def test_too_short_has_failed() -> None:
    made = recording(min_s=3.0)
    made.stop("hangup", 102.0)
    made.tap_ended(12_000, "stopped", 102.0)
    kept = made.manifest(account="a", rate=8000)
    assert (kept.state, kept.reason) == ("failed", "too_short")


def test_just_long_enough_has_not() -> None:
    made = recording(min_s=3.0)
    made.media(100.6)
    made.stop("hangup", 103.5)
    made.tap_ended(24_000, "stopped", 103.5)
    assert made.manifest(account="a", rate=8000).state == "stopped"


def test_too_short_is_judged_by_the_files_own_rate() -> None:
    made = recording(min_s=3.0, rate=0)
    made.stop("hangup", 103.0)
    made.tap_ended(47_999, "stopped", 103.6)
    assert made.manifest(account="a", rate=16000).reason == "too_short"
    assert made.manifest(account="a", rate=8000).state == "failed" and made.manifest(account="a", rate=8000).reason == "absent"


INPUTS = st.sampled_from(
    ["begin", "captured", "media", "voice", "silence", "key", "mask", "cut", "unmask", "stop", "tap_ended", "disk_full", "tick", "note"]
)


@given(st.lists(st.tuples(INPUTS, st.floats(0.0, 4000.0)), max_size=60))
def test_any_order_of_inputs_goes_forward_and_finishes_once(inputs: list[tuple[str, float]]) -> None:
    made = make(max_s=3600.0, silence=SilenceRule(initial_s=20.0, final_s=5.0), end_keys=frozenset("#"), beep=True)
    now, states, finished = 100.0, [made.state], 0
    deeds = {
        "begin": lambda: made.begin(now),
        "captured": lambda: made.captured(now),
        "media": lambda: made.media(now),
        "voice": lambda: made.voice(True, now),
        "silence": lambda: made.voice(False, now),
        "key": lambda: made.digit("#", now),
        "mask": lambda: made.mask("tone", now),
        "cut": lambda: made.mask("cut", now),
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
            assert what in ("mask", "cut", "unmask")
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
    in_force = False
    for name in names:  # masks and their ends take turns
        assert in_force or name not in ("unmasked", "resumed")
        in_force = (in_force or name in ("masked", "paused")) and name not in ("unmasked", "resumed")
    due = made.next_deadline()
    assert due is None or made.state == "recording"
    if due is not None:
        made.tick(due)
        assert made.state == "stopping", "a deadline that is met is a deadline gone"
    kept = made.manifest(account="a")
    assert (kept.state == "recording") == (made.frames is None) and type(kept).from_json(kept.to_json()).to_json() == kept.to_json()
