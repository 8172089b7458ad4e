"""A guest book in plain WSGI: chaussette --backend waitress guestbook:app"""

import html
import threading
from urllib.parse import parse_qs

entries = []
lock = threading.Lock()  # waitress runs requests in threads


def app(environ, start_response):
    if environ["REQUEST_METHOD"] == "POST":
        form = parse_qs(environ["wsgi.input"].read().decode())
        with lock:
            entries.extend(form.get("entry", []))
        start_response("303 See Other", [("Location", "/")])
        return []
    with lock:
        items = "".join("<li>%s</li>" % html.escape(entry) for entry in entries)
    page = '<ul>%s</ul><form method="post"><input name="entry"></form>' % items
    start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
    return [page.encode()]
