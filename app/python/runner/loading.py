"""From the name of an application to the application."""

import os
import sys


class LoadError(Exception):
    """The application cannot be loaded. detail is a traceback, or ""; missing says that
    there is nothing of that name."""

    def __init__(self, message, detail="", missing=False):
        Exception.__init__(self, message)
        self.detail = detail
        self.missing = missing


def prepare_path(python_path):
    """The current folder first, then --python-path, then what Python had."""
    wanted = [os.getcwd()] + [os.path.abspath(part) for part in python_path]
    sys.path[:0] = [part for part in wanted if part not in sys.path]


def load(name):
    """Load NAME as the old server did: paste:FILE#section, pkg.mod:attr, pkg.mod.attr,
    a module, and pkg.mod:factory()."""
    if name.startswith("paste:"):
        app = load_paste(name[len("paste:") :])
    else:
        app = import_string(name)
        if isinstance(app, type(sys)):
            for attribute in ("application", "app"):
                if hasattr(app, attribute):
                    app = getattr(app, attribute)
                    break
            else:
                raise LoadError(
                    "%s is a module with neither application nor app in it: name the callable, as in %s:NAME" % (name, name)
                )
    return app


def import_string(name):
    """Import what a dotted or colon name means."""
    import traceback

    module_name, colon, attribute = name.partition(":")
    if not name or not module_name or name.startswith(".") or (colon and not attribute):
        raise LoadError("%r is not a name of the form package.module:attribute" % name, missing=True)
    try:
        if colon:
            return follow(import_module(module_name), module_name, attribute)
        if "." not in name:
            return import_module(name)
        parent, _, attribute = name.rpartition(".")
        if attribute.endswith(")"):
            return follow(import_module(parent), parent, attribute)
        module = import_module(parent)
        if hasattr(module, attribute):
            return getattr(module, attribute)
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise LoadError(
                "module %s (%s) has no attribute and no submodule %r%s"
                % (parent, where(module), attribute, similar(module, attribute)),
                missing=True,
            )
    except LoadError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + ".") or name.startswith(missing + "."):
            raise LoadError(explain(name, missing), missing=True)
        raise LoadError("%s imports %r, which is not installed for this interpreter" % (name, missing), traceback.format_exc())
    except BaseException as error:
        raise LoadError("%s failed while it was imported: %s: %s" % (name, type(error).__name__, error), traceback.format_exc())


def follow(module, module_name, expression):
    """Evaluate NAME, NAME.NAME or NAME(literals) in a module."""
    import ast

    try:
        node = ast.parse(expression, mode="eval").body
    except SyntaxError:
        raise LoadError("%r is neither a name nor a call" % expression)
    arguments, keywords = None, {}
    if isinstance(node, ast.Call):
        try:
            arguments = [ast.literal_eval(argument) for argument in node.args]
            keywords = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        except ValueError:
            raise LoadError("the arguments in %r are not plain values" % expression)
        node = node.func
    names = []
    while isinstance(node, ast.Attribute):
        names.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise LoadError("%r is neither a name nor a call" % expression)
    names.append(node.id)
    found = module
    for name in reversed(names):
        if not hasattr(found, name):
            raise LoadError(
                "module %s (%s) has no %r%s" % (module_name, where(module), expression, similar(found, name)), missing=True
            )
        found = getattr(found, name)
    if arguments is not None:
        found = found(*arguments, **keywords)
    return found


def import_module(name):
    __import__(name)
    return sys.modules[name]


def where(module):
    return getattr(module, "__file__", None) or "built in"


def similar(module, name):
    import difflib

    names = difflib.get_close_matches(name, dir(module), 1)
    return ": did you mean %r?" % names[0] if names else ""


def explain(name, missing):
    """Why a module is not found, and what was looked at."""
    lines = ["no module named %r, which %s needs. What was found on the way:" % (missing, name)]
    dotted = ""
    for part in name.partition(":")[0].split("."):
        dotted = dotted + "." + part if dotted else part
        module = sys.modules.get(dotted)
        if module is None:
            lines.append("  - %s: not found" % dotted)
            break
        lines.append("  - %s: %s" % (dotted, where(module)))
    lines += [
        "Likely causes: a misspelt name; a package folder without __init__.py;",
        "a folder missing from sys.path (--python-path adds one); another interpreter",
        "than the one that the app is installed for (--python chooses one).",
    ]
    return "\n".join(lines)


def load_paste(name):
    """Load FILE.ini#section by PasteDeploy, after its [loggers] are set up."""
    import traceback

    path, _, section = name.partition("#")
    path = os.path.abspath(os.path.expanduser(path))
    if not os.path.isfile(path):
        raise LoadError("there is no file %s" % path, missing=True)
    try:
        from paste.deploy import loadapp
    except ImportError:
        raise LoadError("paste: needs the package PasteDeploy: pip install PasteDeploy (Debian: python3-pastedeploy)")
    try:
        import configparser

        parser = configparser.RawConfigParser()
        parser.read([path])
        if parser.has_section("loggers"):
            import logging.config

            defaults = {"here": os.path.dirname(path), "__file__": path}
            # Who is there already is no part of the app: tornado, asyncio, sitecustomize.
            logging.config.fileConfig(path, defaults, disable_existing_loggers=False)
        return loadapp("config:" + path, name=section or None)
    except BaseException as error:
        raise LoadError("%s failed to load: %s: %s" % (path, type(error).__name__, error), traceback.format_exc())
