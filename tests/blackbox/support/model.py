"""What mail-handlers(7) says about a message on its way out, written
down a second time and in another way than the program does it."""

import re


def lines(data):
    """The lines of a file as RETR sends them, without their ends."""
    if not data:
        return [b""]        # an empty file is an empty line
    parts = re.split(rb"\r\n|\r|\n", data)
    return parts[:-1] if parts[-1] == b"" else parts


def octets(data):
    """The number STAT, LIST and RETR must tell."""
    return sum(len(line) + 2 for line in lines(data))


def wire(some_lines):
    """Lines as they go over the wire, dot-stuffed."""
    return b"".join((b"." if line.startswith(b".") else b"") + line + b"\r\n"
                    for line in some_lines)


def retr(data):
    return wire(lines(data))


def top(data, n):
    """Header, the empty line where there is one, n lines of the body."""
    every = lines(data)
    if b"" not in every:
        return wire(every)
    return wire(every[:every.index(b"") + 1 + n])


# With everything that goes wrong on the way: dots, blank lines at the end,
# 8-bit text, a long line, trailing blanks
LETTER = ("From: Joe <joe@example.com>\nTo: ann@example.org\n"
          "Subject: dots and such\nMessage-ID: <1@example.com>\n"
          "Date: Fri, 21 Nov 2025 06:47:00 +0000\n"
          "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n"
          "Content-Transfer-Encoding: 8bit\n\n"
          ".\n..\n.leading\nend.\n\u20ac and \u00fc\ntrailing blanks  \n"
          + "long " * 180 + "\nFrom here\n\n\nlast\n\n").encode()
