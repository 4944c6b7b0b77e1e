"""The one thing that goes wrong in this room: there is no lab image, and none could be made."""


class ImageError(Exception):
    """Says what happened and what to do about it; `str()` has both, ready for a user."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(f"{what} {remedy}")
        self.what = what
        """What happened, in whole sentences."""
        self.remedy = remedy
        """What the user can do, in whole sentences."""


class NoRoom(ImageError):
    """The place where the image is kept is full: another way to make it would fill the same place."""
