"""The example of Chaussette 1: chaussette --backend gevent flaskapp.app"""

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello():
    return "Hello World!"
