"""The early dialogs of a call of ours: one for each branch that a fork has answered provisionally from (RFC 3261 section 13.2.2.4).

A reliable provisional answer (RFC 3262) is acknowledged by PRACK within its own dialog; a repeated one, and one that overtook another, is
passed over until it comes in its turn (section 4). Its session description is the answer to our offer, or an offer where we made none:
then the PRACK brings our answer. What a branch has settled this way holds when its 2xx comes. The callee's side is in `reliable`. This
module knows nothing of what a description means.
"""

from __future__ import annotations

from tapeline.sip.dialog import Dialog
from tapeline.sip.message import Response
from tapeline.sip.reliable import parse_rseq

__all__ = ["Branch", "EarlyDialogs"]

_MOST = 16


class Branch:
    """`settled`: offer and answer are exchanged. `answer`: the description that the 2xx need not repeat, None where UPDATE replaced it."""

    __slots__ = ("answer", "dialog", "due", "rseq", "seq", "settled")

    def __init__(self, dialog: Dialog) -> None:
        self.dialog = dialog
        self.rseq = 0
        self.seq = 0  # CSeq of the INVITE that it answers
        self.settled = False
        self.answer: bytes | None = None
        self.due = False  # an offer in it waits for our answer, which the PRACK will bring

    def takes(self, response: Response) -> bool:
        """Whether this reliable answer is the next one (section 4: numbers without a gap, the first as it comes)."""
        rseq = parse_rseq(response.get("rseq"))
        if rseq is None or (self.rseq and rseq != self.rseq + 1):
            return False
        self.rseq = rseq
        self.seq = response.cseq[0]
        self.dialog.refresh(response)
        return True


class EarlyDialogs:
    """By the remote tag."""

    __slots__ = ("_branches", "newest")

    def __init__(self, newest: Branch) -> None:
        self._branches = {newest.dialog.remote_tag: newest}
        self.newest = newest  # the one that was heard of last

    def get(self, tag: str) -> Branch | None:
        return self._branches.get(tag)

    @staticmethod
    def is_reliable(response: Response) -> bool:
        return response.get("rseq") is not None and "100rel" in response.tokens("require")

    def heard(self, response: Response, dialog: Dialog) -> Branch | None:
        """A reliable answer: its branch where the answer is the next one there, None where it is to be passed over."""
        tag = response.to.tag
        branch = self._branches.get(tag)
        if branch is None:
            if len(self._branches) >= _MOST:
                return None
            branch = self._branches[tag] = Branch(dialog.confirmed_by(response))
        if not branch.takes(response):
            return None
        self.newest = branch
        return branch

    def confirmed(self, dialog: Dialog, response: Response) -> Dialog:
        """The dialog that a 2xx makes, going on with the numbers of its early one."""
        made = dialog.confirmed_by(response)
        branch = self._branches.get(made.remote_tag)
        if branch is not None:
            made.local_seq, made.remote_seq = branch.dialog.local_seq, branch.dialog.remote_seq
        return made
