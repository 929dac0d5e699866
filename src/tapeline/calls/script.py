"""Runs a flow's program on a call: commands become deeds, what happens becomes events.

The interpreter (`tapeline.flow.Run`) decides and waits; this module carries out and never decides. A command that carries a
token is answered with one event of the same token, also when it failed: a flow must never hang.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from tapeline import flow
from tapeline.calls.activeflows import Activeflow
from tapeline.calls.alarm import Alarm
from tapeline.calls.bridge import until_alone
from tapeline.calls.connecting import connect
from tapeline.calls.equipment import Equipment
from tapeline.calls.joining import move_all
from tapeline.calls.kazoo.deeds import Deeds
from tapeline.calls.placing import place_each
from tapeline.calls.recorder import Recorder
from tapeline.calls.session import Call
from tapeline.calls.sounds import Sounds
from tapeline.calls.variables import variables_of
from tapeline.calls.vonage.telling import Teller
from tapeline.core.errors import TapelineError
from tapeline.core.recordspec import RecordSpec
from tapeline.core.vonage import conversation_id
from tapeline.store import ActiveflowRow

__all__ = ["Script", "begin"]

log = structlog.get_logger(__name__)


RETRY_S = 1.0  # between two tries of a webhook
MAX_DOCUMENT_BYTES = 100_000  # of a fetched flow: it is compiled on the event loop, which must not stand still


def scripted(program: flow.Program, call: Call, kit: Equipment, variables: Mapping[str, str] | None = None) -> Script:
    """What runs `program` on `call`, with the variables of that call; `variables` are the starter's own."""
    return Script(program, variables_of(call, kit.settings, variables), call, kit)


def begin(program: flow.Program, call: Call, kit: Equipment, variables: Mapping[str, str] | None = None) -> None:
    """Let `program` run on a call that is up; `variables` are the starter's own."""
    script = scripted(program, call, kit, variables)
    call.follow(script)
    script.start()


class Script:
    """One run of a program, following one call."""

    def __init__(self, program: flow.Program, variables: flow.Variables, call: Call, equipment: Equipment) -> None:
        self._call = call
        self._kit = equipment
        self._run = flow.Run(program, variables, compile=flow.compile, wall=equipment.clock.wall, status=call.status)
        self._alarm = Alarm(equipment.clock, self._tick)
        self._sounds = Sounds(call, equipment, lambda token, interrupted, error: self._tell(flow.PlayEnded(token, interrupted, error)))
        self._recordings: dict[int, Recorder] = {}  # by the token of the step that started it
        self._answering: list[int] = []
        self._dialling: asyncio.Task[None] | None = None
        self._consulting: set[asyncio.Task[None]] = set()  # the application was told of what ended, and may answer with a document
        self.done = asyncio.Event()  # the run is over
        self._teller = Teller(call, equipment)
        self._of_kazoo = Deeds(call, equipment, self._tell)
        self._queue: list[flow.Command] = []
        self._running = False
        self._activeflow: Activeflow | None = None  # from its start on

    def start(self) -> None:
        self._call.led = True
        facts = self._call.facts
        row = ActiveflowRow(
            facts.activeflow_id, facts.account, "running", self._kit.clock.wall(), facts.flow_id, "call", facts.id,
            on_complete_flow_id=self._run.program.on_complete_flow_id, node=self._kit.node,
        )  # fmt: skip
        self._activeflow = self._kit.runs.begin(row, lambda: self._call.hang_up("normal", "its flow was stopped"))
        self._perform(self._run.start(self._kit.clock.now()))

    @property
    def action(self) -> dict[str, Any]:
        return dict(self._run.current.action) if self._run.current is not None else {}

    # -- what happens to the call --------------------------------------------------------------------------------------

    def progressed(self, status: int) -> None:
        """A flow begins when its call is up."""

    def established(self) -> None:
        tokens, self._answering = self._answering, []
        self._tell(flow.CallStatus("progressing"))
        for token in tokens:
            self._tell(flow.Answered(token))

    def digit(self, digit: str) -> None:
        self._teller.digit(digit)
        self._tell(flow.Digit(digit))

    def hung_up(self, cause: str, by: str) -> None:
        self._tell(flow.HungUp(cause, by))
        self._alarm.set(None)
        self._let_go()
        for player in self._sounds.playing:
            player.stop()  # the call may be up, with another program

    def _tick(self) -> None:
        self._perform(self._run.tick(self._kit.clock.now()))

    def _tell(self, event: flow.Event) -> None:
        self._perform(self._run.handle(event, self._kit.clock.now()))

    # -- what the flow wants -------------------------------------------------------------------------------------------

    def _perform(self, commands: list[flow.Command]) -> None:
        """Carry out commands in order; those that arise meanwhile queue up behind them."""
        self._queue += commands
        if self._running:
            return
        self._running = True
        try:
            while self._queue:
                self._do(self._queue.pop(0))
        finally:
            self._running = False
        self._alarm.set(None if self._run.finished else self._run.next_deadline())
        self._follow()
        if self._run.finished:
            self.done.set()

    def _follow(self) -> None:
        """Let it be known which actions have begun, and that the run has ended."""
        if self._activeflow is None:
            return
        if trail := self._run.take_trail():
            self._activeflow.stepped([step.action for step in trail], self._run.variables.as_dict())
            self._call.announce()
        if self._run.finished:
            self._activeflow.end(self._run.variables.as_dict())

    def _do(self, command: flow.Command) -> None:
        try:
            if not self._of_kazoo.do(command):
                self._deeds[type(command)](self, command)
        except TapelineError as error:
            log.error("a step failed", call_id=self._call.facts.id, command=type(command).__name__, error=str(error))
            token = getattr(command, "token", None)
            if token is not None:
                self._tell(flow.Unsupported(token))

    def _answer(self, command: flow.Answer) -> None:
        if self._call.status == "progressing":
            self._tell(flow.Answered(command.token))
        else:
            self._answering.append(command.token)
            self._call.answer()

    def _ring(self, command: flow.Ring) -> None:
        self._call.ring()

    def _say(self, command: flow.Say) -> None:
        self._sounds.play(command.token, [partial(self._kit.prompts.say, command.text, command.language)], command.level)

    def _play(self, command: flow.Play) -> None:
        own = {f"recording:{recording_id}" for recording_id in self._call.recordings.ids} | self._of_kazoo.playable
        allowed = [url for url in command.urls if url in own or not url.startswith("recording:")]
        self._sounds.play(command.token, [partial(self._kit.prompts.load, url) for url in allowed], command.level)

    def _tone(self, command: flow.Tone) -> None:
        self._sounds.beep(command.token)

    def _stop_play(self, command: flow.StopPlay) -> None:
        self._sounds.stop(command.token)

    def _echo(self, command: flow.Echo) -> None:
        self._call.leg.echo(command.on)

    def _start_recording(self, command: flow.StartRecording) -> None:
        try:
            spec = self._told_where(self._kit.permitted(command.spec, self._call.facts.account))
            recorder = self._call.start_recording(spec)
        except TapelineError as error:
            log.warning("the flow's recording was refused", call_id=self._call.facts.id, error=str(error))
            self._tell(flow.RecordingRefused(command.token, error.reason))
            return
        self._recordings[command.token] = recorder
        self._kit.spawn(self._recorded(command.token, recorder))

    def _told_where(self, spec: RecordSpec) -> RecordSpec:
        """The recording of an application that names no address of its own is told of where the call's events go, and says so."""
        facts = self._call.facts
        if spec.custom.get("dialect") != "vonage" or spec.custom.get("event_url") or not facts.event_url:
            return spec
        told = {"event_url": facts.event_url, "event_method": facts.event_method or "POST", "event_named": "no"}
        return replace(spec, custom={**spec.custom, **told})

    async def _recorded(self, token: int, recorder: Recorder) -> None:
        """Tell of the start once audio is captured: what comes next in the flow shall be on the recording. One that waits for something may
        wait for what the flow does next."""
        if not recorder.waits:
            await recorder.begun.wait()
        self._tell(flow.RecordingStarted(token, recorder.id, recorder.variables()))
        await recorder.done.wait()
        if recorder.spec.blocking and recorder.spec.custom.get("dialect") == "vonage" and not self._call.over:
            await self._kit.webhooks.recording_told(recorder.id)
        del self._recordings[token]
        self._tell(flow.RecordingEnded(token, recorder.reason))

    def _stop_recording(self, command: flow.StopRecording) -> None:
        try:
            if isinstance(command.which, int):
                recorder = self._recordings.get(command.which)
                if recorder is not None:
                    recorder.stop("stopped")
            else:
                self._call.stop_recording()
        except TapelineError as error:
            log.info("the flow's stop found no recording", call_id=self._call.facts.id, error=str(error))

    def _send_digits(self, command: flow.SendDigits) -> None:
        self._call.send_digits(command.digits, command.duration_ms, command.gap_ms)
        self._kit.spawn(self._digits_sent(command))

    async def _digits_sent(self, command: flow.SendDigits) -> None:
        await asyncio.sleep(len(command.digits) * (command.duration_ms + command.gap_ms) / 1000)
        self._tell(flow.DigitsSent(command.token))

    def _dial(self, command: flow.Dial) -> None:
        self._dialling = self._kit.spawn(self._dialled(command))

    async def _dialled(self, command: flow.Dial) -> None:
        try:
            ended = await connect(self._call, command, self._kit, self._first, self._disconnected)
        except TapelineError as error:
            log.error("a caller could not be connected", call_id=self._call.facts.id, error=str(error))
            ended = flow.DialEnded(command.token, False, ("FAILED",), "failed")
        self._tell(ended)

    async def _first(self, call: Call, url: str) -> None:
        """Run the flow that `url` answers with on `call`, which this flow has called, until that is over. Without one nothing happens."""
        teller = Teller(call, self._kit)
        found = await teller.fetch(url)
        if found is None or call.over:
            return
        if found.program is None:
            teller.complain("the flow of who answered cannot run", tuple(str(problem) for problem in found.errors[:5]))
            return
        script = scripted(replace(found.program, at_end="stay"), call, self._kit)
        call.follow(script)
        script.start()
        await script.done.wait()
        call.led = False

    def _disconnected(self, other: Call, event: Mapping[str, Any]) -> None:
        """A websocket that this flow has called has closed, and the answer to that may be a document."""
        task = self._kit.spawn(self._told_of_end(other, event))
        self._consulting.add(task)
        task.add_done_callback(self._consulting.discard)

    async def _told_of_end(self, other: Call, event: Mapping[str, Any]) -> None:
        found = await Teller(other, self._kit).consult(event)
        if found is None or self._call.over or self._run.finished:
            return
        if found.program is None:
            self._teller.complain("the document that came cannot run", tuple(str(problem) for problem in found.errors[:5]))
            return
        begun = self._sounds.playing
        self._let_go()
        for recorder in self._recordings.values():
            if recorder.spec.blocking:
                recorder.stop("transfer")
        self._tell(flow.Replaced(found.program))
        for player in begun:
            player.stop()

    def _let_go(self) -> None:
        """Nobody is dialled any more, and what is about to be played is not."""
        self._sounds.let_go()
        if self._dialling is not None:
            self._dialling.cancel()

    def _fetch(self, command: flow.Fetch) -> None:
        self._kit.spawn(self._fetched(command))

    async def _fetched(self, command: flow.Fetch) -> None:
        headers = [("Content-Type", command.content_type)] if command.body else []
        try:
            response = await self._kit.http.request(
                command.method,
                command.url,
                body=command.body,
                headers=headers,
                timeout_s=command.timeout_s,
                max_bytes=MAX_DOCUMENT_BYTES,
            )
        except TapelineError as error:
            log.warning("the flow's request failed", call_id=self._call.facts.id, url=command.url, error=str(error))
            self._tell(flow.Fetched(command.token, 0, b"", str(error)))
        else:
            self._tell(flow.Fetched(command.token, response.status, response.body, ""))

    def _send(self, command: flow.Send) -> None:
        self._kit.spawn(self._sent(command))

    async def _sent(self, command: flow.Send) -> None:
        headers = [("Content-Type", command.content_type)]
        for left in range(command.retries, -1, -1):
            status, body, failure = 0, b"", ""
            try:
                response = await self._kit.http.request(command.method, command.url, body=command.body, headers=headers, timeout_s=10.0)
                status, body = response.status, response.body
            except TapelineError as error:
                failure = str(error)
            if not failure and status < 400:
                break
            log.warning("the flow's webhook failed", call_id=self._call.facts.id, url=command.url, status=status, error=failure, left=left)
            if left:
                await asyncio.sleep(RETRY_S)
        if command.token is not None:
            self._tell(flow.Fetched(command.token, status, body, failure))

    def _ask(self, command: flow.Ask) -> None:
        self._kit.spawn(self._asked(command))

    async def _asked(self, command: flow.Ask) -> None:
        self._tell(flow.Asked(command.token, await self._teller.ask(command)))

    def _report_digits(self, command: flow.ReportDigits) -> None:
        self._teller.report_digits(command)

    def _complain(self, command: flow.Complain) -> None:
        self._teller.complain(command.reason, command.problems)

    def _linger(self, command: flow.Linger) -> None:
        self._kit.spawn(self._lingered(command))

    async def _lingered(self, command: flow.Linger) -> None:
        together = self._call.place is not None
        for other in await until_alone(self._call):
            other.hang_up("normal")
        while self._consulting:  # an answer may tell what comes next
            await asyncio.wait(self._consulting)
        self._tell(flow.Parted(command.token, together))

    def _load_flow(self, command: flow.LoadFlow) -> None:
        self._kit.spawn(self._flow_loaded(command))

    async def _flow_loaded(self, command: flow.LoadFlow) -> None:
        if not command.flow_id and command.number:
            program = self._kit.program_of(command.number, self._call.facts.account)
            self._tell(flow.FlowLoaded(command.token, program, "" if program is not None else "no flow answers that number"))
            return
        known = self._kit.stored.program(command.flow_id, self._call.facts.account)
        if known is not None:
            self._tell(flow.FlowLoaded(command.token, known))
            return
        try:
            document = await self._kit.load_flow(command.flow_id, self._call.facts.account)
            found = await self._kit.thread(partial(flow.compile, document, nested=True))
        except TapelineError as error:
            log.warning("a stored flow cannot be had", call_id=self._call.facts.id, flow_id=command.flow_id, error=str(error))
            self._tell(flow.FlowLoaded(command.token, None, str(error)))
        else:
            problems = "; ".join(str(problem) for problem in found.errors[:5])
            self._tell(flow.FlowLoaded(command.token, found.program, problems))

    def _join_room(self, command: flow.JoinRoom) -> None:
        """Be in a conference until it is left, by whatever way; or run first what the conference asks for."""
        conferences, named = self._kit.conferences, command.kind == "conversation" and not command.everyone
        found = conferences.find(self._call.facts.account, command.room, named=named)
        if command.prelude and found is not None and found.charter.pre_flow_id:
            self._tell(flow.RoomPrelude(command.token, found.charter.pre_flow_id))
            return

        def left(reason: str) -> None:
            if not self._call.over:
                self._tell(flow.RoomLeft(command.token, reason, found.charter.post_flow_id if found is not None else ""))

        spec = command.spec
        if spec.record is not None:
            spec = replace(spec, record=self._told_where(spec.record))
        if command.everyone:
            refused = move_all(self._call, conversation_id(command.room), spec, left, self._kit)
        else:
            application = self._call.facts.application_id if command.scoped else ""
            refused = conferences.join(self._call, command.room, spec, left, named=named, application_id=application)
        if refused:
            log.warning("the flow's conference cannot be joined", call_id=self._call.facts.id, reason=refused)
            self._tell(flow.RoomLeft(command.token, refused))

    def _hangup(self, command: flow.Hangup) -> None:
        cause = self._kit.reason_of(command.like_call_id, self._call.facts.account) if command.like_call_id else ""
        self._call.hang_up(cause or command.cause, command.text, command.status)

    def _place_call(self, command: flow.PlaceCall) -> None:
        self._kit.spawn(self._placed(command))

    async def _placed(self, command: flow.PlaceCall) -> None:
        call = self._call
        await place_each(command, self._kit, call.facts.account, scripted, caller=call, call_id=call.facts.id)

    def _log(self, command: flow.Log) -> None:
        getattr(log, command.level)(command.message, call_id=self._call.facts.id, **command.fields)

    _deeds: dict[type, Callable[[Script, Any], None]] = {
        flow.Answer: _answer,
        flow.Ring: _ring,
        flow.Say: _say,
        flow.Play: _play,
        flow.Tone: _tone,
        flow.StopPlay: _stop_play,
        flow.Echo: _echo,
        flow.StartRecording: _start_recording,
        flow.StopRecording: _stop_recording,
        flow.SendDigits: _send_digits,
        flow.Ask: _ask,
        flow.ReportDigits: _report_digits,
        flow.Complain: _complain,
        flow.Linger: _linger,
        flow.Fetch: _fetch,
        flow.Send: _send,
        flow.Hangup: _hangup,
        flow.Log: _log,
        flow.Dial: _dial,
        flow.JoinRoom: _join_room,
        flow.LoadFlow: _load_flow,
        flow.PlaceCall: _place_call,
    }
