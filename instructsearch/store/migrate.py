"""Bring a database to the newest tables, by sqlite-utils' migrations: named, ordered, each in a transaction."""

import sqlite3

from sqlite_utils import Database, Migrations

from instructsearch.store.schema import STEPS


def migrations() -> Migrations:
    """Return the steps as sqlite-utils runs them."""
    steps = Migrations("instructsearch")

    def register(name: str, statements: tuple[str, ...]) -> None:
        @steps(name=name)
        def apply(db: Database) -> None:
            for statement in statements:
                db.execute(statement)

    for name, statements in STEPS.items():
        register(name, statements)
    return steps


def migrate(connection: sqlite3.Connection) -> None:
    """Apply whatever steps the database lacks."""
    migrations().apply(Database(connection))
