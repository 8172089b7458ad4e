# The first thing that the child runs, by `python -c`. It takes the runner's modules from
# the pair (fd 3), hides itself, and leaves __main__ an empty module: the app must find
# none of the runner's names there.
import sys


def boot():
    import os

    # -c puts the current folder first on sys.path. The runner's own imports must not be
    # answered from it; loading.py puts it back for the app.
    if sys.path[:1] == [""]:
        del sys.path[0]

    def read(size):
        data = b""
        while len(data) < size:
            part = os.read(3, size - len(data))
            if not part:
                os._exit(0)  # the worker is gone
            data += part
        return data

    module_type = type(sys)

    class Loader:
        """Gives tracebacks the source lines, by linecache."""

        def __init__(self, source):
            self.source = source

        def get_source(self, name):
            return self.source

    package = module_type("_chaussette")
    package.__path__ = []
    sys.modules["_chaussette"] = package
    while True:
        length = int.from_bytes(read(4), "little")
        kind = read(4)[3]
        body = read(length)
        if kind == 9:  # options: all modules are here
            break
        name, _, source = body.decode().partition("\n")
        full = "_chaussette." + name
        module = module_type(full)
        module.__loader__ = Loader(source)
        module.__file__ = "<chaussette>/" + name + ".py"
        sys.modules[full] = module
        setattr(package, name, module)
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    names = sys.modules["__main__"].__dict__
    for name in ("boot", "os", "sys"):
        names.pop(name, None)
    package.main.main(body.decode())


boot()
