"""Text of unknown origin made safe to show: no byte of a trace, or of a program's name, reaches a terminal raw."""

_NAMED = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\\": "\\\\", "\0": "\\0", "\x1b": "\\e"}


def escape(text: str) -> str:
    """Return `text` with everything that is not printable, and the backslash, written as an escape.

    Control characters, direction marks, line separators and unpaired surrogates are not printable.

    >>> escape("a\\x1b[31m\\n\\u202e\\\\")
    'a\\\\e[31m\\\\n\\\\u202e\\\\\\\\'
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        letter if letter.isprintable() and letter != "\\" else _NAMED.get(letter) or _escaped(ord(letter))
        for letter in text
    )


def printable(text: str) -> str:
    r"""Return a message with everything that is not printable escaped, and its backslashes as they are.

    >>> print(printable("\x1b[31mred C:\\"))
    \e[31mred C:\
    """
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else _NAMED.get(letter) or _escaped(ord(letter)) for letter in text)


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
