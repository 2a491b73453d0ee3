"""The tables of `collection.db`, as steps that are applied in order and once.

Knows the shape of the data, not what is done with it, nor how a step is applied (`store/migrate.py`).

A *content* is a distinct embedded text (context line and passage): it is embedded and indexed once, however many
chunks show it. Its id is the row id in vector segments and FAISS indexes. `state`: 2 staged by a sync that has not
committed, 1 shown by at least one chunk, 0 shown no more, 3 staged and then never shown; 0 and 3 wait for the next
compact. Those of state 0 and 1, and no others, are in the full-text index: what is staged must not weigh in its scores.
"""

APPLICATION_ID = 0x1A5EA2C4

FIRST = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    """CREATE TABLE generations (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, what TEXT NOT NULL)""",
    # times in nanoseconds; seen is when the file was read, to tell an edit within the clock's grain; explicit is 1 for
    # a file that was named itself, which the rules for folders (hidden, ignored) do not take out again
    """CREATE TABLE sources (
        id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
        modified INTEGER NOT NULL, seen INTEGER NOT NULL, sha256 TEXT NOT NULL, reader INTEGER NOT NULL,
        explicit INTEGER NOT NULL, problems TEXT NOT NULL)""",
    """CREATE TABLE documents (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE,
        source_id INTEGER REFERENCES sources(id) ON DELETE SET NULL,
        title TEXT NOT NULL, metadata TEXT NOT NULL, characters INTEGER NOT NULL, digest TEXT NOT NULL,
        crc INTEGER NOT NULL)""",
    "CREATE INDEX documents_source ON documents(source_id)",
    """CREATE TABLE contents (
        id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, context TEXT NOT NULL, text TEXT NOT NULL,
        state INTEGER NOT NULL)""",
    "CREATE INDEX contents_dead ON contents(id) WHERE state IN (0, 3)",
    "CREATE INDEX contents_staged ON contents(id) WHERE state = 2",
    """CREATE TABLE chunks (
        id INTEGER PRIMARY KEY AUTOINCREMENT, document_id INTEGER NOT NULL REFERENCES documents(id) ON DELETE CASCADE,
        ordinal INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
        content_id INTEGER NOT NULL REFERENCES contents(id), metadata TEXT NOT NULL, crc INTEGER NOT NULL)""",
    "CREATE INDEX chunks_document ON chunks(document_id, ordinal)",
    "CREATE INDEX chunks_content ON chunks(content_id)",
    # kept in step by hand, not by triggers: these do not run where the schema is not trusted, which is everywhere here
    """CREATE VIRTUAL TABLE contents_fts USING fts5(
        context, text, content='contents', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')""",
    # ready is 0 while `views add` has not yet embedded every content; place is the id of the first view it stands for,
    # since a refreshed view keeps its place in the order
    """CREATE TABLE views (
        id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, key TEXT NOT NULL UNIQUE,
        profile TEXT NOT NULL, instruction TEXT NOT NULL, query_instruction TEXT NOT NULL, spec TEXT NOT NULL,
        dim INTEGER NOT NULL, truncate INTEGER NOT NULL, ready INTEGER NOT NULL, place INTEGER)""",
    # generation is null while a segment is staged: listed, kept, and not yet searched
    """CREATE TABLE segments (
        name TEXT PRIMARY KEY, view_id INTEGER NOT NULL REFERENCES views(id) ON DELETE CASCADE,
        rows INTEGER NOT NULL, dim INTEGER NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
        generation INTEGER)""",
    """CREATE TABLE indexes (
        name TEXT PRIMARY KEY, view_id INTEGER NOT NULL REFERENCES views(id) ON DELETE CASCADE,
        spec TEXT NOT NULL, rows INTEGER NOT NULL, size INTEGER NOT NULL, sha256 TEXT NOT NULL,
        covers TEXT NOT NULL)""",
    """CREATE TABLE staged_documents (
        id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT NOT NULL UNIQUE, source TEXT NOT NULL, title TEXT NOT NULL,
        metadata TEXT NOT NULL, characters INTEGER NOT NULL, digest TEXT NOT NULL)""",
    """CREATE TABLE staged_chunks (
        document_id INTEGER NOT NULL REFERENCES staged_documents(id) ON DELETE CASCADE, ordinal INTEGER NOT NULL,
        start INTEGER NOT NULL, "end" INTEGER NOT NULL, content_id INTEGER NOT NULL, metadata TEXT NOT NULL,
        PRIMARY KEY (document_id, ordinal)) WITHOUT ROWID""",
)

# name -> statements; a step that has landed is never edited, a change of the tables is a new step
STEPS: dict[str, tuple[str, ...]] = {"0001-first": FIRST}
