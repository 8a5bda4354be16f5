"""The log is on flash: how many lines it gets, and what it says of those it does not get."""

import logging

import pytest
from export_limiter.quiet import LINES, WARNINGS, WITHIN_S, Quiet


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
        """Log the line each second; the agent's tick comes each second, too."""
        for _ in range(seconds):
            self.now += 1
            logging.getLogger("export_limiter.service").log(level, "%s", line)
            self.quiet.catch_up()


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

    assert len(log.lines) <= (3600 / WITHIN_S + 1) * LINES
    assert log.lines[LINES] == ("INFO", "lines left out: 571, the last: found the meter")


def test_the_last_line_left_out_is_told_though_no_other_follows(log):
    log.story(LINES, "lost the meter")
    log.story(1, "found the meter")
    log.now += WITHIN_S

    log.quiet.catch_up()
    log.quiet.catch_up()

    assert log.lines[LINES:] == [("INFO", "lines left out: 1, the last: found the meter")]


def test_at_the_end_it_is_told_at_once(log):
    log.story(LINES, "lost the meter")
    log.story(1, "stopping")

    log.quiet.catch_up(at_once=True)

    assert log.lines[-1] == ("INFO", "lines left out: 1, the last: stopping")


def test_warnings_have_a_larger_bound_of_their_own(log):
    log.story(200, "found the meter")
    log.story(200, "refused", logging.WARNING)
    log.story(200, "broken", logging.ERROR)

    bad = [line for level, line in log.lines if level != "INFO"]
    assert bad == ["refused"] * WARNINGS
