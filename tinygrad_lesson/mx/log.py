"""`mx.log`: loggers with a handler and a format."""

from __future__ import annotations

import logging
from logging import CRITICAL, DEBUG, ERROR, INFO, NOTSET, WARNING


def get_logger(
    name: str | None = None, filename: str | None = None, filemode: str | None = None, level: int = WARNING
) -> logging.Logger:
    """The logger called `name`, which writes messages of a level and above to a file, or to the error stream.

    The handler is given to it at the first call; later ones give back what is there.
    """
    logger = logging.getLogger(name)
    if name is not None and not logger.handlers:
        handler = logging.FileHandler(filename, filemode or "a") if filename else logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter("%(levelname).1s%(asctime)s %(process)d %(name)s] %(message)s")
        )
        logger.addHandler(handler)
        logger.setLevel(level)
    return logger


getLogger = get_logger  # noqa: N816
__all__ = ["CRITICAL", "DEBUG", "ERROR", "INFO", "NOTSET", "WARNING", "getLogger", "get_logger"]
