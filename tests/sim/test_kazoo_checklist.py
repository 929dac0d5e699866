"""What KAZOO promises of `record_call`, row by row of its schema and line by line of the acceptance list, on calls in virtual time.

`ROWS` and `LINES` name for each the tests that show its behaviour; one that is named and not there fails.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from talking_calls import SPEECH_HZ, Exchange, Refer
from test_recording_transfers import loud

from beside import page
from checklists import is_there
from tapeline.calls.recorder import Recorder
from tapeline.calls.rows import recording_row
from tapeline.calls.session import Call
from tapeline.core.errors import InvalidState
from tapeline.core.kazoo import recording_document
from tapeline.delivery.uploads import Manner, deliveries_of
from tapeline.store import DeliveryRow

HERE = "sim/test_kazoo_checklist.py::"
UPLOADS = "unit/delivery/test_delivery_uploads.py::"
SENDING = "unit/delivery/test_delivery_send.py::"
MODULES = "unit/flow/test_flow_kazoo_modules.py::"
FLOWS = "unit/flow/test_flow_kazoo.py::"
SAMPLES = "system/test_kazoo_samples.py::"

ROWS = {
    "action": "test_action_stop_stops_and_anything_else_starts",
    "format": "test_format_decides_name_and_type_and_falls_back_to_mp3",
    "label": "test_label_makes_the_origin_and_a_document_s_own_origin_does_not",
    "media_id": "test_media_id_is_the_recording_s_id_and_for_one_at_a_time",
    "media_name": "test_media_name_is_shown_and_never_a_path",
    "method": "test_url_and_method_make_the_upload",
    "origin": "test_label_makes_the_origin_and_a_document_s_own_origin_does_not",
    "record_min_sec": "test_record_min_sec_leaves_nothing_of_what_is_shorter",
    "record_on_answer": "test_record_on_answer_waits_for_the_answer",
    "record_on_bridge": "test_record_on_bridge_waits_for_the_bridge",
    "record_sample_rate": "test_record_sample_rate_is_the_file_s",
    "should_follow_transfer": "test_should_follow_transfer",
    "silence_detection": "test_silence_detection_ends_it_after_the_final_timeout",
    "silence_final_timeout": "test_silence_detection_ends_it_after_the_final_timeout",
    "silence_initial_timeout": "test_silence_initial_timeout_ends_it_where_nobody_ever_spoke",
    "silence_threshold": "test_silence_threshold_is_the_level_below_which_it_is_silent",
    "skip_module": "test_skip_module_goes_on_without",
    "time_limit": "test_time_limit_ends_it_and_the_call_goes_on",
    "url": "test_url_and_method_make_the_upload",
}
LINES = {  # of the acceptance list: record_call, record_caller, the flow engine
    "start/stop": "test_action_stop_stops_and_anything_else_starts",
    "both parties": "test_both_parties_left_the_recorded_leg_right_the_rest",
    "format": "test_format_decides_name_and_type_and_falls_back_to_mp3",
    "time_limit": "test_time_limit_ends_it_and_the_call_goes_on",
    "max_recording_time_limit": "test_max_recording_time_limit_caps_every_limit",
    "url + PUT": "test_url_and_method_make_the_upload",
    "POST": "test_url_and_method_make_the_upload",
    "trailing slashes, query in URL, encoding": UPLOADS + "test_the_files_name_is_added_to_the_base",
    "metadata query string": UPLOADS + "test_the_query_has_its_twelve_fields_in_order",
    "Content-Type": "system/test_kazoo_calls.py::test_callflows_send_their_recordings_to_their_urls",
    "redirects": SENDING + "test_redirects_keep_the_verb_and_the_body_and_a_circle_is_a_failure",
    "success/failure": SENDING + "test_whatever_a_receiver_answers_or_does_not_is_tried_again_and_each_try_is_a_row",
    "no url": "test_no_url_is_kept_here_or_not_made",
    "third-party host": UPLOADS + "test_without_an_address_a_callflows_recording_goes_to_the_couchdb_of_the_settings",
    "bad scheme": "test_bad_scheme_is_not_recorded_and_the_flow_goes_on",
    "ftp/ftps": "system/test_delivery_stores.py::test_an_ftp_server_gets_the_file_in_its_folder_and_what_it_refuses_is_told",
    "label/origin": "test_label_makes_the_origin_and_a_document_s_own_origin_does_not",
    "media_id": "test_media_id_is_the_recording_s_id_and_for_one_at_a_time",
    "media_name": "test_media_name_is_shown_and_never_a_path",
    "record_min_sec": "test_record_min_sec_leaves_nothing_of_what_is_shorter",
    "record_on_answer / bridge": "test_record_on_what_already_happened_starts_now_and_stop_cancels_one_that_waits",
    "record_sample_rate": "test_record_sample_rate_is_the_file_s",
    "should_follow_transfer": "test_should_follow_transfer",
    "silence_*": "test_silence_detection_ends_it_after_the_final_timeout",
    "skip_module": "test_skip_module_goes_on_without",
    "stop": "test_stop_ends_the_newest_first_and_without_any_is_no_error",
    "several recordings per call": "test_several_recordings_of_a_call_are_independent",
    "hangup": "test_hangup_ends_and_keeps_every_recording",
    "retries": SENDING + "test_begun_anew_in_the_middle_of_a_pause_it_waits_for_the_rest",
    "caller only": "test_record_caller_has_the_caller_only",
    "blocking": "test_record_caller_holds_the_flow_until_its_end",
    "answers": "test_record_caller_answers_only_what_will_be_kept",
    "ends on": "test_record_caller_ends_on_key_silence_limit_and_hangup",
    "format, method, url, time_limit": "test_record_caller_takes_every_field_of_record_call",
    "name": SAMPLES + "test_record_caller_puts_the_caller_alone",
    "leaf": "test_record_caller_as_a_leaf_hangs_up",
    "wider field set": "test_record_caller_takes_every_field_of_record_call",
    "seed documents": FLOWS + "test_every_object_in_the_documents_that_asked_for_this_compiles_as_written",
    "`_`, named children, cause and code children": FLOWS + "test_a_child_by_cause_by_code_and_the_other",
    "unknown module": FLOWS + "test_an_unknown_module_and_a_skipped_one_go_on_to_their_child",
    "missing `_`": "test_a_missing_child_hangs_up",
    "user/device answered": "test_user_answered_ends_the_flow_after_the_conversation",
    "user/device not answered": "test_user_not_answered_goes_on_with_its_child",
    "modules": FLOWS + "test_every_module_takes_empty_and_odd_data_without_a_crash",
    "pivot-style": FLOWS + "test_a_callflow_comes_back_and_a_pivot_does_not",
    "validation": "unit/api/test_api_kazoo_callflows.py::test_validation_names_the_field_and_the_rule",
}


def action(module: str, data: dict[str, Any] | None = None, child: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"module": module, "data": data or {}, "children": {"_": child} if child else {}}


def start(child: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return action("record_call", {"action": "start", **data}, child or REST)


REST = action("sleep", {"duration": 600})
USER = action("user", {"id": "bob"})


async def recorded(exchange: Exchange, document: Any, call: Call | None = None) -> tuple[Call, Recorder]:
    """A call that is up, with a flow that has begun to record it."""
    call = call or exchange.caller()
    await exchange.follow(call, document)
    exchange.recorders += [recorder for recorder in call.recordings if recorder not in exchange.recorders]
    return call, list(call.recordings)[-1]


def sent(recorder: Recorder, **manner: Any) -> list[DeliveryRow]:
    """What will be sent of it, once its file is there."""
    row = recording_row(recorder.view(), "here")
    return deliveries_of(recorder.manifest(), row, 1.0, Manner("here", **manner), {})


def below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- both tables


@pytest.mark.parametrize(("what", "where"), [*ROWS.items(), *LINES.items()])
def test_every_row_and_line_has_its_test(what: str, where: str) -> None:
    assert is_there(where if "::" in where else HERE + where), what


def test_the_rows_are_those_of_the_document_that_asked_for_them() -> None:
    table = page("seeds/002_3afd502970f2cc89.txt").partition("---|")[2].partition("Storage of recordings")[0]
    assert {line.partition(" |")[0].strip() for line in table.splitlines() if " | " in line} == set(ROWS)


# --- record_call


@pytest.mark.parametrize("word", ["start", "", None, "nonsense"])
async def test_action_stop_stops_and_anything_else_starts(tmp_path: Path, word: str | None) -> None:
    async with Exchange(tmp_path) as exchange:
        first = action("record_call", {} if word is None else {"action": word}, action("record_call", {"action": "stop"}, REST))
        ringing = exchange.ringing()
        await exchange.follow(ringing, start())
        assert ringing.status == "ringing", "to record answers nothing"
        call, recorder = await recorded(exchange, first)
        await exchange.settle()
        assert recorder.state in ("stopping", "available") and recorder.reason == "stopped" and call.status == "progressing"


async def test_both_parties_left_the_recorded_leg_right_the_rest(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, start(USER))
        await exchange.outcome(True)
        await exchange.wait(2.0)
        recorder.stop("stopped")
        await exchange.wait(2.0)
        samples, rate = exchange.file(recorder)
        mine, theirs = exchange.hertz[call.facts.id], exchange.hertz[exchange.calls[1].facts.id]
    length = len(samples) / rate
    assert samples.shape[1] == 2
    assert loud(samples, rate, 0, mine, 0.5, length - 0.2) > 0.1 > loud(samples, rate, 0, theirs, 0.5, length - 0.2)
    assert loud(samples, rate, 1, theirs, 0.5, length - 0.2) > 0.1 > loud(samples, rate, 1, mine, 0.5, length - 0.2)


@pytest.mark.parametrize(("given", "made", "kind"), [
    ("mp3", "mp3", "audio/mpeg"), ("wav", "wav", "audio/x-wav"), (None, "mp3", "audio/mpeg"), ("flac", "mp3", "audio/mpeg")
])  # fmt: skip
async def test_format_decides_name_and_type_and_falls_back_to_mp3(tmp_path: Path, given: str | None, made: str, kind: str) -> None:
    async with Exchange(tmp_path) as exchange:
        more = {"format": given} if given else {}
        _, recorder = await recorded(exchange, start(url="http://h/x", **more))
        await exchange.wait(1.0)
        document = recording_document(recorder.view())
        assert (document["media_type"], document["content_type"]) == (made, kind)
        assert sent(recorder)[0].url.endswith(f".{made}")


async def test_label_makes_the_origin_and_a_document_s_own_origin_does_not(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        for given, name, origin in (
            ({"label": "sales", "origin": "mine"}, "", "callflow : sales"),
            ({"origin": "mine"}, "named", "callflow : named"),
            ({}, "", "callflow : here"),
        ):
            _, recorder = await recorded(exchange, {"name": name, "flow": start(**given)} if name else start(**given))
            assert recording_document(recorder.view())["origin"] == origin


async def test_media_id_is_the_recording_s_id_and_for_one_at_a_time(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        _, first = await recorded(exchange, start(media_id="my-id"))
        _, second = await recorded(exchange, start(media_id="my-id"))
        _, third = await recorded(exchange, start())
        shown = [recording_document(recorder.view()) for recorder in (first, second, third)]
        assert shown[0].get("media_id", shown[0]["id"]) == "my-id"
        for document in shown[1:]:
            month, _, digits = document["id"].partition("-")
            assert len(month) == 6 and len(digits) == 32 and "my-id" not in document.values()


async def test_media_name_is_shown_and_never_a_path(tmp_path: Path) -> None:
    async with Exchange(tmp_path / "spool") as exchange:
        for name in ("call.mp3", "../../etc/x y.mp3", "/absolute.wav", "no extension"):
            _, recorder = await recorded(exchange, start(media_name=name, url="http://h/x"))
            await exchange.wait(0.3)
            document = recording_document(recorder.view())
            assert (document["name"], document["description"]) == (name, f"recording {name}")
            assert "call_recording_" in sent(recorder)[0].url
        ids = {recorder.id for recorder in exchange.recorders}
        strange = [path for path in below(tmp_path) if path.parent.name not in ids and path.name != "reserve"]
        assert not strange


METHODS = [({}, "PUT"), ({"method": "put"}, "PUT"), ({"method": "post"}, "POST"), ({"method": "POST"}, "POST")]


@pytest.mark.parametrize(("data", "method"), METHODS)
async def test_url_and_method_make_the_upload(tmp_path: Path, data: dict[str, str], method: str) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, start(url="http://your.server.com/recordings", **data))
        await exchange.wait(0.3)
        (row,) = sent(recorder)
        assert (row.method, row.url) == (method, f"http://your.server.com/recordings/call_recording_{call.session.call_id}.mp3")


async def test_record_min_sec_leaves_nothing_of_what_is_shorter(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        outcomes = []
        for seconds in (1.0, 3.0):
            _, recorder = await recorded(exchange, start(record_min_sec=2))
            await exchange.wait(seconds)
            recorder.stop("stopped")
            await exchange.wait(2.0)
            await recorder.done.wait()
            outcomes.append((recorder.manifest().state, recorder.manifest().reason))
        assert outcomes == [("failed", "too_short"), ("stopped", "stopped")]


async def test_record_on_answer_waits_for_the_answer(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        ringing = exchange.ringing()
        _, waits = await recorded(exchange, start(record_on_answer=True), ringing)
        early = exchange.ringing()
        _, begins = await recorded(exchange, start(), early)
        for call in (ringing, early):
            exchange.early(call)
        await exchange.settle()
        assert waits.waits and not begins.waits, "without the flag what is heard early is on it"
        exchange.tell_up(ringing)
        await exchange.settle()
        assert not waits.waits


async def test_record_on_bridge_waits_for_the_bridge(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        _, recorder = await recorded(exchange, start(USER, record_on_bridge=True))
        await exchange.wait(1.0)
        assert recorder.waits
        await exchange.outcome(True)
        await exchange.wait(1.0)
        assert not recorder.waits and recorder.state == "recording"


async def test_record_on_what_already_happened_starts_now_and_stop_cancels_one_that_waits(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        _, now = await recorded(exchange, start(record_on_answer=True))
        assert not now.waits
        _, cancelled = await recorded(exchange, start(action("record_call", {"action": "stop"}, REST), record_on_bridge=True))
        await exchange.settle()
        assert (cancelled.manifest().state, cancelled.manifest().reason) == ("failed", "cancelled")


@pytest.mark.parametrize(("given", "made"), [(16000, 16000), (None, 8000), (12345, 8000)])
async def test_record_sample_rate_is_the_file_s(tmp_path: Path, given: int | None, made: int) -> None:
    async with Exchange(tmp_path) as exchange:
        _, recorder = await recorded(exchange, start(**({"record_sample_rate": given} if given else {})))
        await exchange.wait(1.0)
        recorder.stop("stopped")
        await exchange.wait(2.0)
        samples, rate = exchange.file(recorder)
    assert rate == made and len(samples) / rate == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("follow", [None, True, False])
async def test_should_follow_transfer(tmp_path: Path, follow: bool | None) -> None:
    """Of a transfer by who is recorded; blind and attended ones of all kinds are in test_recording_transfers."""
    async with Exchange(tmp_path) as exchange:
        more = {} if follow is None else {"should_follow_transfer": follow}
        call, recorder = await recorded(exchange, start(USER, **more))
        await exchange.outcome(True)
        await exchange.wait(1.0)
        refer = Refer("sip:new@192.0.2.77")
        exchange.transfers.referred(call, refer)  # type: ignore[arg-type]
        await exchange.settle()
        await exchange.outcome(True)
        await exchange.wait(0.5)
        if follow is False:
            assert recorder.reason == "transfer"
        else:
            assert exchange.calls[-1].recordings.active is recorder


async def test_silence_detection_ends_it_after_the_final_timeout(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        _, ends = await recorded(exchange, start(silence_detection=True, silence_final_timeout=2000))
        call, never = await recorded(exchange, start(silence_final_timeout=2000))
        await exchange.wait(1.0)
        for each in exchange.calls:
            each.recordings.voice(each.leg, True, exchange.engine.now())
        await exchange.wait(2.5)
        assert ends.state == "recording", "while somebody speaks"
        for each in exchange.calls:
            each.recordings.voice(each.leg, False, exchange.engine.now())
        await exchange.wait(1.9)
        assert ends.state == "recording"
        await exchange.wait(0.3)
        assert (ends.reason, never.state, call.status) == ("silence", "recording", "progressing")


async def test_silence_initial_timeout_ends_it_where_nobody_ever_spoke(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, start(silence_detection=True, silence_initial_timeout=1500, silence_threshold=30000))
        await exchange.wait(1.4)
        assert recorder.state == "recording"
        await exchange.wait(0.3)
        assert (recorder.reason, call.status) == ("silence", "progressing")


@pytest.mark.parametrize(("threshold", "ended"), [(200, False), (30000, True)])
async def test_silence_threshold_is_the_level_below_which_it_is_silent(tmp_path: Path, threshold: int, ended: bool) -> None:
    async with Exchange(tmp_path) as exchange:
        _, recorder = await recorded(exchange, start(silence_detection=True, silence_initial_timeout=1000, silence_threshold=threshold))
        await exchange.wait(2.5)
        assert (recorder.reason == "silence") == ended, "everybody says a tone all the time"


async def test_skip_module_goes_on_without(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call = exchange.caller()
        script = await exchange.follow(call, start(skip_module=True))
        assert not list(call.recordings) and script.action["module"] == "sleep"


@pytest.mark.parametrize(("given", "seconds"), [(5, 5.0), (1, 5.0)])
async def test_time_limit_ends_it_and_the_call_goes_on(tmp_path: Path, given: int, seconds: float) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, start(time_limit=given))
        await exchange.wait(seconds - 0.2)
        assert recorder.state == "recording"
        await exchange.wait(0.5)
        assert (recorder.reason, call.status) == ("max_seconds", "progressing")
        _, unlimited = await recorded(exchange, start())
        assert unlimited.spec.max_s == 3600.0


async def test_max_recording_time_limit_caps_every_limit(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        assert exchange.kit.settings.recording.kazoo_max_recording_time_limit == 10800
        _, recorder = await recorded(exchange, start(time_limit=10800))
        assert recorder.spec.max_s == 10800.0
    async with Exchange(tmp_path / "2", recording={"kazoo_max_recording_time_limit": 60}) as exchange:
        _, recorder = await recorded(exchange, start(time_limit=1200))
        assert recorder.spec.max_s == 60.0


async def test_no_url_is_kept_here_or_not_made(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        _, recorder = await recorded(exchange, start(url=""))
        assert recorder.state == "recording" and sent(recorder) == []
    async with Exchange(tmp_path / "2", recording={"store_recordings": False}) as exchange:
        call = exchange.caller()
        script = await exchange.follow(call, start())
        assert not list(call.recordings) and script.action["module"] == "sleep"
        _, recorder = await recorded(exchange, start(url="http://h/x"), call)
        assert recorder.state == "recording"


async def test_bad_scheme_is_not_recorded_and_the_flow_goes_on(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call = exchange.caller()
        script = await exchange.follow(call, start(url="gopher://h/x"))
        assert not list(call.recordings) and script.action["module"] == "sleep"


async def test_stop_ends_the_newest_first_and_without_any_is_no_error(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        stop = action("record_call", {"action": "stop"}, REST)
        call, _ = await recorded(exchange, start(start(stop, label="second"), label="first"))
        await exchange.settle()
        first, second = call.recordings
        assert (first.state, second.reason) == ("recording", "stopped")
        alone = exchange.caller()
        script = await exchange.follow(alone, stop)
        assert script.action["module"] == "sleep" and alone.status == "progressing"
        with pytest.raises(InvalidState):
            alone.stop_recording()


async def test_several_recordings_of_a_call_are_independent(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call, _ = await recorded(exchange, start(start(label="second", media_name="same.mp3"), label="first", media_name="same.mp3"))
        exchange.recorders = [*call.recordings]
        await exchange.wait(1.0)
        first, second = call.recordings
        assert first.id != second.id
        first.stop("stopped")
        await exchange.wait(1.5)
        assert second.state == "recording"
        second.stop("stopped")
        await exchange.wait(2.0)
        lengths = [round(len(exchange.file(recorder)[0]) / 8000, 1) for recorder in (first, second)]
    assert lengths == [1.0, 2.5]


async def test_hangup_ends_and_keeps_every_recording(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call, _ = await recorded(exchange, start(start(url="http://h/2"), url="http://h/1"))
        exchange.recorders = [*call.recordings]
        await exchange.wait(1.0)
        exchange.bye(call)
        await exchange.wait(2.0)
        for number, recorder in enumerate(exchange.recorders, 1):
            await recorder.done.wait()
            assert (recorder.manifest().state, recorder.reason) == ("stopped", "hangup")
            assert sent(recorder)[0].url.startswith(f"http://h/{number}/call_recording_")


# --- record_caller


def caller(child: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    return action("record_caller", data, child)


async def test_record_caller_has_the_caller_only(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, caller(REST))
        call.play(await exchange.kit.prompts.say("", "", 8000), lambda stopped: None)
        await exchange.wait(2.0)
        recorder.stop("stopped")
        await exchange.wait(2.0)
        samples, rate = exchange.file(recorder)
        mine = exchange.hertz[call.facts.id]
    assert samples.shape[1] == 1
    assert loud(samples, rate, 0, mine, 0.2, 1.8) > 0.1 and loud(samples, rate, 0, SPEECH_HZ, 0.1, 0.9) < 0.01


async def test_record_caller_holds_the_flow_until_its_end(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call = exchange.caller()
        script = await exchange.follow(call, caller(REST))
        exchange.recorders += call.recordings
        await exchange.wait(2.0)
        assert script.action["module"] == "record_caller"
        call.on_digit("5", exchange.engine.now(), event=False)
        await exchange.wait(2.0)
        await exchange.recorders[0].done.wait()
        await exchange.settle()
        assert script.action["module"] == "sleep"


async def test_record_caller_answers_only_what_will_be_kept(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        ringing = exchange.incoming()
        await exchange.follow(ringing, caller(REST, url="gopher://h/x"))
        assert ringing.session.state == "early" or ringing.status == "ringing"
        assert ringing.session.state != "confirmed"
        answered = exchange.incoming()
        await exchange.follow(answered, caller(REST, url="http://h/x"))
        assert answered.session.state == "confirmed"
        exchange.tell_up(answered)
        await exchange.settle()
        exchange.recorders += answered.recordings
        assert len(list(answered.recordings)) == 1


async def test_record_caller_and_voicemail_where_nothing_is_stored(tmp_path: Path) -> None:
    async with Exchange(tmp_path, recording={"store_recordings": False}) as exchange:
        ringing = exchange.incoming()
        script = await exchange.follow(ringing, caller(REST))
        assert ringing.session.state != "confirmed" and script.action["module"] == "sleep", "it is not answered for nothing"
        call = exchange.caller()
        await exchange.follow(call, action("voicemail", {"id": "b1"}, REST))
        for _ in range(4):  # greeting, beep
            await exchange.wait(0.6)
        exchange.recorders += call.recordings
        assert [recorder.spec.origin for recorder in call.recordings] == ["voicemail"], "messages are kept all the same"


@pytest.mark.parametrize(("end", "reason"), [("key", "key"), ("silence", "silence"), ("limit", "max_seconds"), ("hangup", "hangup")])
async def test_record_caller_ends_on_key_silence_limit_and_hangup(tmp_path: Path, end: str, reason: str) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, caller(REST, time_limit=7))
        call.recordings.voice(call.leg, True, exchange.engine.now())
        await exchange.wait(1.0)
        if end == "key":
            call.on_digit("#", exchange.engine.now(), event=False)
        elif end == "hangup":
            exchange.bye(call)
        elif end == "silence":
            call.recordings.voice(call.leg, False, exchange.engine.now())
            await exchange.wait(4.8)
            assert recorder.state == "recording"
            await exchange.wait(0.4)
        else:
            await exchange.wait(6.2)
        assert recorder.reason == reason


async def test_record_caller_takes_every_field_of_record_call(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        data = {
            "format": "wav", "method": "post", "url": "http://h/x", "time_limit": 60, "record_min_sec": 1, "record_sample_rate": 16000,
            "media_name": "n.wav", "media_id": "m", "origin": "x", "record_on_answer": True, "record_on_bridge": True,
            "should_follow_transfer": False, "silence_detection": True, "silence_final_timeout": 3000, "silence_threshold": 300,
        }  # fmt: skip
        _, recorder = await recorded(exchange, caller(REST, **data))
        spec = recorder.spec
        assert (spec.format, spec.max_s, spec.min_s, spec.rate) == ("wav", 60.0, 1.0, 16000)
        assert spec.silence is not None and (spec.silence.final_s, spec.silence.threshold) == (3.0, 300)
        await exchange.wait(1.5)
        (row,) = sent(recorder)
        assert row.method == "POST" and "/call_recording_" in row.url and row.url.endswith(".wav")
        assert recording_document(recorder.view())["name"] == "n.wav"


async def test_record_caller_as_a_leaf_hangs_up(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call, recorder = await recorded(exchange, caller())
        await exchange.wait(1.0)
        call.on_digit("#", exchange.engine.now(), event=False)
        await exchange.wait(2.0)
        await recorder.done.wait()
        await exchange.settle()
        assert call.over


# --- the flow


async def test_a_missing_child_hangs_up(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call = exchange.caller()
        await exchange.follow(call, action("noop"))
        assert call.over


async def test_user_answered_ends_the_flow_after_the_conversation(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call = exchange.caller()
        script = await exchange.follow(call, action("user", {"id": "bob"}, REST))
        assert exchange.dialled[0][0].timeout_s == 20.0
        await exchange.outcome(True)
        assert script.action["module"] == "user" and call.place is not None
        exchange.bye(exchange.calls[1])
        await exchange.settle()
        assert call.over


async def test_user_not_answered_goes_on_with_its_child(tmp_path: Path) -> None:
    async with Exchange(tmp_path) as exchange:
        call = exchange.caller()
        script = await exchange.follow(call, action("user", {"id": "bob"}, REST))
        await exchange.outcome(False)
        assert script.action["module"] == "sleep" and not call.over
