"""Every error localmem raises, grouped by who can fix it.

LocalmemError
├── UserError                 the person at the terminal can fix it (exit code 1)
│   ├── UsageError            an argument or setting is wrong (exit code 2)
│   │   ├── UnknownAgent
│   │   ├── UnknownModel
│   │   ├── UnknownArchive
│   │   ├── BadInput          text that is no UTF-8, an empty message
│   │   └── WindowTooSmall
│   ├── UnreadableFile        a document that cannot be read as text
│   ├── ModelMissing          the model's file is not on this machine
│   ├── HomeInUse             another process owns the home
│   ├── ServerGone            the process that served this home went away, or is of another version
│   └── HomeUnusable          the home cannot be created, read or written
├── DefinitionError           the developer can fix it: a bad function, grammar, profile or dialect
├── FunctionError             the model can fix it: becomes the result of its call, never seen by the user
└── SystemFault               what failed below
    ├── ModelBroken           the model file: damaged, wrong hash, not loadable
    ├── FetchFailed           no source delivered the model
    └── DiskFault             the disk: full, input/output error, a damaged store

Every message is one line that says what happened and what to do.
"""


class LocalmemError(Exception):
    """The root: anything localmem raises on purpose."""

    exit_code = 1


class UserError(LocalmemError):
    """The person at the terminal can fix it."""


class UsageError(UserError):
    """An argument or a setting is wrong."""

    exit_code = 2


class UnknownAgent(UsageError):
    """No agent of that name in this home."""


class UnknownModel(UsageError):
    """Neither a profile of that name nor a GGUF file at that path."""


class UnknownArchive(UsageError):
    """No archive of that name in this home."""


class BadInput(UsageError):
    """The text handed in cannot be used."""


class WindowTooSmall(UsageError):
    """The window leaves too little room for a conversation; the message names the smallest that works."""


class UnreadableFile(UserError):
    """A document cannot be read: of an unknown kind, damaged, protected or without text."""


class ModelMissing(UserError):
    """The model is known but its file is not on this machine."""


class HomeInUse(UserError):
    """Another process owns the home; the message names it."""


class ServerGone(UserError):
    """The process that served the home went away in the middle, or speaks as another version."""


class HomeUnusable(UserError):
    """The home cannot be created, read or written."""


class DefinitionError(LocalmemError):
    """A function, grammar, profile or dialect is defined wrongly."""


class FunctionError(LocalmemError):
    """A function's own refusal: it goes back to the model as the result of its call."""


class SystemFault(LocalmemError):
    """Something below localmem failed."""


class ModelBroken(SystemFault):
    """The model file is damaged, has the wrong hash, or cannot be loaded."""


class FetchFailed(SystemFault):
    """No source delivered the file."""


class DiskFault(SystemFault):
    """The disk is full, failed, or the store on it is damaged."""
