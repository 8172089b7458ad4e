"""A Bottle app."""

import bottle

app = bottle.Bottle()


@app.route("/")
def index():
    return "bottle"


@app.route("/upload", method="POST")
def upload():
    return str(len(bottle.request.files["file"].file.read()))


@app.route("/stream")
def stream():
    for i in range(1000):
        yield b"%d\n" % i


@app.route("/static")
def static():
    return bottle.static_file("bottleapp.py", root=__file__.rpartition("/")[0])
