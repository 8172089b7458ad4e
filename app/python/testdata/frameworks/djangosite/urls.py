from django.contrib import admin
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt


def index(request):
    return HttpResponse("django")


@csrf_exempt
def upload(request):
    return HttpResponse(str(sum(len(chunk) for chunk in request.FILES["file"].chunks())))


def stream(request):
    return StreamingHttpResponse(b"%d\n" % i for i in range(1000))


def static(request):
    return FileResponse(open(__file__, "rb"))


def count(request):
    request.session["count"] = request.session.get("count", 0) + 1
    return HttpResponse(str(request.session["count"]))


urlpatterns = [
    path("", index),
    path("upload", upload),
    path("stream", stream),
    path("static", static),
    path("count", count),
    path("admin/", admin.site.urls),
]
