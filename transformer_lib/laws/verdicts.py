"""What a law answers."""

from dataclasses import dataclass


class LawViolation(AssertionError):
    """A law does not hold."""


@dataclass(frozen=True)
class Verdict:
    """What a law found; counts as `True` when the law holds.

    Args:
        law: its name.
        holds: whether every comparison agreed.
        message: one sentence; when violated, where, by how much, and what the usual cause is.
    """

    law: str
    holds: bool
    message: str

    def __str__(self) -> str:
        return self.message

    def __bool__(self) -> bool:
        return self.holds

    def require(self) -> None:
        """Raise `LawViolation` with the message unless the law holds."""
        if not self.holds:
            raise LawViolation(self.message)
