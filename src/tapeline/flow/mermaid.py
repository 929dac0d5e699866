"""A program as a Mermaid flowchart, for people to look at.

One box for each step, one arrow for each edge; the arrow of the default edge has no text. Knows the model only.
"""

from __future__ import annotations

from tapeline.flow.program import DEFAULT, END, Program, Step

__all__ = ["mermaid"]

MAX_LABEL = 60
_ENTITIES = str.maketrans({"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "\n": " ", "\r": " ", "`": "'"})


def mermaid(program: Program) -> str:
    """The flowchart's text, without a line break at its end."""
    names = {step: f"s{place}" for place, step in enumerate(program.steps, 1)}
    boxes = [f"    {name}[{_quoted(_title(program.steps[step]))}]" for step, name in names.items()]
    arrows = [("start", "", program.entry)]
    for step in program.steps.values():
        arrows += [(names[step.id], result, target) for result, target in step.edges.items()]
        if DEFAULT not in step.edges and step.op.kind not in ("hangup", "stop"):
            arrows.append((names[step.id], DEFAULT, END))
    outside = sorted({target for _, _, target in arrows if target != END and target not in names})
    names |= {target: f"o{place}" for place, target in enumerate(outside, 1)}
    boxes += [f"    {names[target]}[/{_quoted('outside: ' + target)}/]" for target in outside]
    if any(target == END for _, _, target in arrows):
        boxes.append(f"    done(({_quoted('hang up' if program.at_end == 'hangup' else 'stay in the call')}))")
    lines = [f"    {source} -->{_text(result)} {names.get(target, 'done')}" for source, result, target in arrows]
    return "\n".join(["flowchart TD", "    start((call))", *boxes, *lines])


def _title(step: Step) -> str:
    option = step.action.get("option") or {}
    about = next((str(value) for value in option.values() if isinstance(value, str | int)), "") if isinstance(option, dict) else ""
    return f"{step.label or step.op.kind}: {about}" if about else step.label or step.op.kind


def _text(result: str) -> str:
    return "" if result in (DEFAULT, "") else f"|{_quoted(result)}|"


def _quoted(text: str) -> str:
    short = text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"
    return f'"{short.translate(_ENTITIES)}"'
