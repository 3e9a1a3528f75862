"""What the reason of a failed delivery means, and what to do about it."""

from sinks.channels import CHANNELS
from sinks.contract import COMMON_HELP, Help

#: Where a reason is not listed it is a sentence about the settings, by the channel (RenderError).
_SETTINGS = "Change the destination's settings."


def explain(channel: str, reason: str) -> Help:
    """The channel's help on a reason, else the common one.

    >>> explain("webhook", "unauthorized").do
    'Put in the current key, token or password.'
    """
    code = reason.partition(":")[0]
    own = CHANNELS[channel].help if channel in CHANNELS else {}
    return own.get(code) or COMMON_HELP.get(code) or Help(reason, _SETTINGS)
