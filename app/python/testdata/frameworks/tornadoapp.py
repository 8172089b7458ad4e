"""A native Tornado application."""

import asyncio

import tornado.web


class Index(tornado.web.RequestHandler):
    def get(self):
        self.write("tornado " + self.get_argument("q", "-"))


class Upload(tornado.web.RequestHandler):
    def post(self):
        self.write(str(len(self.request.files["file"][0]["body"])))


class Stream(tornado.web.RequestHandler):
    async def get(self):
        for i in range(1000):
            self.write(b"%d\n" % i)
            if i % 100 == 0:
                await self.flush()
                await asyncio.sleep(0)


class Fail(tornado.web.RequestHandler):
    def get(self):
        raise ValueError("tornado fails")


app = tornado.web.Application([("/", Index), ("/upload", Upload), ("/stream", Stream), ("/fail", Fail)])
