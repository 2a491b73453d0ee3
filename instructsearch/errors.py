"""Every error this package raises on purpose, under one root.

Knows nothing of the rest of the package. Each message says what happened, to which thing, and what to do
about it; programming mistakes stay `ValueError` and `TypeError`.

    InstructSearchError
    ├── CollectionError
    │   ├── CollectionNotFound      no such collection under the root
    │   ├── CollectionExists        the name is taken
    │   ├── CollectionBusy          another process is writing
    │   └── CollectionDamaged       a file is missing, short or altered
    ├── ViewError
    │   ├── ViewNotFound            the collection has no view of that name
    │   ├── ViewExists              the name is taken by another view
    │   └── ViewMismatch            the model or profile no longer fits the view's vectors
    ├── ModelError
    │   ├── ModelNotFound           no profile, path or package of that name here
    │   ├── ModelDamaged            the weights are not the ones the profile names
    │   └── BadProfile              a profile lacks a field or contradicts itself
    ├── InputError
    │   ├── ReadError               one file or row cannot be read; the batch goes on
    │   ├── BadFilter               a filter that cannot be understood
    │   ├── BadQuery                a query that cannot be answered as asked
    │   ├── BadVector               NaN, infinity, or not of unit length
    │   └── TooLong                 a text or an instruction that the model's window cannot hold
    ├── ServiceError                the HTTP service cannot start, or does not answer, as asked
    │   ├── NotOffered              it offers no document, job or model of that name
    │   ├── Overloaded              too much is waiting already
    │   ├── TimedOut                the answer takes longer than it allows
    │   └── TooMuch                 one request asks for more than it allows
    ├── StorageError                the disk is full or cannot be written
    ├── BadIndex                    an index spec or device that cannot be had
    ├── UnknownPlugin               no plugin of that kind and name
    └── MissingExtra                an optional dependency is not installed
"""


class InstructSearchError(Exception):
    """Anything this package refuses or cannot do; catch this one to catch all."""


class CollectionError(InstructSearchError):
    """Something about a collection as a whole."""


class CollectionNotFound(CollectionError):
    """There is no collection of that name under the root."""


class CollectionExists(CollectionError):
    """A collection of that name is already there."""


class CollectionBusy(CollectionError):
    """Another process holds the collection's writer lock."""


class CollectionDamaged(CollectionError):
    """A file of the collection is missing, short or altered."""


class ViewError(InstructSearchError):
    """Something about one view of a collection."""


class ViewNotFound(ViewError):
    """The collection has no view of that name."""


class ViewExists(ViewError):
    """The collection already has another view of that name."""


class ViewMismatch(ViewError):
    """The model at hand would not produce the vectors that the view holds."""


class ModelError(InstructSearchError):
    """Something about an embedding model or its profile."""


class ModelNotFound(ModelError):
    """No profile, local path or installed package of that name."""


class ModelDamaged(ModelError):
    """The weights found are not those that the profile names."""


class BadProfile(ModelError):
    """A profile lacks a field, has an unknown one, or contradicts itself."""


class InputError(InstructSearchError):
    """Something about what the caller gave."""


class ReadError(InputError):
    """One file or row cannot be read. Carries where and why; the batch goes on without it."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason

    def __reduce__(self) -> tuple[type["ReadError"], tuple[str, str]]:
        """Rebuild from both parts, since readers report from a child process."""
        return type(self), (self.where, self.reason)


class BadFilter(InputError):
    """A filter that cannot be understood."""


class BadQuery(InputError):
    """A query that cannot be answered as asked."""


class BadVector(InputError):
    """A vector that holds NaN or infinity, or is not of unit length."""


class TooLong(InputError):
    """A text or an instruction that the model's window cannot hold."""


class ServiceError(InstructSearchError):
    """The HTTP service cannot start, or does not answer, as asked."""


class NotOffered(ServiceError):
    """The service offers no document, job or model of that name."""


class Overloaded(ServiceError):
    """So much is waiting to be answered that more would only wait longer; ask again later."""


class TimedOut(ServiceError):
    """The answer takes longer than the service allows."""


class TooMuch(ServiceError):
    """One request asks for more than the service allows."""


class StorageError(InstructSearchError):
    """The disk is full, read-only or failing; what was stored before is still served."""


class BadIndex(InstructSearchError):
    """An index spec that is not allowed, or a device that is not there."""


class UnknownPlugin(InstructSearchError):
    """No plugin of that kind and name is built in or installed."""


class MissingExtra(InstructSearchError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""
