"""A Flask app."""

from flask import Flask, Response, request, session, stream_with_context

app = Flask(__name__)
app.secret_key = "for tests"


@app.route("/")
def index():
    return "flask"


@app.route("/name/<name>")
def name(name):
    return "hello " + name


@app.route("/upload", methods=["POST"])
def upload():
    return str(len(request.files["file"].read()))


@app.route("/stream")
def stream():
    return Response(stream_with_context(b"%d\n" % i for i in range(1000)))


@app.route("/count")
def count():
    session["count"] = session.get("count", 0) + 1
    return str(session["count"])


@app.route("/fail")
def fail():
    raise ValueError("flask fails")
