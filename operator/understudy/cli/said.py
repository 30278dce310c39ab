"""What an answer that is an error says, as a sentence for whoever called a command."""

import re
from typing import Final

from understudy.gateway.kubeapi import ApiError

# Of an answer that is cut short as well.
_MESSAGE: Final = re.compile(r'"message":\s*"((?:[^"\\]|\\.)*)')


def said(error: ApiError | OSError) -> str:
    """The message of an error of ours; the whole of any other, and its kind if it says nothing."""
    found = _MESSAGE.search(str(error)) if isinstance(error, ApiError) else None
    return found[1] if found else str(error) or type(error).__name__
