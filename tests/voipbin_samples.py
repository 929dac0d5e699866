"""The example of VoIPBIN's own page on recording: a greeting, then a call to somebody, both recorded."""

from __future__ import annotations

EXAMPLE = """{ "actions": [ { "type": "answer" }, { "type": "recording_start", "option": { "format": "wav" } },
 { "type": "talk", "option": { "text": "This call is being recorded for quality purposes." } },
 { "type": "connect", "option": { "destinations": [{"type": "tel", "target": "+15551234567"}] } },
 { "type": "recording_stop" } ] }"""
