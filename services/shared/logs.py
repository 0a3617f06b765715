"""Structured logs: one JSON object a line on standard output, with the service's name. Never names, contacts or event bodies."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping

import structlog

from schemas.programme import Programme
from schemas.quick import IS_COMPILED


def configure_logs(service: str, level: str) -> None:
    """Set structlog and the standard library's loggers up alike; `level` is debug, info, warning or error."""
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        lambda _logger, _name, event: {"service": service, **event},
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, structlog.processors.JSONRenderer()],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for noisy in ("faust", "mode", "aiokafka", "kafka"):
        logging.getLogger(noisy).setLevel(max(number, logging.WARNING))


def log_rule_warnings(programmes: Mapping[str, Programme]) -> None:
    """What looks like a mistake in the rule files that a service was started with; `chalk rules check` says the same."""
    for programme in programmes.values():
        for text in programme.warnings:
            structlog.get_logger().warning("rule file", programme=programme.id, text=text)


def log_slow_reading() -> None:
    """A word to whoever runs this without the compiled reader of records: everything is right, and several times slower."""
    if not IS_COMPILED:
        structlog.get_logger().warning("records are read the long way, slowly: run make setup to compile the quick one")
