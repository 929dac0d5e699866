"""Which tests hold each line of the acceptance list for the platform of NCCOs: one that is named and not there fails."""

from __future__ import annotations

import pytest

from beside import page
from checklists import is_there

PARSING = "unit/flow/test_flow_vonage.py::"
RECORDINGS = "sim/test_ncco_recordings.py::"
ROOMS = "sim/test_ncco_conversations.py::"
CONNECT = "sim/test_ncco_connect.py::"
EVENTS = "unit/api/test_api_vonage_events.py::"
FILES = "unit/api/test_api_vonage_files.py::"
CALLS = "unit/api/test_api_vonage_calls.py::"
ASKING = "unit/calls/test_calls_webhooks.py::"
SENDING = "unit/delivery/test_delivery_vonage.py::"
SERVER = "system/test_vonage_calls.py::"
SDK = "system/test_vonage_sdk.py::"

LINES: dict[str, tuple[str, ...]] = {
    "NCCO parsing": (PARSING + "test_ncco_parsing", SERVER + "test_a_message_is_left_and_ends_with_silence"),
    "String values": (PARSING + "test_string_values",),
    "Null / unknown keys": (PARSING + "test_null_and_unknown_keys",),
    "Record: voicemail mode": (PARSING + "test_record_voicemail_mode", SERVER + "test_a_message_is_left_and_ends_with_silence"),
    "endOnSilence": (RECORDINGS + "test_end_on_silence", RECORDINGS + "test_end_on_silence_of_a_caller_who_says_nothing"),
    "endOnKey": (RECORDINGS + "test_end_on_key",),
    "First condition wins": (RECORDINGS + "test_first_condition_wins",),
    "beepStart": (RECORDINGS + "test_beep_start",),
    "timeOut": (RECORDINGS + "test_time_out",),
    "Hang-up during record": (RECORDINGS + "test_hang_up_during_record", SERVER + "test_hang_up_during_record"),
    "Record call between two people": (RECORDINGS + "test_record_call_between_two_people",),
    "Last-position record": (PARSING + "test_last_position_record", RECORDINGS + "test_last_position_record"),
    "Default format": (RECORDINGS + "test_default_format_and_format_wav_ogg", SERVER + "test_a_message_is_left_and_ends_with_silence"),
    "format wav / ogg": (
        RECORDINGS + "test_default_format_and_format_wav_ogg",
        SERVER + "test_recordings_are_listed_by_leg_and_by_conversation",
    ),
    "split": (RECORDINGS + "test_split", SERVER + "test_a_websocket_talks_with_the_caller"),
    "channels": (RECORDINGS + "test_channels", PARSING + "test_split_and_channels"),
    "Conversation record, standard": (
        ROOMS + "test_conversation_record_standard",
        SERVER + "test_four_sipp_telephones_in_a_conversation_are_on_one_recording",
    ),
    "Conversation record, moderated": (ROOMS + "test_conversation_record_moderated",),
    "startOnEnter / musicOnHoldUrl": (
        ROOMS + "test_start_on_enter_and_music_on_hold_url",
        ROOMS + "test_no_music_is_silence_and_one_alone_hears_none",
    ),
    "endOnExit": (ROOMS + "test_end_on_exit", ROOMS + "test_conversation_record_moderated"),
    "Name scope": (ROOMS + "test_name_scope",),
    "canHear / canSpeak / mute": (ROOMS + "test_can_hear_can_speak_mute", ROOMS + "test_who_is_transferred_may_choose_whom_it_hears"),
    "Multiple record flags": (
        ROOMS + "test_multiple_record_flags",
        ROOMS + "test_whoever_names_another_address_for_the_recording_is_told_too",
        EVENTS + "test_each_address_of_a_recording_is_told_the_same",
    ),
    "Recordings attach to leg or conversation": (
        RECORDINGS + "test_recordings_attach_to_leg_or_conversation",
        EVENTS + "test_a_recording_of_a_conversation_is_told_by_its_conversation",
        SERVER + "test_recordings_are_listed_by_leg_and_by_conversation",
    ),
    "Record event": (EVENTS + "test_record_event", SDK + "test_a_recorded_call_from_its_creation_to_its_file"),
    "Record event `timestamp`, no `status`": (EVENTS + "test_record_event",),
    "Event timing": (RECORDINGS + "test_event_timing", SDK + "test_what_was_spoken_is_in_the_file"),
    "Two ids": (FILES + "test_two_ids", EVENTS + "test_record_event"),
    "size": (FILES + "test_size_is_the_content_length_and_ranges_are_served", SERVER + "test_hang_up_during_record"),
    "eventMethod GET": (EVENTS + "test_event_method_get",),
    "eventUrl missing/empty": (
        EVENTS + "test_event_url_missing_or_empty",
        ROOMS + "test_a_recording_that_names_no_address_is_told_where_the_call_s_events_go",
    ),
    "Event retry": (SENDING + "test_event_retry",),
    "Signed webhooks": (ASKING + "test_signed_webhooks", SENDING + "test_signed_as_it_is_sent"),
    "Download auth": (FILES + "test_download_auth",),
    "JWT without exp, iat as string": (FILES + "test_jwt_without_exp_iat_as_string",),
    "JWT limits": (FILES + "test_jwt_limits",),
    "GET with Content-Type header": (FILES + "test_get_with_content_type_header",),
    "URL shapes": (FILES + "test_url_shapes",),
    "Host check": (EVENTS + "test_host_check", SDK + "test_a_recorded_call_from_its_creation_to_its_file"),
    "Retention": (FILES + "test_retention", "unit/api/test_api_checklist.py::test_26_after_retention_it_is_gone"),
    "talk / stream": (RECORDINGS + "test_talk_and_stream",),
    "connect phone/sip/websocket": (
        PARSING + "test_the_endpoints",
        CONNECT + "test_connect_joins_the_conversation_and_the_document_goes_on",
        CONNECT + "test_synchronous_fallback",
        CONNECT + "test_limit",
        CONNECT + "test_a_websocket_that_closes_may_be_answered_with_an_ncco",
        SERVER + "test_a_websocket_talks_with_the_caller",
    ),
    "onAnswer": (CONNECT + "test_on_answer",),
    "input / notify / wait / transfer": (
        CONNECT + "test_input",
        CONNECT + "test_asynchronous_input_tells_key_by_key",
        CONNECT + "test_an_answer_that_is_no_ncco_continues",
        PARSING + "test_a_wait_out_of_range_is_moved_into_it",
        ROOMS + "test_transfer",
        ROOMS + "test_transfer_into_the_conversation_of_another_call",
    ),
    "Answer webhook": (ASKING + "test_answer_webhook", ASKING + "test_exactly_the_four_keys_where_there_is_no_more_to_say"),
    "Fallback URL": (
        ASKING + "test_fallback_url",
        ASKING + "test_a_redirect_to_a_private_address_is_not_followed",
        ASKING + "test_a_slow_answer_is_asked_for_twice_and_then_the_fallback",
        SDK + "test_a_caller_is_answered_by_the_fallback",
    ),
    "Error event": (ASKING + "test_error_event", ASKING + "test_an_answer_of_no_use_leads_to_the_fallback"),
    "Call events": (EVENTS + "test_call_events", SDK + "test_a_recorded_call_from_its_creation_to_its_file"),
    "POST /v1/calls": (CALLS + "test_post_v1_calls", SERVER + "test_a_websocket_that_is_called_is_the_call"),
    "GET call(s), PUT actions, stream/talk/dtmf": (
        CALLS + "test_get_calls",
        CALLS + "test_get_a_call",
        CALLS + "test_put_actions",
        CALLS + "test_stream_talk_dtmf",
        SDK + "test_a_call_that_is_up_is_changed",
    ),
    "length_timer / ringing_timer": (CALLS + "test_length_timer_and_ringing_timer", SDK + "test_a_call_that_nobody_takes"),
    "Rate limits": (CALLS + "test_rate_limits_are_none_and_every_request_has_its_answer",),
}


@pytest.mark.parametrize("line", LINES)
def test_every_line_has_its_tests(line: str) -> None:
    missing = [where for where in LINES[line] if not is_there(where)]
    assert LINES[line] and not missing


def test_the_lines_are_those_of_the_list() -> None:
    table = page("spec/vonage.md").partition("## 8. Checklist")[2].partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert rows[0] == "feature" and set(rows[1:]) == set(LINES)
