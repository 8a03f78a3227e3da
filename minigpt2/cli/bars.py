"""Bars in a terminal."""

from minigpt2.cli import streams

EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(part: float, width: int) -> str:
    """A bar of this part of `width` characters, to an eighth of one if the output has such characters."""
    if not streams.can_show(EIGHTHS):
        return "#" * max(round(part * width), int(part > 0))
    eighths = max(round(part * width * 8), int(part > 0))  # at least one eighth for what is not zero
    return EIGHTHS[-1] * (eighths // 8) + EIGHTHS[eighths % 8].strip()
