"""What parties do to their calls by keys (KAZOO's metaflows), and the same actions asked for over an API.

`Metaflows` listens to the keys of all calls. A call, once it is up, owns the documents of its callflow, its account or its user; each
of them collects the keys of those it listens to, apart from the others. The keys are heard by everybody else as well: a flow or the
other party gets them, too. What each action does is in `Actions`; one that cannot be done is logged and passed over.

    record_call     start on the leg that pressed; stop and toggle: the newest there, or of whom it talks with;
                    mask and unmask: every recording of the conversation, since what is to be hidden is heard on all of them
    hangup, hold, hold_control, resume, tts, say, play, transfer, callflow, pivot
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import structlog

from tapeline import flow
from tapeline.calls import company
from tapeline.calls.alarm import Alarm
from tapeline.calls.equipment import Equipment
from tapeline.calls.recorder import Recorder
from tapeline.calls.script import scripted
from tapeline.calls.session import Call
from tapeline.calls.transfer import Transfers
from tapeline.calls.variables import variables_of
from tapeline.core.errors import InvalidInput, TapelineError

__all__ = ["Actions", "Metaflows"]

log = structlog.get_logger(__name__)

MOST_TEXT = 1000
MOST_KEPT = 500  # documents that are kept compiled


class Metaflows:
    def __init__(self, equipment: Equipment, actions: Actions) -> None:
        self._kit = equipment
        self.actions = actions
        self._owned: dict[str, list[_Owned]] = {}  # by the id of the call
        self._compiled: OrderedDict[int, tuple[Mapping[str, Any], flow.Metaflows | None]] = OrderedDict()  # by the document's identity

    def own(self, call: Call, documents: Iterable[Mapping[str, Any]]) -> None:
        """From now on `documents` hold for `call`, the most particular first. One that cannot be used is logged and left out."""
        found = self._owned.get(call.facts.id, [])
        for document in documents:
            compiled = self._compile(document)
            if compiled is not None and (compiled.numbers or compiled.patterns):
                found.append(_Owned(compiled, self._kit, self._matched))
        if found and call.facts.id not in self._owned and not call.over:
            self._owned[call.facts.id] = found
            call.when_over(lambda: self._forget(call.facts.id))

    def _compile(self, document: Mapping[str, Any]) -> flow.Metaflows | None:
        """The document, compiled once for all calls: it is kept with what was made of it, and is not changed meanwhile."""
        kept = self._compiled.get(id(document))
        if kept is not None:
            self._compiled.move_to_end(id(document))
            return kept[1]
        problems = flow.Problems()
        compiled = flow.metaflows(document, problems)
        if compiled is None:
            log.warning("metaflows cannot be used", problems=[str(problem) for problem in problems.sorted()[:5]])
        self._compiled[id(document)] = document, compiled
        if len(self._compiled) > MOST_KEPT:
            self._compiled.popitem(last=False)
        return compiled

    def _forget(self, call_id: str) -> None:
        for owned in self._owned.pop(call_id, []):
            owned.forget()

    def pressed(self, call: Call, digit: str) -> None:
        """The party of `call` pressed a key."""
        if not self._owned:
            return
        for owned in self._listening(call):
            owned.press(call, digit)

    def _listening(self, call: Call) -> list[_Owned]:
        own = [owned for owned in self._owned.get(call.facts.id, ()) if owned.listens("self")]
        others = (self._owned.get(other.facts.id, ()) for other in company.others(call))
        return own + [owned for found in others for owned in found if owned.listens("peer")]

    def _matched(self, call: Call, found: flow.MetaflowFound) -> None:
        """One of them has an action for what was pressed: the others forget it."""
        for owned in self._listening(call):
            owned.forget(call)
        if not call.over:
            self._kit.spawn(self.actions.run(call, found.action, found))


class _Owned:
    """One document of one call: a collector for each party that it listens to."""

    def __init__(self, metaflows: flow.Metaflows, kit: Equipment, matched: Callable[[Call, flow.MetaflowFound], None]) -> None:
        self._metaflows = metaflows
        self._kit = kit
        self._matched = matched
        self._collecting: dict[str, tuple[flow.Collector, Alarm]] = {}  # by the id of the call whose party presses

    def listens(self, side: str) -> bool:
        return self._metaflows.listen_on in (side, "both")

    def press(self, call: Call, digit: str) -> None:
        if call.facts.id not in self._collecting:
            collector = flow.Collector(self._metaflows)
            self._collecting[call.facts.id] = collector, Alarm(self._kit.clock, lambda: self._tick(call))
        collector, alarm = self._collecting[call.facts.id]
        collector.press(digit, self._kit.clock.now())
        alarm.set(collector.deadline)

    def _tick(self, call: Call) -> None:
        collector, alarm = self._collecting[call.facts.id]
        found = collector.tick(self._kit.clock.now())
        alarm.set(collector.deadline)
        if found is not None:
            self._matched(call, found)

    def forget(self, call: Call | None = None) -> None:
        """Await no more keys of `call`; None: of anybody."""
        for call_id, (collector, alarm) in self._collecting.items():
            if call is None or call.facts.id == call_id:
                collector.forget()
                alarm.set(None)


class Actions:
    """What may be done to a call that is up, by a key or over an API."""

    def __init__(self, equipment: Equipment, transfers: Transfers) -> None:
        self._kit = equipment
        self._transfers = transfers

    async def run(self, call: Call, action: flow.Action | None, found: flow.MetaflowFound | None = None) -> None:
        """Carry out `action` and what comes after it. `found`: the keys that asked for it."""
        while action is not None and not call.over:
            try:
                await self._do(call, action, found)
            except TapelineError as error:
                log.info("an action on a call came to nothing", call_id=call.facts.id, module=action.module, error=str(error))
            action = action.next

    async def _do(self, call: Call, action: flow.Action, found: flow.MetaflowFound | None) -> None:
        data = action.data
        match action.module:
            case "record_call":
                self._record(call, data)
            case "hangup":
                call.hang_up("normal", "hung up by a key")
            case "hold":
                call.controls.hold(True)
            case "resume":
                call.controls.hold(False)
            case "hold_control":
                wanted = data.get("action")
                call.controls.hold(not call.controls.on_hold if wanted not in ("hold", "unhold") else wanted == "hold")
            case "tts" | "say":
                for each in _legs(call, data.get("leg", "self")):
                    each.controls.talk(str(data.get("text", ""))[:MOST_TEXT], str(data.get("language") or "en-US"))
            case "play":
                for each in _legs(call, data.get("leg", "both")):
                    samples = await self._kit.prompts.load(str(data.get("id", "")), each.leg.rate)
                    if not each.over:
                        each.play(samples, lambda stopped: None)
            case "break":
                call.media.break_off()
            case "intercept":
                kind = str(data.get("target_type") or "user")
                self._transfers.start(call, flow.Party("" if kind == "number" else kind, str(data.get("target_id", ""))))
            case "transfer":
                self._transfer(call, data, found)
            case "callflow" | "pivot":
                self._enter(call, action)
            case other:
                log.warning("an action on a call is not known here", call_id=call.facts.id, module=other)

    def _record(self, call: Call, data: Mapping[str, Any]) -> None:
        wanted = data.get("action") or "toggle"
        active = newest(call)
        if wanted == "start" or (wanted == "toggle" and active is None):
            self._start(call, data)
        elif wanted in ("stop", "toggle"):
            if active is None:
                log.info("there is no recording to be stopped", call_id=call.facts.id)
            else:
                active.stop("stopped")
        elif wanted in ("mask", "unmask"):
            for recorder in recordings(call):
                recorder.mask("silence") if wanted == "mask" else recorder.unmask()
        else:
            raise InvalidInput(f"no such action of a recording: {str(wanted)[:40]!r}")

    def _start(self, call: Call, data: Mapping[str, Any]) -> None:
        variables = variables_of(call, self._kit.settings)
        origin = str(data.get("origin") or f"untracked : {variables.get('kazoo.dialled')}")
        fields = {name: value for name, value in data.items() if name not in ("action", "origin", "label")}
        spec = flow.recording_spec({"action": "start", **fields}, variables.substitute, origin=origin)
        call.start_recording(self._kit.permitted(spec, call.facts.account))

    def _transfer(self, call: Call, data: Mapping[str, Any], found: flow.MetaflowFound | None) -> None:
        """The party that pressed lets somebody else take its place."""
        captured = found.captures[1:] or found.captures if found is not None else ()
        target = str(data.get("target") or next(iter(captured), ""))
        others = company.others(call)
        if not target or not others:
            raise InvalidInput("there is nobody to be transferred, or nobody to be transferred to")
        self._transfers.start(others[0], flow.Party("", target))

    def _enter(self, call: Call, action: flow.Action) -> None:
        """The call leaves whom it talks with, and goes on in another flow."""
        data = dict(action.data)
        document = data.get("flow") if action.module == "callflow" and isinstance(data.get("flow"), Mapping) else None
        compiled = flow.compile(document or {"module": action.module, "data": data}, dialect="kazoo")
        if compiled.program is None:
            raise InvalidInput("the flow cannot run", problems=[str(problem) for problem in compiled.errors])
        script = scripted(compiled.program, call, self._kit)
        call.lead(script)
        if call.place is not None:
            call.place.leave(call)
        script.start()


def recordings(call: Call) -> list[Recorder]:
    """All that is being recorded of the conversation that `call` is in."""
    return [recorder for each in (call, *company.others(call)) for recorder in each.recordings if recorder.state == "recording"]


def newest(call: Call) -> Recorder | None:
    """The newest active recording of `call`, or else of whom it talks with."""
    return next((found for each in (call, *company.others(call)) if (found := each.recordings.active) is not None), None)


def _legs(call: Call, which: object) -> tuple[Call, ...]:
    others = company.others(call)
    return {"self": (call,), "peer": others, "both": (call, *others)}.get(str(which), (call,))
