"""A path that leads to the same file after the current directory has changed."""

from contextlib import suppress
from pathlib import Path


class KeptPath:
    """A path that is kept for later; messages show it as it was given, as long as that leads there.

    >>> import os
    >>> path, directory = KeptPath(Path("model.safetensors")), Path.cwd()
    >>> str(path.now)
    'model.safetensors'
    >>> os.chdir("/")
    >>> path.now == path.absolute == directory / "model.safetensors"
    True
    >>> os.chdir(directory)
    """

    def __init__(self, given: Path) -> None:
        self._given, self.absolute = given, given.absolute()

    @property
    def now(self) -> Path:
        """The path as it was given, or the absolute one where that now leads elsewhere."""
        with suppress(OSError):  # the current directory may be gone
            if self._given.absolute() == self.absolute:
                return self._given
        return self.absolute
