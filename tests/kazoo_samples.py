"""The sample flows of KAZOO's own page on recording, as they are written there."""

from __future__ import annotations

START = """{
    "module": "record_call",
    "data": {
        "action": "start",
        "time_limit": 1200,
        "format": "mp3",
        "url": "http://your.server.com/recordings"
    }
}"""
STOP = '{"module": "record_call", "data": {"action": "stop"}}'
PER_USER = """{
    "module": "record_call",
    "data": {"action": "start", "format": "mp3", "url": "http://my.recording.server/{ACCOUNT_ID}/{USER_ID}", "time_limit":360},
    "children": {
        "_": {
            "module": "user",
            "data": {"id": "{USER_ID}"},
            "children": {
                "_": {
                    "module": "record_call",
                    "data": {"action": "stop"},
                    "children": {"module": "voicemail", "data": {"id": "{VMBOX_ID}"}, "children": {}}
                }
            }
        }
    }
}"""
CALLER = """{
    "module": "say",
    "data": {"text": "Please leave your message after the beep"},
    "children": {
        "_": {
            "module": "record_caller",
            "data": {"format": "mp3", "url": "http://my.recording.server/voicemail/{ACCOUNT_ID}/{BOX_ID}", "time_limit":360}
        }
    }
}"""
