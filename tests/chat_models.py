"""Chat models that tests share."""


class CompleteOnly:
    """A chat model of which a test writes ``complete``; the rest of the protocol follows from it."""

    name = "complete only"
    settings: dict = {}  # noqa: RUF012 - never written to
    constraints: frozenset = frozenset()

    def complete(self, prompt, *, constraint=None):
        raise NotImplementedError

    async def acomplete(self, prompt, *, constraint=None):
        return self.complete(prompt, constraint=constraint)

    def stream(self, prompt, *, constraint=None):
        yield self.complete(prompt, constraint=constraint)

    async def astream(self, prompt, *, constraint=None):
        yield self.complete(prompt, constraint=constraint)
