"""The one exception that users see: a plain sentence that says what happened and what to do."""

from __future__ import annotations


class TagsageError(Exception):
    """A failure that the user can act on.

    The message is one sentence: what happened, to what, what to do. The command line prints it
    and exits with status 1; a task log shows it as the last line.
    """


class NonRetryableError(TagsageError):
    """Trying again does not help until somebody acts: a wrong setting, a refused key."""
