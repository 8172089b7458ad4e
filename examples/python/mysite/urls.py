import time

from django.http import HttpResponse, StreamingHttpResponse
from django.urls import path


def index(request):
    return HttpResponse("Hello from Django, %s" % request.META["REMOTE_ADDR"])


def clock(request):
    """Server-sent events: use a backend that streams, as gevent does."""

    def events():
        for _ in range(3):
            yield "data: %s\n\n" % time.strftime("%H:%M:%S")
            time.sleep(0.1)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


urlpatterns = [path("", index), path("clock", clock)]
