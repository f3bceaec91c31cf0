"""What the client hands to the writer: a record's bytes, and whether they are all that was meant."""


class CutBody(bytes):
    """A record body of which `cuts` values were shortened to fit."""

    cuts: int
