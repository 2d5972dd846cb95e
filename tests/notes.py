"""An observer that keeps what it is told."""

from netsuke.core.observer import Observer


class Notes(Observer):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)
