"""Heads of responses that the child writes on a client's connection itself.

The worker makes them as a rule. Here are the plain ones alone, and as the worker has them.
"""

import re
from time import gmtime, time

DAYS = (b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun")
MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
KNOWN = 100  # heads that are remembered
LARGE = 4 << 10  # bytes of one that is not

# A status with a body, and fields (RFC 9110, 5.1 and 5.5) that are not about the connection.
PLAIN = re.compile(
    r"HTTP/1\.1 (?!204|304)[2-5]\d\d [\t -~\x80-\xff]+\r\n"
    r"(?:(?!(?:connection|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade|date|content-length):)"
    r"[!#$%&'*+.^_`|~0-9a-z-]+: [\t -~\x80-\xff]*\r\n)*",
    re.IGNORECASE | re.ASCII,
)

date = 0, b""  # the second, and its field
known = {}  # heads that were made before, without that field


def make(status, headers, length):
    """The head of a response of length bytes; None: there is something unusual about it."""
    global date
    now = int(time())
    second, field = date
    if second != now:
        t = gmtime(now)
        field = b"Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n" % (
            DAYS[t.tm_wday], t.tm_mday, MONTHS[t.tm_mon - 1], t.tm_year, t.tm_hour, t.tm_min, t.tm_sec)
        date = now, field
    try:
        key = status, tuple(headers), length
        head = known.get(key)
    except TypeError:  # a header is a list
        key = head = None
    if head is None:
        head = compose(status, headers, length)
        if head is None:
            return None
        if key is not None and len(head[0]) < LARGE:
            if len(known) >= KNOWN:
                known.clear()
            known[key] = head
    before, after = head
    return before + field + after


def compose(status, headers, length):
    """A head in two parts, between which the date goes."""
    try:
        lines = ["HTTP/1.1 " + status]
        lengths = 0
        for name, value in headers:
            if len(name) == 14 and name.lower() == "content-length":
                lengths += 1
            else:
                lines.append(name + ": " + value)
    except (TypeError, ValueError):
        return None
    lines.append("")
    text = "\r\n".join(lines)
    # A field that has a line break in it would be two.
    if lengths != 1 or length < 0 or text.count("\n") != len(lines) - 1 or PLAIN.fullmatch(text) is None:
        return None
    return text.encode("latin-1"), b"Content-Length: %d\r\n\r\n" % length
