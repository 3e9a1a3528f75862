"""Every log line is one JSON object on stderr, whichever library wrote it; secrets and bodies are left out.

Fields: `ts` (ISO 8601, UTC), `level`, `event`, `process`, `logger`, and what the caller named.
"""

import logging
import re
import sys
from types import TracebackType

import orjson
import structlog
from structlog.types import EventDict, Processor, WrappedLogger

#: Fields with such names are replaced, whatever they hold.
_HIDDEN = re.compile(
    r"(?:^|_)(?:body|payload|secret|password|token|authorization|headers?|cookie|signature|(?:api|routing|secret)_?key)s?$"
)
REDACTED = "***"


def configure_logging(process: str, level: str) -> None:
    """Send the log lines of structlog and the standard library, and Python's warnings, to stderr as JSON lines.

    `process` is in every line; `level` is debug, info, warning or error. A second call replaces everything.
    """

    def name_process(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        event["process"] = process
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        name_process,
        hide,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                # the traceback as text: frames' local values could be bodies or secrets
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(serializer=_dumps),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def hide(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Replace the values of fields that are named like a secret or a body."""
    for name in event:
        if _HIDDEN.search(name.lower()):
            event[name] = REDACTED
    return event


def _dumps(value: object, **_: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("stormweir").critical("uncaught error", exc_info=(kind, error, trace))
