"""Which codecs a server may be told to offer."""

import pytest

from tapeline.calls.media import check_codecs
from tapeline.core.errors import InvalidInput


def test_codecs_that_are_known_by_any_case_and_rate() -> None:
    check_codecs(["pcmu", "L16/8000"])


@pytest.mark.parametrize(("names", "told"), [(["PCMU", "PCUM"], "PCUM: not known"), ([], "none of them can be offered")])
def test_codecs_that_cannot_be_offered(names: list[str], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        check_codecs(names)
