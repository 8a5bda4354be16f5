"""The log is on flash: how many lines it gets, and what it says of those it does not get."""

import logging

import pytest
from export_limiter.quiet import LINES, WITHIN_S, Quiet


class Log(logging.Handler):
    """A logger that is kept quiet, its lines, and the clock that it goes by."""

    def __init__(self):
        super().__init__()
        self.now, self.lines = 1000.0, []
        self.quiet = Quiet(lambda: self.now)
        self.addFilter(self.quiet)

    def emit(self, record):
        self.lines.append((record.levelname, record.getMessage()))

    def story(self, seconds, line, level=logging.INFO):
        """Log the line each second."""
        for _ in range(seconds):
            self.now += 1
            logging.getLogger("export_limiter.service").log(level, "%s", line)


@pytest.fixture
def log():
    logger, handler = logging.getLogger("export_limiter"), Log()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_few_lines_are_all_logged(log):
    log.story(LINES, "found the meter")

    assert log.lines == [("INFO", "found the meter")] * LINES


def test_a_line_each_second_is_bounded_in_any_ten_minutes(log):
    log.story(3600, "found the meter")

    assert len(log.lines) == 3600 / WITHIN_S * LINES


def test_the_next_line_says_how_many_were_left_out(log):
    log.story(LINES + 3, "lost the meter")
    log.now += WITHIN_S

    log.story(1, "found %s of the meter", logging.WARNING)
    log.story(1, "limiting")

    assert log.lines[LINES:] == [
        ("WARNING", "found %s of the meter (lines left out before this one: 3)"),
        ("INFO", "limiting"),
    ]


def test_the_last_lines_are_logged_whatever_came_before(log):
    log.story(LINES + 3, "lost the meter")

    log.quiet.start_over()
    log.story(1, "stopping")
    log.story(1, "not released", logging.ERROR)

    assert log.lines[LINES:] == [
        ("INFO", "stopping (lines left out before this one: 3)"),
        ("ERROR", "not released"),
    ]


def test_an_error_is_logged_whatever_came_before(log):
    log.story(LINES - 2, "found the meter")
    log.story(200, "refused", logging.WARNING)

    log.story(1, "the bus is gone", logging.ERROR)

    assert log.lines[LINES - 2 :] == [
        *[("WARNING", "refused")] * 2,
        ("ERROR", "the bus is gone (lines left out before this one: 198)"),
    ]
