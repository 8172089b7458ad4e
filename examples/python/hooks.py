"""Hooks: chaussette --pre-hook hooks.begin --post-hook hooks.end guestbook:app"""


def begin(options):
    print("about to serve", options.application, "by", options.backend)


def end(options):
    print("served", options.application)
