"""Errors that the person who runs Stormweir can act on."""


class OperatorError(RuntimeError):
    """Something outside must be changed, and the message says what: commands print it without a traceback."""
