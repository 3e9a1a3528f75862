"""Errors that the operator of Stormweir can fix."""


class OperatorError(RuntimeError):
    """The operator must change something, and the message says what; commands print it without a traceback."""
