"""A Pyramid app, also as a Paste factory."""

from pyramid.config import Configurator
from pyramid.response import FileResponse, Response


def index(request):
    return Response("pyramid")


def upload(request):
    return Response(str(len(request.POST["file"].file.read())))


def stream(request):
    return Response(app_iter=(b"%d\n" % i for i in range(1000)))


def static(request):
    return FileResponse(__file__, request=request)


def main(global_config=None, **settings):
    config = Configurator(settings=settings)
    for name in ("index", "upload", "stream", "static"):
        config.add_route(name, "/" + (name if name != "index" else ""))
        config.add_view(globals()[name], route_name=name)
    return config.make_wsgi_app()
